"""The embedded store beside a real kube-apiserver over kine: both on SQLite, asked the same over HTTPS.

`python -m benchmarks.store_peer [--hosts N] [--watchers N]`. Prints both numbers and how many times better
ours is; asserts none. The servers run one after the other, each alone on the machine with the one client
process that asks. The peer runs without its controllers, which would only take time from it.
"""

import argparse
import asyncio
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import aiohttp
import uvloop

from appliance.credentials import Authority
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.meta import Document
from benchmarks.store import NAMESPACE, PAGE, condition, machine
from tests.kube_cluster import KubeCluster, running_cluster, start_api_server, start_kine
from tests.kube_programs import build_kube_programs

MACHINES = f"/apis/elemental.cattle.io/v1beta1/namespaces/{NAMESPACE}/machineinventories"
MERGE = {"Content-Type": "application/merge-patch+json"}
STATUS_SECONDS = 5.0
Unit = Literal["ms", "/s", "MB"]


class Server(Protocol):
    """A running API server that can be started again on its data."""

    @property
    def url(self) -> str: ...

    def context(self) -> ssl.SSLContext: ...

    def restart(self) -> None: ...

    def memory(self) -> float: ...


@dataclass
class Ours:
    folder: Path
    process: subprocess.Popen[str] = field(init=False)
    port: int = field(init=False, default=0)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "pki" / "ca.crt"))

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.store_face", str(self.folder)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate()

    def restart(self) -> None:
        self.stop()
        self.start()

    def memory(self) -> float:
        return resident_megabytes(self.process.pid)


@dataclass
class Theirs:
    cluster: KubeCluster

    @property
    def url(self) -> str:
        return self.cluster.url

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.cluster.folder / "pki" / "ca.crt"))
        kubeconfig = self.cluster.kubeconfig
        context.load_cert_chain(kubeconfig.with_suffix(".crt"), kubeconfig.with_suffix(".key"))
        return context

    def restart(self) -> None:
        self.cluster.stop("kube-apiserver")
        self.cluster.stop("kine")
        (self.cluster.folder / "kine.sock").unlink(missing_ok=True)
        programs = build_kube_programs()
        start_kine(self.cluster, programs)
        start_api_server(self.cluster, programs)

    def memory(self) -> float:
        return sum(resident_megabytes(process.pid) for process in self.cluster.processes.values())


