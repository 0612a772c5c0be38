"""What a backup and a restore of a large fleet cost: seconds, size, memory. Prints; asserts nothing.

    python -m benchmarks.moving [--hosts 10000] [--dir DIR]

Every host has its MachineInventory and its plan Secret. The peer in the same run is `sqlite3`'s own backup of
the same file, which is the disk alone: no keys, no signature, no checks.
"""

import argparse
import asyncio
import base64
import contextlib
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from appliance.credentials import AdminToken, Authority, HostTokens
from appliance.resources.core import SECRET
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.store.sqlite import SqliteStore

NAMESPACE = "fleet-default"
PASSPHRASE = b"correct horse battery staple"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--dir", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.dir, prefix="skerry-bench-") as folder:
        work = Path(folder)
        data = work / "data"
        data.mkdir()
        asyncio.run(_fill(data, arguments.hosts))
        size = (data / "skerry.db").stat().st_size
        print(f"{arguments.hosts} hosts, {2 * arguments.hosts} objects, database of {size / 1e6:.1f} MB")
        with _measured("sqlite3 backup (peer)"):
            _copy(data / "skerry.db", work / "peer.db")
        (work / "passphrase").write_bytes(PASSPHRASE)
        sealing = ["--passphrase-file", str(work / "passphrase")]
        for name, options in (("plain", []), ("sealed", sealing)):
            saved = work / name
            _run(f"backup, {name}", ["backup", str(saved), "--data", str(data), *options])
            print(f"{'':28} {saved.stat().st_size / 1e6:8.1f} MB")
            _run(f"restore, {name}", ["restore", str(saved), "--data", str(work / f"of-{name}"), *options])


async def _fill(data: Path, hosts: int) -> None:
    Authority.load_or_create(data / "pki")
    HostTokens.load_or_create(data / "pki" / "host-token.key")
    AdminToken.load_or_create(data / "admin.token")
    plan = base64.b64encode(b'{"instructions": []}' * 10).decode()
    async with SqliteStore.open(data / "skerry.db") as store:

        async def add(number: int) -> None:
            name = f"m-{number:05}"
            labels = {"line": str(number % 12), "model": "press", "serial": f"sn{number:08}"}
            metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
            await store.create(
                MACHINE_INVENTORY, {"metadata": metadata, "spec": {"tpmHash": f"{number:064x}"}}
            )
            await store.create(
                SECRET, {"metadata": {"name": name, "namespace": NAMESPACE}, "data": {"plan": plan}}
            )

        for begin in range(0, hosts, 500):
            await asyncio.gather(*(add(number) for number in range(begin, min(begin + 500, hosts))))


def _copy(source: Path, target: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(source)) as one,
        contextlib.closing(sqlite3.connect(target)) as two,
    ):
        one.backup(two)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _run(what: str, words: list[str]) -> None:
    """The command as people start it; the memory is that of the largest child so far."""
    with _measured(what):
        subprocess.run([sys.executable, "-m", "appliance", *words], check=True, capture_output=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"{'':28} {peak / 1024:8.0f} MiB at the most so far")


@contextlib.contextmanager
def _measured(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"{what:28} {time.perf_counter() - began:8.2f} s")


if __name__ == "__main__":
    main()
