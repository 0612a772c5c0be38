"""The inventory at fifty thousand hosts: taken in, searched in every way, exported, imported, opened again.

`python -m benchmarks.inventory [--hosts N]`. Prints numbers and asserts none. Beside each search stands
what a LIKE scan of the same file by `sqlite3` takes; beside the list by label the label select of the store,
which is what kubectl -l asks.
"""

import argparse
import asyncio
import contextlib
import random
import resource
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from agent.protocol.documents import JSON
from appliance.inventory import book
from appliance.inventory.entries import Location
from appliance.inventory.inventory import Inventory, Wanted
from appliance.inventory.observations import observe_report
from appliance.resources.machine_inventory import MACHINE_INVENTORY, MachineInventory
from appliance.resources.meta import Document, decode
from appliance.store.base import Selection
from appliance.store.sqlite import SqliteStore

AT = "2026-01-01T00:00:00Z"
VENDORS = ("Dell Inc.", "HPE", "Lenovo", "Siemens AG", "Beckhoff")
LIKE = (
    "name || ' ' || serial || ' ' || macs || ' ' || addresses || ' ' || asset_tag || ' ' || site || '/'"
    " || line || '/' || cell || '/' || slot || ' ' || labels || ' ' || manufacturer || ' ' || product LIKE ?"
)


def machine(index: int) -> Document:
    return {
        "metadata": {
            "name": f"host-{index:05}",
            "namespace": "fleet-default",
            "uid": f"uid-{index}",
            "creationTimestamp": AT,
            "labels": {"line": f"line-{index % 40}", "customer": f"c{index % 997}", "role": "press"},
            "annotations": {"elemental.cattle.io/registration-ip": address(index)},
        },
        "spec": {"tpmHash": f"{index:064x}"},
    }


def address(index: int) -> str:
    return f"10.{index >> 16 & 255}.{index >> 8 & 255}.{index & 255}"


def mac(index: int, nic: int) -> str:
    raw = f"001b21{index * 4 + nic:06x}"
    return ":".join(raw[start : start + 2] for start in range(0, 12, 2))


