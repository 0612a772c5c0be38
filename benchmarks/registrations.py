"""Registrations per second: full TPM exchanges over TLS against the real appliance, beside two peers.

Run `python -m benchmarks.registrations`. The same clients (the agent's own code, each machine with its own
RSA endorsement key) register in turn with

- the appliance: `skerry serve` with its store, every admission fsynced before it is answered;
- go-attestation: the libraries of Elemental's own server, without a store (only where Go is installed);
- bare TLS and WebSocket: aiohttp answering the same round trips, no TPM work, no store: the floor.

Clients and servers share the machine, so the wall clock measures both; what a server costs is its own
processor time, read from /proc. It prints numbers and ratios and judges nothing.
"""

import asyncio
import json
import os
import secrets
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from agent.facts import Facts
from agent.identity import Identity, PlainIdentity, TpmIdentity
from agent.protocol.client_config import Config, Registration, render_config
from agent.protocol.messages import READY, Message, MessageType
from agent.register import Registered, register
from agent.tpm.software import SoftwareTpm, attest_key
from appliance.api.client import Client
from appliance.resources.machine_registration import (
    APPROVAL_POLICY,
    MACHINE_REGISTRATION,
    MachineRegistration,
)
from appliance.resources.meta import decode
from tests.conformance import registration_peer

NAMESPACE = "fleet-default"
CLIENTS = 2
MACHINES = 40  # a client
AGAIN = 4  # times that each machine comes back
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Target:
    """A server to register with; `pid` is the process whose time counts."""

    name: str
    url: str
    pid: int
    has_tpm: bool = True


@dataclass(frozen=True, slots=True)
class Figures:
    registrations: int
    seconds: float
    processor_seconds: float

    @property
    def per_second(self) -> float:
        return self.registrations / self.seconds

    @property
    def per_core(self) -> float:
        return self.registrations / self.processor_seconds


def main() -> None:
    """Start the servers, register with each in turn, print."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        appliance, ca_file = stack.enter_context(appliance_running(place / "data"))
        key_files = (place / "data/pki/server.crt", place / "data/pki/server.key")
        targets = [appliance, stack.enter_context(floor_running(key_files))]
        if registration_peer.has_go():
            binary = registration_peer.build()
            url, pid = stack.enter_context(registration_peer.serving(binary, tls=key_files))
            targets.insert(1, Target("go-attestation", url, pid))
        else:
            print("Go is not installed: no go-attestation peer in this run")

        print(f"{CLIENTS} clients, {MACHINES} machines each; a new machine, then {AGAIN} times again\n")
        print(f"{'':24}{'new/s':>10}{'again/s':>10}{'new per core-s':>17}{'again per core-s':>18}")
        rates = {}
        for target in targets:
            new, again = measure(target, ca_file)
            rates[target.name] = again
            print(
                f"{target.name:24}{new.per_second:10.0f}{again.per_second:10.0f}"
                f"{new.per_core:17.0f}{again.per_core:18.0f}"
            )
        ours = rates.pop(appliance.name)
        print()
        for name, theirs in rates.items():
            print(f"appliance / {name}: {ours.per_core / theirs.per_core:.2f} registrations a core second")


def measure(target: Target, ca_file: Path) -> tuple[Figures, Figures]:
    """Two runs of the same machines: as strangers, then as acquaintances."""
    with ExitStack() as stack:
        clients = [stack.enter_context(client_running(target, ca_file)) for _ in range(CLIENTS)]
        return run(clients, target, rounds=1), run(clients, target, rounds=AGAIN)


def run(clients: Sequence["subprocess.Popen[str]"], target: Target, *, rounds: int) -> Figures:
    before, start = processor_seconds(target.pid), time.monotonic()
    for client in clients:
        tell(client, str(rounds))
    done = sum(int(hear(client)) for client in clients)
    return Figures(done, time.monotonic() - start, processor_seconds(target.pid) - before)


def processor_seconds(pid: int) -> float:
    """User and system time of the process and its threads (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


# --- clients -----------------------------------------------------------------------------------------------


@contextmanager
def client_running(target: Target, ca_file: Path) -> "Iterator[subprocess.Popen[str]]":
    """A client process with its machines made; it runs a number of rounds for each line it is told."""
    flags = ["tpm" if target.has_tpm else "plain", target.url, str(ca_file)]
    command = [sys.executable, "-m", "benchmarks.registrations", "--client", *flags]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        hear(process)
        yield process
        assert process.stdin is not None
        process.stdin.close()


def be_client(kind: str, url: str, ca_file: str) -> None:
    registration = Registration(url=url, ca_cert=Path(ca_file).read_text())
    machines = [(make_identity(kind, number), make_facts()) for number in range(MACHINES)]
    print("ready", flush=True)
    for line in sys.stdin:
        done = 0
        for _ in range(int(line)):
            for identity, facts in machines:
                outcome = register(registration, identity, facts=facts, labels={"line": "bench"})
                done += isinstance(outcome, Registered)
        print(done, flush=True)


def make_facts() -> Facts:
    """A serial of its own: machines that share one are doubles, and wait for a person."""
    return Facts(
        smbios={"System Information": {"Serial Number": secrets.token_hex(6), "Manufacturer": "ACME"}},
        system_data={"Runtime": {"Hostname": "bench"}, "Padding": "x" * 6000},
    )


def make_identity(kind: str, number: int) -> Identity:
    if kind == "plain":
        return PlainIdentity(f"bench-{os.getpid()}-{number}", "mac")
    return TpmIdentity(SoftwareTpm(make_key(), attestation=attest_key(make_key())))


def make_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def tell(client: "subprocess.Popen[str]", line: str) -> None:
    assert client.stdin is not None
    client.stdin.write(f"{line}\n")
    client.stdin.flush()


def hear(client: "subprocess.Popen[str]") -> str:
    assert client.stdout is not None
    line = client.stdout.readline()
    if not line:
        raise SystemExit("a client ended early; its words are above")
    return line


# --- servers -----------------------------------------------------------------------------------------------


@contextmanager
def appliance_running(data: Path) -> Iterator[tuple[Target, Path]]:
    arguments = ["--data", str(data), "--listen", "127.0.0.1:0", "--mirror-listen", "127.0.0.1:0"]
    command = [sys.executable, "-m", "appliance", "serve", *arguments, "--no-discovery"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            url = make_registration(Client(f"unix:{ready['socket']}"))
            yield Target("appliance", url, process.pid), data / "pki" / "ca.crt"
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


@contextmanager
def floor_running(key_files: tuple[Path, Path]) -> Iterator[Target]:
    command = [sys.executable, "-m", "benchmarks.registrations", "--floor", *map(str, key_files)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = f"https://127.0.0.1:{int(hear(process))}/"
            yield Target("bare TLS and WebSocket", url, process.pid, has_tpm=False)
        finally:
            process.terminate()


async def be_floor(certificate: str, key: str) -> None:
    """The same round trips with nothing behind them."""
    reply = Message(MessageType.CONFIG, render_config(Config())).render()

    async def talk(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        await socket.send_bytes(READY.render())
        async for message in socket:
            match message.data[0]:
                case MessageType.VERSION:
                    await socket.send_bytes(message.data)
                case MessageType.GET:
                    await socket.send_bytes(reply)
                    break
                case _:
                    await socket.send_bytes(READY.render())
        await socket.close()
        return socket

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    app = web.Application()
    app.router.add_get("/", talk)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--client", kind, url, ca_file]:
            be_client(kind, url, ca_file)
        case ["--floor", certificate, key]:
            asyncio.run(be_floor(certificate, key))
        case _:
            main()
