"""A process that writes to a store until it is killed, and says on stdout what was acknowledged.

Run as `python -m tests.conformance.store_writer FOLDER TURN`; each line is `name version` of a write.
"""

import asyncio
import sys
from pathlib import Path

from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.store.base import Limits, merge
from tests.conformance.store_engines import NAMESPACE, machine, sqlite

WRITERS = 8


async def write(folder: Path, turn: str) -> None:
    async with sqlite(folder, Limits(history=200)) as store:

        async def writer(number: int) -> None:
            for index in range(1_000_000):
                name = f"r{turn}-w{number}-{index}"
                created = await store.create(MACHINE_INVENTORY, machine(name))
                acknowledge(name, created["metadata"]["resourceVersion"])
                if index % 3 == 0:
                    body = {"spec": {"machineHash": "changed"}}
                    patched = await store.patch(MACHINE_INVENTORY, name, merge(body), namespace=NAMESPACE)
                    acknowledge(name, patched["metadata"]["resourceVersion"])

        await asyncio.gather(*map(writer, range(WRITERS)))


def acknowledge(name: str, version: str) -> None:
    sys.stdout.write(f"{name} {version}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), sys.argv[2]))