def facts(index: int) -> dict[str, JSON]:
    """About what a host sends: two NICs, two disks, a processor with all its flags."""
    rng = random.Random(index)
    flags = " ".join(f"flag{rng.randrange(400)}" for _ in range(120))
    return {
        "System Information": {
            "Manufacturer": VENDORS[index % 5],
            "Product Name": f"Model {index % 17}",
            "Serial Number": f"SN{index * 7919 % 10**8:08}",
        },
        "BIOS Information": {"Vendor": "AMI", "Version": f"2.{index % 12}", "Release Date": "01/02/2024"},
        "Memory": {"TotalPhysicalBytes": str(16 * 2**30)},
        "CPU": {"TotalCores": "8", "Processor": {"Model": "Intel Xeon E-2278", "Capabilities": flags}},
        "Network": {
            "NICs": {
                str(nic): {"Name": f"eth{nic}", "MacAddress": mac(index, nic), "IsVirtual": "false"}
                for nic in range(2)
            }
        },
        "Storage": {
            "Disks": {
                str(disk): {
                    "Name": f"nvme{disk}n1",
                    "Size": "512110190592",
                    "Model": "SAMSUNG MZVL2512",
                    "SerialNumber": f"S{index:06}X{disk}",
                }
                for disk in range(2)
            }
        },
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=50_000)
    hosts = parser.parse_args().hosts
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        async with opened(data) as inventory:
            await measure_taking_in(inventory, hosts)
            await measure_reports(inventory, hosts)
            await measure_searches(inventory, data, hosts)
            await measure_label_select(inventory, hosts)
            await measure_files(inventory, hosts)
        started = time.perf_counter()
        Inventory.open(data).close()
        say("open, whole file checked", milliseconds(time.perf_counter() - started))
        say("size on disk", f"{(data / 'inventory.db').stat().st_size / 1e6:,.0f} MB")
        say("peak memory", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


@contextlib.asynccontextmanager
async def opened(data: Path) -> AsyncIterator[Inventory]:
    with contextlib.closing(Inventory.open(data)) as inventory:
        yield inventory


async def measure_taking_in(inventory: Inventory, hosts: int) -> None:
    """By the writer that registrations go through, as many at a time as may wait."""
    started = time.perf_counter()
    for start in range(0, hosts, 1000):
        for index in range(start, min(start + 1000, hosts)):
            inventory.hear_registration(decode(MachineInventory, machine(index)), facts(index))
        await inventory.set_location("host-00000", Location(site=f"s{start}"), by="bench")
    elapsed = time.perf_counter() - started
    say("registrations taken in", f"{hosts / elapsed:,.0f} /s")


async def measure_reports(inventory: Inventory, hosts: int) -> None:
    def work(start: int) -> Callable[[sqlite3.Connection], None]:
        def write(connection: sqlite3.Connection) -> None:
            for index in range(start, start + 100):
                report: Document = {
                    "metadata": {"name": f"host-{index % hosts:05}", "namespace": "fleet-default"},
                    "report": {"addresses": [address(index % hosts)]},
                    "receivedAt": "2026-01-01T00:00:30Z",
                }
                seen = observe_report(report, at=AT)
                assert seen is not None
                book.observe(connection, seen)

        return write

    started = time.perf_counter()
    for start in range(0, 5000, 100):
        await inventory._writer.post(work(start), durable=False)
    say("reports taken in", f"{5000 / (time.perf_counter() - started):,.0f} /s")


async def measure_searches(inventory: Inventory, data: Path, hosts: int) -> None:
    rng = random.Random(1)
    some = [rng.randrange(hosts) for _ in range(20)]
    await inventory.set_tag("host-00042", "A-4711", by="bench")
    await inventory.set_location("host-00043", Location(site="Halle7", line="L2"), by="bench")
    questions: dict[str, Callable[[int], str]] = {
        "serial, whole": lambda index: f"SN{index * 7919 % 10**8:08}",
        "serial, its tail": lambda index: f"{index * 7919 % 10**8:08}"[-5:],
        "MAC": lambda index: mac(index, 1),
        "MAC, dashes, a part": lambda index: mac(index, 1)[6:].replace(":", "-"),
        "IP": address,
        "asset tag": lambda index: "A-4711",
        "location": lambda index: "location:Halle7",
        "name": lambda index: f"host-{index:05}",
        "label": lambda index: f"customer=c{index % 997}",
        "two words": lambda index: f"{VENDORS[index % 5]} line-{index % 40}",
        "what all have": lambda index: "host",
        "all but never together": lambda index: "Lenovo Beckhoff",
        "two letters": lambda index: "ho",
        "nothing": lambda index: "zzzzqqqq",
    }
    with contextlib.closing(sqlite3.connect(data / "inventory.db")) as peer:
        for name, question in questions.items():
            ours, theirs = [], []
            for index in some:
                text = question(index)
                started = time.perf_counter()
                found = await inventory.search(text, limit=50)
                ours.append(time.perf_counter() - started)
                if index in some[:3]:
                    started = time.perf_counter()
                    pattern = f"%{text.split(':')[-1] if text.startswith('location') else text}%"
                    peer.execute(f"SELECT id FROM entries WHERE {LIKE} LIMIT 50", (pattern,)).fetchall()
                    theirs.append(time.perf_counter() - started)
            middle, peers = statistics.median(ours), statistics.median(theirs)
            say(
                f"search: {name}",
                f"{milliseconds(middle)}, worst {milliseconds(max(ours))}, {len(found)} found;"
                f" LIKE {milliseconds(peers)}, ratio {peers / middle:.1f}",
            )


async def measure_label_select(inventory: Inventory, hosts: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with SqliteStore.open(Path(folder) / "skerry.db") as store:
            for start in range(0, hosts, 500):
                documents = [machine(index) for index in range(start, min(start + 500, hosts))]
                for document in documents:
                    del document["metadata"]["uid"]
                await asyncio.gather(*(store.create(MACHINE_INVENTORY, document) for document in documents))
            wanted = Selection(labels="customer=c7")
            theirs = await timed(lambda: store.list(MACHINE_INVENTORY, wanted))
        ours = await timed(lambda: inventory.select(Wanted(labels=("customer=c7",)), limit=500))
        say("list by label", f"{milliseconds(ours)}; the store's select {milliseconds(theirs)}")


async def measure_files(inventory: Inventory, hosts: int) -> None:
    started = time.perf_counter()
    exported = b"".join([part async for part in inventory.export(format="csv")])
    say("CSV export", f"{time.perf_counter() - started:.1f} s, {len(exported) / 1e6:,.0f} MB")
    rows = b"serial,site,line,cell,asset_tag\r\n" + b"".join(
        f"SN{index * 7919 % 10**8:08},North,{index % 40},{index % 7},T{index:06}\r\n".encode()
        for index in range(hosts)
    )
    started = time.perf_counter()
    outcome = await inventory.import_rows(rows, format="csv", skip_bad=True, dry_run=False, by="bench")
    say("CSV import", f"{time.perf_counter() - started:.1f} s, {outcome.changed:,} changed")


async def timed(work: Callable[[], Awaitable[object]], *, times: int = 5) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        await work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def say(what: str, value: str) -> None:
    print(f"{what:32} {value}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
