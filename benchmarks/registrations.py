"""Registrations per second: full TPM exchanges over TLS against the real appliance, beside two peers.

Run `python -m benchmarks.registrations [HOSTS]`. The same clients (the agent's own code, each machine with an
endorsement key of its own) register in turn with

- the appliance: `skerry serve` with its store, every admission fsynced before it is answered;
- go-attestation: the libraries of Elemental's own server, without a store (only where Go is installed);
- bare TLS and WebSocket: aiohttp answering the same round trips, no TPM work, no store: the floor.

Then HOSTS machines (2,000 unless said) come at once, 500 in flight, and last the cost of a registration is
taken apart (`benchmarks.registration_parts`). Clients and servers share the machine, so the wall clock
measures both; what a server costs is its own processor time, from /proc, with what it still does after its
last answer (controllers, inventory). It prints numbers and ratios and judges nothing.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.api.client import Client
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.machine_registration import (
    APPROVAL_POLICY,
    MACHINE_REGISTRATION,
    MachineRegistration,
)
from appliance.resources.meta import decode
from benchmarks import registration_clients, registration_floor
from benchmarks.registration_clients import Round
from benchmarks.registration_parts import print_parts
from tests.conformance import registration_peer

NAMESPACE = "fleet-default"
CLIENTS = 2  # processes
MACHINES = 48  # a client
AGAIN = 2  # times that each machine comes back
FEW, MANY = 1, 16  # in flight, a client
STORM_HOSTS = 2000
STORM_CLIENTS, STORM_IN_FLIGHT = 4, 125


@dataclass(frozen=True, slots=True)
class Target:
    """A server to register with; `pid` is the process whose time counts."""

    name: str
    url: str
    pid: int
    has_tpm: bool = True


@dataclass(frozen=True, slots=True)
class Figures:
    rounds: Sequence[Round]
    seconds: float
    processor_seconds: float

    @property
    def registrations(self) -> int:
        return sum(each.done for each in self.rounds)

    @property
    def per_second(self) -> float:
        return self.registrations / self.seconds

    @property
    def per_core(self) -> float:
        return self.registrations / self.processor_seconds


def main(hosts: int) -> None:
    """Start the servers, register with each in turn, print."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        appliance, ca_file, api = stack.enter_context(appliance_running(place / "data"))
        key_files = (place / "data/pki/server.crt", place / "data/pki/server.key")
        url, pid = stack.enter_context(registration_floor.running(key_files))
        targets = [appliance, Target("bare TLS and WebSocket", url, pid, has_tpm=False)]
        if registration_peer.has_go():
            binary = registration_peer.build()
            peer_url, peer_pid = stack.enter_context(registration_peer.serving(binary, tls=key_files))
            targets.insert(1, Target("go-attestation", peer_url, peer_pid))
        else:
            print("Go is not installed: no go-attestation peer in this run")

        for in_flight in (FEW, MANY):
            compare(targets, ca_file, in_flight=in_flight)
        storm(appliance, ca_file, api, hosts=hosts)
        print_parts(key_files, place / "parts")


def compare(targets: Sequence[Target], ca_file: Path, *, in_flight: int) -> None:
    print(f"{CLIENTS * in_flight} in flight, {CLIENTS * MACHINES} machines: new, then {AGAIN} times again\n")
    print(f"{'':24}{'new/s':>10}{'again/s':>10}{'new per core-s':>17}{'again per core-s':>18}")
    rates = {}
    for target in targets:
        with ExitStack() as stack:
            clients = [
                stack.enter_context(
                    registration_clients.running(
                        target.url, ca_file, has_tpm=target.has_tpm, machines=MACHINES, in_flight=in_flight
                    )
                )
                for _ in range(CLIENTS)
            ]
            new, again = run(clients, target, rounds=1), run(clients, target, rounds=AGAIN)
        rates[target.name] = (new.per_core, again.per_core)
        print(
            f"{target.name:24}{new.per_second:10.0f}{again.per_second:10.0f}"
            f"{new.per_core:17.0f}{again.per_core:18.0f}"
        )
    ours = rates.pop(targets[0].name)
    for name, theirs in rates.items():
        print(f"appliance / {name}: {ours[0] / theirs[0]:.2f} new, {ours[1] / theirs[1]:.2f} again, a core-s")
    print()


