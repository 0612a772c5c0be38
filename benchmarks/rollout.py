"""One look of a rollout at a fleet: cold, warm, and the size of what it writes down.

`python -m benchmarks.rollout [--hosts N]`. Prints numbers and asserts none. A cold look reads the store; a
warm one is fed by the watches, as in a running appliance. Processor time stands beside the wall's, since the
machine may be busy with other things.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from appliance.controllers.manager import DONE, Manager, Result
from appliance.controllers.plans import checksum_plan
from appliance.controllers.queue import Key
from appliance.controllers.rollout import RolloutController
from appliance.controllers.settings import ControllerSettings
from appliance.resources.core import SECRET
from appliance.resources.host_report import HOST_REPORT
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.meta import Document
from appliance.resources.rollout import ROLLOUT
from appliance.store.base import merge
from appliance.store.sqlite import SqliteStore
from tests.appliance.controllers.factories import (
    NAMESPACE,
    V2,
    encode,
    host_report,
    inventory,
    report,
    rollout,
)

KEY = Key(NAMESPACE, "to-v2")
AT_ONCE = 500
LOOKS = 10


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=10_000)
    hosts: int = parser.parse_args().hosts
    with tempfile.TemporaryDirectory() as folder:
        async with SqliteStore.open(Path(folder) / "skerry.db") as store:
            names = [f"m-{number:05}-0123-4567-89ab-cdef01234567" for number in range(hosts)]
            for first in range(0, hosts, AT_ONCE):
                await asyncio.gather(*(add_host(store, name) for name in names[first : first + AT_ONCE]))
            await store.create(ROLLOUT, rollout(maxUnavailable=100, waves=[{"size": "10%"}]))
            settings = ControllerSettings(
                server_url="https://box.lan", resolve=lambda _: f"10.0.0.1:5000/demo@{V2}"
            )
            controller = RolloutController(store, settings)
            say("cold look", *await timed(controller))
            task = asyncio.create_task(Manager(store, [Fed(controller)]).run())
            await until(lambda: controller.is_fed)
            say("first look of a fed fleet", *await timed(controller))
            looks = []
            for name in names[:LOOKS]:
                runs = merge({"report": msgspec.to_builtins(report(digest=V2, booted="b"))})
                await store.patch(HOST_REPORT, name, runs, namespace=NAMESPACE)
                await asyncio.sleep(0.1)
                looks.append(await timed(controller))
            say(
                "warm look, a host has moved", *(statistics.median(each) for each in zip(*looks, strict=True))
            )
            task.cancel()
            status = (await store.get(ROLLOUT, KEY.name, namespace=NAMESPACE))["status"]
            size = len(msgspec.json.encode(status))
            print(f"{'status':32} {size:,} bytes for {hosts:,} hosts: {status['reason']}")


class Fed:
    """The controller's watches without its work, which is done and timed here."""

    def __init__(self, controller: RolloutController) -> None:
        self.kind = controller.kind
        self.watches = controller.watches

    async def reconcile(self, key: Key) -> Result:
        return DONE


async def add_host(store: SqliteStore, name: str) -> None:
    await store.create(MACHINE_INVENTORY, inventory(name))
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    await store.create(HOST_REPORT, host_report(name, report(), received_at=now))
    await store.create(SECRET, empty_plan(name))


def empty_plan(name: str) -> Document:
    """The plan Secret of a host that has acknowledged the empty plan."""
    metadata = {
        "name": name,
        "namespace": NAMESPACE,
        "labels": {"elemental.cattle.io/managed": "true"},
        "annotations": {"elemental.cattle.io/plan.type": "empty"},
    }
    data = {"plan": encode("{}"), "applied-checksum": encode(checksum_plan(b"{}"))}
    return {"metadata": metadata, "type": "elemental.cattle.io/plan", "data": data}


async def timed(controller: RolloutController) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    result: Result = await controller.reconcile(KEY)
    assert result.again_in is not None, "the rollout has not begun"
    return time.perf_counter() - wall, time.process_time() - processor


async def until(is_true: Callable[[], bool]) -> None:
    while not is_true():
        await asyncio.sleep(0.1)


def say(what: str, wall: float, processor: float) -> None:
    print(f"{what:32} {wall * 1000:7,.0f} ms, of which processor {processor * 1000:7,.0f} ms")


if __name__ == "__main__":
    asyncio.run(main())
