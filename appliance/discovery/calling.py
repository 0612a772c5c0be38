"""Calls a machine where it announced itself: is it there, and does it show this code?

Liveness is this, never what mDNS says: an announcement outlives its machine by an hour, and a goodbye can
be sent by anybody.
"""

import asyncio
import ipaddress
import secrets
from dataclasses import dataclass
from typing import TypeVar

import aiohttp
import msgspec

from agent.protocol.errors import ProtocolError
from agent.protocol.pairing import (
    DEFAULT_PORT,
    MAX_MESSAGE_BYTES,
    PATH,
    Finish,
    Finished,
    Hello,
    Start,
    Started,
    parse_message,
    render_message,
)
from agent.protocol.pake import EXPONENT_BYTES
from appliance.discovery.candidates import clean
from appliance.discovery.pairing import Self, begin, check_finished, check_hello, parse_code, prove_and_seal
from appliance.errors import Refused

CALL_SECONDS = 5.0
FINISH_TRIES = 3  # its answer may be lost on the way; the machine gives the same one again

M = TypeVar("M", Hello, Started, Finished)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a machine said that it can be called, and the id it gave."""

    id: str
    address: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.where}{PATH}"

    @property
    def where(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


async def ask_hello(session: aiohttp.ClientSession, place: Place) -> Hello:
    """Who answers there, now. Raises Refused, aiohttp.ClientError, TimeoutError."""
    nonce = secrets.token_hex(16)
    hello = await _call(session, "GET", f"{place.url}?nonce={nonce}", Hello)
    if hello.echo != nonce:
        raise Refused(f"What answers at {place.address} repeats an old answer.")
    return hello


def parse_place(text: str) -> tuple[str, int]:
    """An IP address, with a port after a colon unless it is the usual one. Raises Refused."""
    host, port = text.strip(), str(DEFAULT_PORT)
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        port = ""
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise Refused(f"{text[:80]!r} is not where a machine is.", hint="Say ADDRESS or ADDRESS:PORT.")
    return host, int(port)


async def find_at(where: tuple[str, int], name: str) -> Place:
    """The machine of that id or name at that address. Raises Refused."""
    place = Place(name, *where)
    timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            hello = await ask_hello(session, place)
    except (ProtocolError, aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Refused(
            f"No machine that waits to be paired answers at {place.where} ({error or 'no answer in time'}).",
            hint="Its screen shows the address; a firewall or a filter between may hold back TCP as well.",
        ) from error
    if name not in (hello.id, hello.name):
        raise Refused(f"{clean(hello.name)} answers at {place.where}, not {name[:60]}.")
    return Place(hello.id, *where)


async def pair(place: Place, code: str, *, own: Self, document: bytes) -> None:
    """Hand `document` to the machine that shows `code`, and to no other.

    Raises Refused with what to do; the code is used up by then, unless the machine could not be reached.
    """
    typed = parse_code(code)
    timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            hello = await ask_hello(session, place)
            check_hello(hello, id=place.id, nonce=hello.echo)
            exponent = secrets.token_bytes(EXPONENT_BYTES)
            attempt, start = await asyncio.to_thread(begin, hello, typed, own=own, exponent=exponent)
            started = await _call(session, "POST", f"{place.url}/start", Started, start)
            attempt, finish = await asyncio.to_thread(prove_and_seal, attempt, started, document=document)
            check_finished(attempt, await _finish(session, place, finish))
    except ProtocolError as error:
        raise Refused(f"{place.id} answered what cannot be: {error}.") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Refused(
            f"{place.id} does not answer at {place.where} ({error or 'no answer in time'}).",
            hint="Is its cable in? It announces itself again with the address that it has now.",
        ) from error


async def _finish(session: aiohttp.ClientSession, place: Place, finish: Finish) -> Finished:
    for tries in range(FINISH_TRIES):
        try:
            return await _call(session, "POST", f"{place.url}/finish", Finished, finish)
        except (aiohttp.ClientError, TimeoutError):
            if tries == FINISH_TRIES - 1:
                raise
    raise AssertionError("the last try returns or raises")


async def _call(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    type: type[M],
    message: Start | Finish | None = None,
) -> M:
    body = render_message(message) if message else None
    async with session.request(method, url, data=body, allow_redirects=False) as response:
        content = await response.content.read(MAX_MESSAGE_BYTES + 1)
        while len(content) <= MAX_MESSAGE_BYTES and not response.content.at_eof():
            content += await response.content.read(MAX_MESSAGE_BYTES + 1)
        if response.status != 200:
            raise Refused(f"The machine refuses: {_read_refusal(content)}.")
    return parse_message(content, type)


def _read_refusal(content: bytes) -> str:
    try:
        said = msgspec.json.decode(content, type=dict[str, str])
    except msgspec.DecodeError:
        return "it gives no reason"
    reasons = [clean(said[key]) for key in ("message", "hint") if said.get(key)]
    return "; ".join(reasons) or "it gives no reason"
