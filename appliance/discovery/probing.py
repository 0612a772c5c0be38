"""Asks every machine that was heard whether it is there, for as long as the appliance runs.

mDNS cannot tell: what it says of a machine that lost its power lives on for an hour, and anybody can send a
goodbye in another's name. A machine that takes pairing codes must answer a fresh nonce under its own id; of
any other, a connection that is made or refused shows that somebody has the address.
"""

import asyncio
import errno
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import aiohttp

from agent.protocol.discovery import TXT_PAIRING
from agent.protocol.errors import ProtocolError
from appliance.discovery.calling import Place, ask_hello
from appliance.discovery.candidates import Candidate, Candidates
from appliance.errors import Refused

PROBE_SECONDS = 5.0
ANSWER_SECONDS = 2.0
PROBES_AT_ONCE = 50


async def probe_forever(
    candidates: Candidates,
    *,
    seconds: float = PROBE_SECONDS,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """One round after another until cancelled."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    places = asyncio.Semaphore(PROBES_AT_ONCE)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:

        async def note(service: str, candidate: Candidate) -> None:
            async with places:
                address = await find_answering(session, candidate)
            candidates.note_answer(service, address, now=now())

        while True:
            await asyncio.sleep(seconds)
            async with asyncio.TaskGroup() as group:
                for service, candidate in candidates.targets().items():
                    group.create_task(note(service, candidate))


async def find_answering(session: aiohttp.ClientSession, candidate: Candidate) -> str:
    """The first of its addresses where it is, or nothing."""
    for address in dict.fromkeys((candidate.address, *candidate.addresses)):
        if address and await _answers(session, candidate, address):
            return address
    return ""


async def _answers(session: aiohttp.ClientSession, candidate: Candidate, address: str) -> bool:
    if candidate.details.get(TXT_PAIRING) == "1":
        with suppress(Refused, ProtocolError, aiohttp.ClientError, TimeoutError, OSError, ValueError):
            hello = await ask_hello(session, Place(candidate.id, address, candidate.port))
            return (hello.id, hello.name) == (candidate.id, candidate.name)
        return False
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            _, writer = await asyncio.open_connection(address, candidate.port or 9)
    except OSError as error:  # TimeoutError is one
        return error.errno == errno.ECONNREFUSED
    writer.close()
    return True
