"""The clients of the registration benchmark: processes of the agent's own code, many machines in each."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from agent.errors import Unreachable
from agent.facts import Facts
from agent.identity import Identity, PlainIdentity, TpmIdentity
from agent.protocol.client_config import Registration
from agent.register import Registered, register
from agent.tpm.software import SoftwareTpm, attest_key

FEW = 100  # machines up to which each has RSA keys, as real TPMs; more take too long to make
ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Round:
    """What a client did: machines that are in, who came more than once, seconds that each exchange took."""

    done: int
    repeated: int
    seconds: list[float]


@contextmanager
def running(
    url: str, ca_file: Path, *, has_tpm: bool, machines: int, in_flight: int
) -> Iterator["subprocess.Popen[str]"]:
    """A client process with its machines made; it runs a number of rounds for each line it is told."""
    words = ["tpm" if has_tpm else "plain", url, str(ca_file), str(machines), str(in_flight)]
    command = [sys.executable, "-m", "benchmarks.registrations", "--client", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        hear(process)
        yield process
        assert process.stdin is not None
        process.stdin.close()


def run(clients: Sequence["subprocess.Popen[str]"], rounds: int) -> list[Round]:
    for client in clients:
        assert client.stdin is not None
        client.stdin.write(f"{rounds}\n")
        client.stdin.flush()
    return [Round(**json.loads(hear(client))) for client in clients]


def hear(client: "subprocess.Popen[str]") -> str:
    assert client.stdout is not None
    line = client.stdout.readline()
    if not line:
        raise SystemExit("a client ended early; its words are above")
    return line


def be_client(arguments: Sequence[str]) -> None:
    kind, url, ca_file, machines, in_flight = arguments
    registration = Registration(url=url, ca_cert=Path(ca_file).read_text())
    here = [(identity, make_facts()) for identity in make_identities(kind, int(machines))]
    with ThreadPoolExecutor(int(in_flight)) as pool:
        print("ready", flush=True)
        for line in sys.stdin:
            outcomes = [
                outcome
                for _ in range(int(line))
                for outcome in pool.map(lambda machine: come(registration, *machine), here)
            ]
            taken = [seconds for _, seconds in outcomes if seconds]
            repeated = sum(attempts > 1 for attempts, _ in outcomes)
            print(json.dumps(asdict(Round(len(taken), repeated, taken))), flush=True)


def come(registration: Registration, identity: Identity, facts: Facts) -> tuple[int, float]:
    """The attempts, and the seconds of the one that got through; none if none did."""
    for attempt in range(1, ATTEMPTS + 1):
        started = time.monotonic()
        try:
            outcome = register(registration, identity, facts=facts, labels={"line": "bench"})
        except Unreachable:
            time.sleep(0.5 * attempt)
            continue
        return attempt, time.monotonic() - started if isinstance(outcome, Registered) else 0.0
    return ATTEMPTS, 0.0


def make_facts() -> Facts:
    """A serial of its own: machines that share one are doubles, and wait for a person."""
    return Facts(
        smbios={"System Information": {"Serial Number": secrets.token_hex(6), "Manufacturer": "ACME"}},
        system_data={"Runtime": {"Hostname": "bench"}, "Padding": "x" * 6000},
    )


def make_identities(kind: str, count: int) -> list[Identity]:
    if kind == "plain":
        return [PlainIdentity(f"bench-{os.getpid()}-{number}", "mac") for number in range(count)]
    if count <= FEW:
        return [
            TpmIdentity(SoftwareTpm(make_key(), attestation=attest_key(make_key()))) for _ in range(count)
        ]
    attestation = attest_key(make_key())
    curve = ec.SECP256R1()
    return [
        TpmIdentity(SoftwareTpm(ec.generate_private_key(curve), attestation=attestation))
        for _ in range(count)
    ]


def make_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
