"""The embedded store at ten thousand hosts, inside its process: writes, pages, watch fan-out.

`python -m benchmarks.store [--hosts N] [--watchers N]`. Prints numbers and asserts none. Beside the writes
stands what the disk's fsync alone allows; `benchmarks.store_peer` has a real kube-apiserver beside all of it.
"""

import argparse
import asyncio
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

from appliance.resources.host_report import HOST_REPORT
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.meta import Document
from appliance.store.base import EVERYTHING, Selection, Store, merge
from appliance.store.sqlite import SqliteStore

NAMESPACE = "fleet-default"
PAGE = 500


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--watchers", type=int, default=100)
    parser.add_argument(
        "--folder", type=Path, default=None, help="where to put the store; else a temporary one"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "skerry.db"
        say("fsync of this disk, alone", f"{1 / measure_fsync(Path(folder)):,.0f} /s")
        async with SqliteStore.open(path) as store:
            await measure_writes(store, arguments.hosts)
            await measure_reads(store)
            await measure_fan_out(store, arguments.watchers)
        started = time.perf_counter()
        SqliteStore.open(path).close()
        say(f"open {arguments.hosts:,} hosts, checked", milliseconds(time.perf_counter() - started))
        say("size on disk", f"{path.stat().st_size / 1e6:,.0f} MB")
        say("peak memory", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


def machine(index: int) -> Document:
    """A MachineInventory of the size that a registered host has: about 2 KB."""
    return {
        "metadata": {
            "name": f"host-{index:05}",
            "namespace": NAMESPACE,
            "labels": {
                "site": f"site-{index % 10}",
                "asset": str(index),
                **{f"smbios/field-{n}": "value" for n in range(20)},
            },
            "annotations": {
                f"elemental.cattle.io/note-{n}": "something a host said of itself" for n in range(15)
            },
        },
        "spec": {"tpmHash": "ab" * 32},
    }


def condition(reason: str) -> Document:
    return {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": reason}]}}


def measure_fsync(folder: Path) -> float:
    with (folder / "probe").open("wb") as file:
        started = time.perf_counter()
        for _ in range(100):
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        return (time.perf_counter() - started) / 100


async def measure_writes(store: Store, hosts: int) -> None:
    started = time.perf_counter()
    for start in range(0, hosts, 500):
        documents = [machine(index) for index in range(start, min(start + 500, hosts))]
        await asyncio.gather(*(store.create(MACHINE_INVENTORY, document) for document in documents))
    say("creates, 500 writers at a time", f"{hosts / (time.perf_counter() - started):,.0f} /s")

    count = 1000
    for writers in (1, 8, 64):
        elapsed = await timed(lambda writers=writers: patch_in_turn(store, hosts, count, writers))  # type: ignore[misc]
        say(f"status patches, {writers} writers", f"{count / elapsed:,.0f} /s")
    for index in range(100):
        await store.create(HOST_REPORT, {"metadata": {"name": f"host-{index:05}", "namespace": NAMESPACE}})


async def patch_in_turn(store: Store, hosts: int, count: int, writers: int) -> None:
    async def write(writer: int) -> None:
        for turn in range(count // writers):
            await store.patch(
                MACHINE_INVENTORY,
                f"host-{(writer * 131 + turn) % hosts:05}",
                merge(condition(f"Turn{writers}x{writer}x{turn}")),
                namespace=NAMESPACE,
                subresource="status",
            )

    await asyncio.gather(*map(write, range(writers)))


async def measure_reads(store: Store) -> None:
    async def get() -> None:
        await store.get(MACHINE_INVENTORY, "host-00042", namespace=NAMESPACE)

    async def page() -> None:
        await store.list(MACHINE_INVENTORY, limit=PAGE)

    async def selected() -> None:
        await store.list(MACHINE_INVENTORY, Selection(labels="site=site-3"), limit=PAGE)

    async def everything() -> None:
        await store.list(MACHINE_INVENTORY, EVERYTHING)

    say("get", milliseconds(await median(get, 200)))
    say(f"list a page of {PAGE}", milliseconds(await median(page, 20)))
    say(f"list {PAGE} of a tenth, by label", milliseconds(await median(selected, 10)))
    say("list all", milliseconds(await median(everything, 5)))


async def measure_fan_out(store: Store, watchers: int) -> None:
    """The time from a write to the last of the watchers having it, inside the process."""
    ready = asyncio.Barrier(watchers + 1)
    seen = asyncio.Barrier(watchers + 1)

    async def follow() -> None:
        async with aclosing(store.watch(HOST_REPORT, Selection(namespace=NAMESPACE))) as events:
            async for event in events:
                if event.type == "BOOKMARK":
                    await ready.wait()
                elif event.type == "MODIFIED":
                    await seen.wait()

    tasks = [asyncio.create_task(follow()) for _ in range(watchers)]
    await ready.wait()

    async def change() -> None:
        body = {"receivedAt": str(time.monotonic_ns())}
        await store.patch(HOST_REPORT, "host-00001", merge(body), namespace=NAMESPACE)
        await seen.wait()

    say(f"a change to {watchers} watchers", milliseconds(await median(change, 50)))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def timed(work: Callable[[], Awaitable[None]]) -> float:
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


async def median(work: Callable[[], Awaitable[None]], times: int) -> float:
    return statistics.median([await timed(work) for _ in range(times)])


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.2f} ms"


def say(what: str, number: str) -> None:
    print(f"{what:<48}{number:>24}")


if __name__ == "__main__":
    asyncio.run(main())
