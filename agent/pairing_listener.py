"""Pairing on a host: listens for appliances, shows the code, and waits until one of them knew it.

What is decided is `agent.pairing`'s; here are the socket, chance, the clock and the screen. The listener is
small on purpose: anybody on the link reaches it.
"""

import logging
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from agent.errors import Denied
from agent.pairing import Draw, Paired, Pairing, answer_finish, answer_start, describe, tick
from agent.protocol.errors import ProtocolError
from agent.protocol.pairing import (
    CODE_DIGITS,
    DEFAULT_PORT,
    MAX_MESSAGE_BYTES,
    PATH,
    Finish,
    Finished,
    Start,
    Started,
    parse_message,
    render_message,
)
from agent.protocol.pake import EXPONENT_BYTES

log = logging.getLogger("agent")

REQUEST_SECONDS = 5.0
MAX_REQUESTS_AT_ONCE = 16
MAX_NONCE = 64
TICK_SECONDS = 0.5

Show = Callable[[str], object]


class Refusal(msgspec.Struct, frozen=True):
    """The body of an answer that says no."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Listening:
    """A host that can be paired with."""

    port: int
    wait: Callable[[Callable[[], bool]], Paired | None]


@contextmanager
def listen(id: str, name: str, *, show: Show, addresses: Callable[[], Sequence[str]]) -> Iterator[Listening]:
    """Answer appliances while the body runs. `show` gets the text for the screen whenever it changes.

    On the port that a technician need not type, unless something else has it.
    """
    desk = _Desk(id, name, show, addresses)
    try:
        server = _Server(DEFAULT_PORT, desk)
    except OSError:
        server = _Server(0, desk)
    desk.port = int(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="pairing", daemon=True)
    thread.start()
    try:
        yield Listening(desk.port, desk.wait)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def render_screen(
    name: str, code: str, *, failures: int = 0, locked_seconds: int = 0, places: Sequence[str] = ()
) -> str:
    """What stands on the machine's own screen, readable from two metres."""
    digits = "   ".join(f"{code[:3]} {code[3:]}".replace(" ", "-"))
    lines = [
        "=" * 60,
        f"  This machine belongs to nobody yet. Its name is {name}.",
        "",
        f"        CODE    {digits}",
        "",
        f"  At the appliance:  skerry discover pair {name} --registration NAME",
        "  --code and these six digits.",
        *(f"  If it is not listed there, add:  --address {place}" for place in places[:3]),
    ]
    if not places:
        lines.append("  This machine has no network address yet. Is its cable in?")
    if failures:
        lines.append(f"  Wrong codes so far: {failures}. If that was not you, find out who it was.")
    if locked_seconds:
        lines.append(f"  Nobody can pair for the next {locked_seconds} seconds.")
    return "\n".join([*lines, "=" * 60])


def render_place(address: str, port: int) -> str:
    """As a technician types it: the port only where it is not the usual one."""
    if port == DEFAULT_PORT:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def draw() -> Draw:
    """A code, a session and an exponent that were never used before."""
    code = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"
    return Draw(code, secrets.token_hex(16), secrets.token_bytes(EXPONENT_BYTES))


class _Desk:
    """The state, one message at a time."""

    def __init__(self, id: str, name: str, show: Show, addresses: Callable[[], Sequence[str]]) -> None:
        self.port = 0
        self._addresses = addresses
        self._pairing = Pairing(id=id, name=name, draw=draw(), since=time.monotonic())
        self._show = show
        self._shown = ""
        self._lock = threading.Lock()
        self._done = threading.Event()

    def wait(self, is_over: Callable[[], bool]) -> Paired | None:
        """Return whom we are paired with, or None when `is_over` says so first."""
        while not is_over():
            with self._lock:
                self._keep(tick(self._pairing, draw=draw(), now=time.monotonic()))
                if self._pairing.paired is not None:
                    return self._pairing.paired
            self._done.wait(TICK_SECONDS)
        return None

    def hello(self, nonce: str) -> bytes:
        with self._lock:
            return render_message(describe(self._pairing, nonce=nonce, now=time.monotonic()))

    def answer(self, path: str, body: bytes) -> Started | Finished | Denied:
        """Raises ProtocolError for what is no message."""
        answer: Started | Finished | Denied
        with self._lock:
            now = time.monotonic()
            self._pairing = tick(self._pairing, draw=draw(), now=now)
            if path == f"{PATH}/start":
                start = parse_message(body, Start)
                pairing, answer = answer_start(self._pairing, start, draw=draw(), now=now)
            else:
                finish = parse_message(body, Finish)
                pairing, answer = answer_finish(self._pairing, finish, draw=draw(), now=now)
            self._keep(pairing)
            return answer

    def _keep(self, pairing: Pairing) -> None:
        self._pairing = pairing
        if pairing.paired is not None:
            self._done.set()
            text = f"Paired with {pairing.paired.appliance}. Registering..."
        else:
            text = render_screen(
                pairing.name,
                pairing.draw.code,
                failures=pairing.failures,
                locked_seconds=int(max(0.0, pairing.locked_until - pairing.since)),
                places=[render_place(address, self.port) for address in self._addresses()],
            )
        if text != self._shown:
            self._shown = text
            self._show(text)


class _Server(ThreadingHTTPServer):
    """IPv4 and IPv6 on one socket, a bounded number of requests at a time."""

    address_family = socket.AF_INET6
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, port: int, desk: _Desk) -> None:
        self._places = threading.BoundedSemaphore(MAX_REQUESTS_AT_ONCE)
        super().__init__(("::", port), _make_handler(desk))

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.info("pairing: a request from %s failed: %s", client_address[0], sys.exc_info()[1])


def _make_handler(desk: _Desk) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_SECONDS
        server_version = "skerry-agent"
        sys_version = ""

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            nonce = parse_qs(url.query).get("nonce", [""])[0]
            if url.path != PATH or not nonce.isalnum() or len(nonce) > MAX_NONCE:
                self._answer(404, msgspec.json.encode(Refusal("there is nothing here")))
            else:
                self._answer(200, desk.hello(nonce))

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if self.path not in (f"{PATH}/start", f"{PATH}/finish"):
                self._answer(404, msgspec.json.encode(Refusal("there is nothing here")))
            elif not (length.isascii() and length.isdigit()) or int(length) > MAX_MESSAGE_BYTES:
                self._answer(413, msgspec.json.encode(Refusal("the message is too large")))
            else:
                self._answer_message(self.rfile.read(int(length)))

        def _answer_message(self, body: bytes) -> None:
            try:
                answer = desk.answer(self.path, body)
            except ProtocolError as error:
                self._answer(400, msgspec.json.encode(Refusal(str(error), error.hint)))
                return
            if isinstance(answer, Denied):
                log.warning("pairing: %s was refused: %s", self.client_address[0], answer)
                self._answer(403, msgspec.json.encode(Refusal(str(answer), answer.hint)))
            else:
                self._answer(200, render_message(answer))

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
