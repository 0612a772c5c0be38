"""What one registration costs the server, part by part: each part alone, in processor time of this process.

The sum is not the whole: what lies between the parts (the event loop, aiohttp, the controllers' decisions)
is the difference to the figures of `benchmarks.registrations`.
"""

import asyncio
import secrets
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from agent.protocol.client_config import Config, render_config
from agent.protocol.credential import make_credential
from agent.protocol.messages import parse_object, render_challenge
from agent.protocol.token import TpmToken, parse_authorization, render_authorization
from agent.tpm.software import SoftwareTpm, attest_key
from appliance.attestation.verifier import Trusted, verify
from appliance.hosts.handshake import Machine, Registrant
from appliance.hosts.records import render_inventory
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.machine_registration import MachineRegistration
from appliance.resources.meta import Document, ObjectMeta
from appliance.store.sqlite import SqliteStore
from benchmarks.registration_clients import make_facts, make_key

TIMES = 300
REGISTRATION = MachineRegistration(metadata=ObjectMeta(name="bench", namespace="fleet-default"))


def print_parts(key_files: tuple[Path, Path], place: Path) -> None:
    place.mkdir()
    print("milliseconds of processor time by part, each alone:")
    for name, milliseconds in (
        ("TLS handshake, both ends of it in memory, less the client's", cost_of_handshake(key_files)),
        ("TPM cryptography: header, verdict, challenge", cost_of_cryptography()),
        ("JSON: facts in, record and configuration out", cost_of_documents()),
        ("store: one write alone, fsync and all", asyncio.run(cost_of_writes(place / "one.db", at_once=1))),
        ("store: one write of 32 at once", asyncio.run(cost_of_writes(place / "many.db", at_once=32))),
    ):
        print(f"  {name:62}{milliseconds:8.3f}")


def cost_of_cryptography() -> float:
    tpm = SoftwareTpm(make_key(), attestation=attest_key(make_key()))
    header = render_authorization(tpm.attest())

    def once() -> None:
        token = parse_authorization(header)
        assert isinstance(token, TpmToken)
        verdict = verify(token)
        assert isinstance(verdict, Trusted)
        render_challenge(
            make_credential(
                verdict.endorsement_key,
                verdict.attestation_name,
                secret=b"s" * 32,
                random=secrets.token_bytes,
            )
        )

    return cost(once)


def cost_of_documents() -> float:
    payload = msgspec.json.encode(make_facts().system_data)

    def once() -> None:
        data = parse_object(payload, what="the facts")
        render_inventory(REGISTRATION, Registrant(Machine("tpm", "ab" * 32), 12, data=data))
        render_config(Config())

    return cost(once)


async def cost_of_writes(file: Path, *, at_once: int) -> float:
    async with SqliteStore.open(file) as store:

        async def write(number: int) -> None:
            await store.create(MACHINE_INVENTORY, _machine(number))

        before = time.process_time()
        for start in range(0, TIMES, at_once):
            await asyncio.gather(*(write(start + number) for number in range(at_once)))
        rounds = -(-TIMES // at_once)
        return 1e3 * (time.process_time() - before) / (rounds * at_once)


def cost_of_handshake(key_files: tuple[Path, Path]) -> float:
    """The server's steps of a handshake with itself, over buffers."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.num_tickets = 0
    server_context.load_cert_chain(*key_files)
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname, client_context.verify_mode = False, ssl.CERT_NONE
    spent = 0.0
    for _ in range(TIMES):
        inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context.wrap_bio(outward, inward)
        started = time.process_time()
        server = server_context.wrap_bio(inward, outward, server_side=True)
        spent += time.process_time() - started
        is_done = False
        while not is_done:
            _step(client)
            started = time.process_time()
            is_done = _step(server)
            spent += time.process_time() - started
    return 1e3 * spent / TIMES


def cost(work: Callable[[], None]) -> float:
    work()
    before = time.process_time()
    for _ in range(TIMES):
        work()
    return 1e3 * (time.process_time() - before) / TIMES


def _step(end: ssl.SSLObject) -> bool:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _machine(number: int) -> Document:
    record = render_inventory(REGISTRATION, Registrant(Machine("tpm", f"{number:064x}"), 12))
    return {**record, "metadata": {**record["metadata"], "name": f"m-{number}"}}
