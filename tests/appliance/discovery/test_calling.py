"""The whole exchange over sockets: a host's real listener, and machines that lie."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from agent.pairing_listener import Listening, listen
from agent.protocol.client_config import Registration, render_registration
from agent.protocol.discovery import NODE_SERVICE, TXT_ID, TXT_PAIRING
from agent.protocol.pairing import MAX_MESSAGE_BYTES, PATH
from appliance.credentials import Authority
from appliance.discovery.calling import Place, find_at, pair, parse_place
from appliance.discovery.candidates import MISSES_BEFORE_SILENT, Candidates
from appliance.discovery.pairing import Self
from appliance.discovery.probing import probe_forever
from appliance.errors import Refused

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Machine:
    listening: Listening
    screens: list[str] = field(default_factory=list)

    @property
    def code(self) -> str:
        found = re.findall(r"CODE\s+([\d\s-]+?)\n", self.screens[-1])
        return re.sub(r"\D", "", found[-1])

    @property
    def place(self) -> Place:
        return Place("host1", "127.0.0.1", self.listening.port)

    def look(self) -> None:
        """One turn of the loop that waits, which is when the screen is painted."""
        turns = iter((False, True))
        self.listening.wait(lambda: next(turns))


@contextmanager
def machine() -> Iterator[Machine]:
    screens: list[str] = []
    with listen("host1", "new-host1", show=screens.append, addresses=lambda: ["127.0.0.1"]) as listening:
        one = Machine(listening, screens)
        one.look()
        yield one


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.load_or_create(tmp_path)


def own(authority: Authority) -> Self:
    return Self("box1", "Plant 3", authority.fingerprint)


def document(authority: Authority) -> bytes:
    return render_registration(Registration(url="https://10.0.0.1/r", ca_cert=authority.certificate_pem))


async def test_the_code_of_the_screen_hands_over_the_registration(authority: Authority) -> None:
    with machine() as host:
        await pair(host.place, host.code, own=own(authority), document=document(authority))
        paired = host.listening.wait(lambda: False)

    assert paired is not None
    assert paired.registration.ca_cert == authority.certificate_pem


async def test_a_wrong_code_is_said_and_the_screen_shows_another_with_a_warning(authority: Authority) -> None:
    with machine() as host:
        first = host.code
        wrong = f"{(int(first) + 1) % 10**6:06}"

        with pytest.raises(Refused, match="not the one that this host shows"):
            await pair(host.place, wrong, own=own(authority), document=document(authority))

        assert host.code != first
        assert "Wrong codes so far: 1" in host.screens[-1]


@pytest.mark.parametrize("code", ["", "12345", "1234567", "12345a", "١٢٣٤٥٦"])
async def test_what_is_no_code_is_never_sent(code: str, authority: Authority) -> None:
    with machine() as host:
        with pytest.raises(Refused, match="six digits"):
            await pair(host.place, code, own=own(authority), document=document(authority))

        assert len(host.screens) == 1


async def test_nobody_there_is_said_with_the_address(authority: Authority) -> None:
    with machine() as host:
        place = host.place

    with pytest.raises(Refused, match=f"127.0.0.1:{place.port}"):
        await pair(place, "123456", own=own(authority), document=document(authority))


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", f"{PATH}?nonce=", b"", 404),
        ("GET", f"{PATH}?nonce={'n' * 65}", b"", 404),
        ("GET", "/", b"", 404),
        ("POST", f"{PATH}/start", b"", 400),
        ("POST", f"{PATH}/start", b"{}", 400),
        ("POST", f"{PATH}/finish", b'{"session": 1}', 400),
        ("POST", f"{PATH}/other", b"{}", 404),
        ("POST", f"{PATH}/start", b" " * (MAX_MESSAGE_BYTES + 1), 413),
    ],
    ids=["no-nonce", "long-nonce", "elsewhere", "empty", "fieldless", "mistyped", "unknown", "huge"],
)
async def test_a_listener_takes_only_what_it_knows(method: str, path: str, body: bytes, status: int) -> None:
    with machine() as host:
        url = f"http://127.0.0.1:{host.listening.port}{path}"
        async with aiohttp.ClientSession() as session, session.request(method, url, data=body) as response:
            assert response.status == status
        assert len(host.screens) == 1


async def test_a_typed_address_reaches_a_machine_by_its_name(authority: Authority) -> None:
    with machine() as host:
        where = ("127.0.0.1", host.listening.port)

        assert await find_at(where, "new-host1") == host.place
        with pytest.raises(Refused, match="not another"):
            await find_at(where, "another")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.7", ("10.0.0.7", 8454)),
        ("10.0.0.7:99", ("10.0.0.7", 99)),
        ("fe80::1", ("fe80::1", 8454)),
        ("[fe80::1]:99", ("fe80::1", 99)),
        (" 10.0.0.7 ", ("10.0.0.7", 8454)),
    ],
)
def test_a_place_is_an_address_with_or_without_a_port(text: str, expected: tuple[str, int]) -> None:
    assert parse_place(text) == expected


@pytest.mark.parametrize(
    "text", ["", "host", "10.0.0.7:0", "10.0.0.7:65536", "10.0.0.7:x", "http://10.0.0.7"]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        parse_place(text)


@asynccontextmanager
async def probing(candidates: Candidates) -> AsyncIterator[None]:
    task = asyncio.create_task(probe_forever(candidates, seconds=0.01, now=lambda: NOW))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(candidates: Candidates, count: int) -> None:
    async with asyncio.timeout(30):
        while len(candidates.list()) != count:
            await asyncio.sleep(0.01)


def hear(candidates: Candidates, *, port: int, id: str = "host1") -> None:
    texts = {TXT_ID: id, TXT_PAIRING: "1"}
    candidates.hear(f"new-host1.{NODE_SERVICE}", "127.0.0.1", texts, now=NOW, port=port)


async def test_a_machine_that_is_gone_is_not_listed_and_one_that_is_there_stays() -> None:
    candidates = Candidates()
    with machine() as host:
        hear(candidates, port=host.listening.port)
        async with probing(candidates):
            await asyncio.sleep(0.2)
            there = len(candidates.list())
    async with probing(candidates):
        await until(candidates, 0)

    assert there == 1


async def test_another_machine_at_that_address_is_not_the_one_that_was_heard() -> None:
    candidates = Candidates()
    with machine() as host:
        hear(candidates, port=host.listening.port, id="host2")
        async with probing(candidates):
            await until(candidates, 0)


async def test_a_recorded_answer_is_no_sign_of_life() -> None:
    async def repeat(request: web.Request) -> web.Response:
        return web.json_response({"id": "host1", "session": "s1", "state": "open", "echo": "old"})

    app = web.Application()
    app.router.add_get(PATH, repeat)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    candidates = Candidates()
    hear(candidates, port=int(runner.addresses[0][1]))
    try:
        async with probing(candidates):
            await until(candidates, 0)
    finally:
        await runner.cleanup()

    assert MISSES_BEFORE_SILENT > 1


async def test_a_refused_connection_is_a_sign_of_life_of_a_machine_that_listens_nowhere() -> None:
    candidates = Candidates()
    with machine() as host:
        port = host.listening.port
    candidates.hear(f"m-1.{NODE_SERVICE}", "127.0.0.1", {TXT_ID: "x"}, now=NOW, port=port)

    async with probing(candidates):
        await asyncio.sleep(0.2)

    assert len(candidates.list()) == 1