def storm(target: Target, ca_file: Path, api: Client, *, hosts: int) -> None:
    """All at once: each comes again until it is in, as agents do."""
    known, memory = len(api.list_objects(MACHINE_INVENTORY, NAMESPACE)), resident_mebibytes(target.pid)
    share = hosts // STORM_CLIENTS
    with ExitStack() as stack:
        clients = [
            stack.enter_context(
                registration_clients.running(
                    target.url, ca_file, has_tpm=True, machines=share, in_flight=STORM_IN_FLIGHT
                )
            )
            for _ in range(STORM_CLIENTS)
        ]
        figures = run(clients, target, rounds=1)
        after = resident_mebibytes(target.pid)
        run(clients, target, rounds=1)
    machines = api.list_objects(MACHINE_INVENTORY, NAMESPACE)
    identities = {machine["spec"]["tpmHash"] for machine in machines}
    times = sorted(moment for each in figures.rounds for moment in each.seconds)
    print(
        f"{share * STORM_CLIENTS} hosts, {STORM_CLIENTS * STORM_IN_FLIGHT} in flight: "
        f"{figures.per_second:.0f}/s, {figures.per_core:.0f} a core-s\n"
        f"  admitted {len(machines) - known}, identities twice {len(machines) - len(identities)}, "
        f"came more than once {sum(each.repeated for each in figures.rounds)}\n"
        f"  seconds an exchange: p50 {at(times, 0.5):.2f}, p99 {at(times, 0.99):.2f}, all {times[-1]:.2f}\n"
        f"  memory: {memory} MiB before, {after} after, {resident_mebibytes(target.pid)} when all came back\n"
    )


def run(clients: Sequence["subprocess.Popen[str]"], target: Target, *, rounds: int) -> Figures:
    before, start = processor_seconds(target.pid), time.monotonic()
    done = registration_clients.run(clients, rounds)
    seconds = time.monotonic() - start
    return Figures(done, seconds, settled(target.pid) - before)


def settled(pid: int) -> float:
    """The processor time once the process has nothing more to do than at rest."""
    spent = processor_seconds(pid)
    while True:
        time.sleep(0.5)
        now = processor_seconds(pid)
        if now - spent < 0.02:
            return now
        spent = now


def processor_seconds(pid: int) -> float:
    """The time of all threads, in nanoseconds (proc(5), schedstat)."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def resident_mebibytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024


def at(times: Sequence[float], share: float) -> float:
    return times[min(len(times) - 1, int(share * len(times)))]


@contextmanager
def appliance_running(data: Path) -> Iterator[tuple[Target, Path, Client]]:
    arguments = ["--data", str(data), "--listen", "127.0.0.1:0", "--mirror-listen", "127.0.0.1:0"]
    command = [sys.executable, "-m", "appliance", "serve", *arguments, "--no-discovery"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            api = Client(f"unix:{ready['socket']}")
            yield Target("appliance", make_registration(api), process.pid), data / "pki" / "ca.crt", api
        finally:
            process.terminate()


def make_registration(client: Client) -> str:
    client.apply_object(
        {
            "apiVersion": MACHINE_REGISTRATION.api_version,
            "kind": MACHINE_REGISTRATION.kind,
            "metadata": {
                "name": "bench",
                "namespace": NAMESPACE,
                "annotations": {APPROVAL_POLICY: "automatic"},
            },
            "spec": {
                "machineInventoryLabels": {"site": "bench"},
                "config": {"elemental": {"registration": {"emulate-tpm": True}}},
            },
        }
    )
    while True:
        found = decode(MachineRegistration, client.get_object(MACHINE_REGISTRATION, "bench", NAMESPACE))
        if found.status.registration_url:
            return found.status.registration_url
        time.sleep(0.05)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--client", *arguments]:
            registration_clients.be_client(arguments)
        case ["--floor", certificate, key]:
            asyncio.run(registration_floor.be_floor(certificate, key))
        case [hosts]:
            main(int(hosts))
        case _:
            main(STORM_HOSTS)