@contextmanager
def ours() -> Iterator[Ours]:
    with tempfile.TemporaryDirectory() as folder:
        Authority.load_or_create(Path(folder) / "pki")
        server = Ours(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def theirs() -> Iterator[Theirs]:
    with running_cluster() as cluster:
        cluster.stop("kube-controller-manager")
        yield Theirs(cluster)


@dataclass
class Figures:
    """What was measured of one server, by name."""

    numbers: dict[str, tuple[float, Unit]] = field(default_factory=dict)

    def note(self, name: str, number: float, unit: Unit) -> None:
        self.numbers[name] = (number, unit)
        print(f"    {name:<52}{number:>12,.1f} {unit}", file=sys.stderr, flush=True)


async def measure(server: Server, *, hosts: int, watchers: int) -> Figures:
    figures = Figures()
    async with session(server) as client:
        await post(client, "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        await measure_creates(client, figures, hosts)
        await measure_reads(client, figures)
        await measure_status(client, figures, hosts)
        await measure_fan_out(client, figures, watchers)
    figures.note("memory after that", server.memory(), "MB")
    await measure_start(server, figures)
    return figures


def session(server: Server) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, ssl=server.context())
    return aiohttp.ClientSession(server.url, connector=connector, timeout=aiohttp.ClientTimeout())


async def post(client: aiohttp.ClientSession, path: str, document: Document) -> None:
    async with client.post(path, json=document) as response:
        await response.read()
        if response.status != 201:
            raise SystemExit(f"{path}: {response.status} {await response.text()}")


async def measure_creates(client: aiohttp.ClientSession, figures: Figures, hosts: int) -> None:
    documents = iter(range(hosts))

    async def write() -> None:
        for index in documents:
            body = {"apiVersion": MACHINE_INVENTORY.api_version, "kind": "MachineInventory", **machine(index)}
            await post(client, MACHINES, body)

    elapsed = await timed(lambda: gather(write, 32))
    figures.note("creates, 32 writers", hosts / elapsed, "/s")


async def measure_reads(client: aiohttp.ClientSession, figures: Figures) -> None:
    async def read(path: str) -> None:
        async with client.get(path) as response:
            await response.read()
            assert response.status == 200

    one = f"{MACHINES}/host-00042"
    for name, path, times in (
        ("get", one, 200),
        (f"list a page of {PAGE}", f"{MACHINES}?limit={PAGE}", 20),
        (
            f"list a page of {PAGE} of a tenth, by label",
            f"{MACHINES}?limit={PAGE}&labelSelector=site=site-3",
            10,
        ),
        ("list one of all, by label", f"{MACHINES}?labelSelector=asset=4242", 10),
        ("list all", MACHINES, 3),
    ):
        await read(path)
        figures.note(name, 1000 * await median(lambda path=path: read(path), times), "ms")  # type: ignore[misc]
    elapsed = await timed(lambda: gather(lambda: repeat(lambda: read(one), 60), 32))
    figures.note("gets, 32 readers", 60 * 32 / elapsed, "/s")


async def measure_status(client: aiohttp.ClientSession, figures: Figures, hosts: int) -> None:
    for writers in (1, 8, 64):
        written = 0
        end = time.perf_counter() + STATUS_SECONDS

        async def write(writer: int, writers: int, end: float) -> int:
            turn = 0
            while time.perf_counter() < end:
                name = f"host-{(writer * 131 + turn * writers) % hosts:05}"
                await patch_status(client, name, f"Turn{writers}x{writer}x{turn}")
                turn += 1
            return turn

        written = sum(await asyncio.gather(*(write(index, writers, end) for index in range(writers))))
        figures.note(f"status patches, {writers} writers", written / STATUS_SECONDS, "/s")


async def patch_status(client: aiohttp.ClientSession, name: str, reason: str) -> None:
    async with client.patch(
        f"{MACHINES}/{name}/status", data=json.dumps(condition(reason)), headers=MERGE
    ) as response:
        answer = await response.read()
        assert response.status == 200, answer
        assert reason.encode() in answer


async def measure_fan_out(client: aiohttp.ClientSession, figures: Figures, watchers: int) -> None:
    """From a write to the last watcher having its event."""
    async with client.get(f"{MACHINES}?limit=1") as response:
        version = (await response.json())["metadata"]["resourceVersion"]
    streams = [await client.get(f"{MACHINES}?watch=1&resourceVersion={version}") for _ in range(watchers)]

    async def change(turn: int, changes: int) -> float:
        started = time.perf_counter()
        reading = [asyncio.create_task(read_lines(stream, changes)) for stream in streams]
        await asyncio.gather(
            *(patch_status(client, f"host-{index:05}", f"Fan{turn}") for index in range(changes))
        )
        await asyncio.gather(*reading)
        return time.perf_counter() - started

    one = statistics.median([await change(turn, 1) for turn in range(20)])
    figures.note(f"a change to {watchers} watchers", 1000 * one, "ms")
    many = statistics.median([await change(1000 + turn, 100) for turn in range(3)])
    figures.note(f"100 changes to {watchers} watchers, events", 100 * watchers / many, "/s")
    for stream in streams:
        stream.close()


async def read_lines(stream: aiohttp.ClientResponse, count: int) -> None:
    while count > 0:
        count -= (await stream.content.readany()).count(b"\n")
    assert count == 0


async def measure_start(server: Server, figures: Figures) -> None:
    """From the start of the programs, data in place, to the first page of the list."""
    started = time.perf_counter()
    await asyncio.to_thread(server.restart)
    async with session(server) as client:
        while True:
            async with client.get(f"{MACHINES}?limit={PAGE}") as response:
                await response.read()
                if response.status == 200:
                    break
            await asyncio.sleep(0.05)
    figures.note("stop, and start with all of them", 1000 * (time.perf_counter() - started), "ms")


async def gather(work: Callable[[], Awaitable[None]], times: int) -> None:
    await asyncio.gather(*(work() for _ in range(times)))


async def repeat(work: Callable[[], Awaitable[None]], times: int) -> None:
    for _ in range(times):
        await work()


async def timed(work: Callable[[], Awaitable[None]]) -> float:
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


async def median(work: Callable[[], Awaitable[None]], times: int) -> float:
    return statistics.median([await timed(work) for _ in range(times)])


def resident_megabytes(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def render(ours: Figures, theirs: Figures) -> Iterator[str]:
    yield f"{'':<52}{'ours':>12}{'kube-apiserver':>18}{'times better':>16}"
    for name, (number, unit) in ours.numbers.items():
        peer = theirs.numbers[name][0]
        ratio = number / peer if unit == "/s" else peer / number
        yield f"{name:<52}{number:>12,.1f}{peer:>15,.1f} {unit}{ratio:>16.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--watchers", type=int, default=100)
    parser.add_argument("--only", choices=("ours", "theirs"))
    given = parser.parse_args()
    results = {}
    for name, start in (("ours", ours), ("theirs", theirs)):
        if given.only in (None, name):
            with start() as server:
                results[name] = uvloop.run(measure(server, hosts=given.hosts, watchers=given.watchers))
    if len(results) == 2:
        print("\n".join(render(results["ours"], results["theirs"])))


if __name__ == "__main__":
    main()
