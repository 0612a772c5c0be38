"""What those who run the mirror ask of it, beside the distribution API: /metrics, /healthz, the access log.

The answers and the lines of the log are made here; nothing here listens or writes.
"""

import datetime
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from mirror.census import Census
from mirror.errors import MirrorError
from mirror.metrics import Metrics
from mirror.paths import parse_path
from mirror.wire import Reply

PATHS: Final = frozenset({"/metrics", "/healthz"})
CENSUS_SECONDS: Final = 10.0
MAX_LOGGED: Final = 500


class Oversight:
    """`take_census` may be slow, so its count is kept for a while; `check` raises if the mirror is unwell."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        take_census: Callable[[], Census],
        check: Callable[[], object],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.metrics = metrics
        self._take_census = take_census
        self._check = check
        self._now = now
        self._census = Census()
        self._stale_at = -1.0

    def answer(self, method: str, path: str) -> Reply:
        """`path` is one of PATHS. Blocks, for it looks at the disk."""
        if method not in ("GET", "HEAD"):
            return _text(405, f"{method} is not supported at {path}\n", [("Allow", "GET, HEAD")])
        if path == "/metrics":
            kind = "text/plain; version=0.0.4; charset=utf-8"
            return _text(200, self.metrics.render(self._recent_census()), content_type=kind)
        try:
            self._check()
        except (OSError, MirrorError, sqlite3.Error) as error:
            return _text(503, f"the mirror's data cannot be read: {error}\n")
        return _text(200, "ok\n")

    def _recent_census(self) -> Census:
        if self._now() >= self._stale_at:
            self._census = self._take_census()
            self._stale_at = self._now() + CENSUS_SECONDS
        return self._census


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what became of it. Headers and queries are left away: they may hold secrets."""

    method: str
    path: str
    client: str
    user: str
    agent: str
    status: int
    received: int
    sent: int
    seconds: float


def route_of(path: str) -> str:
    """The label that a path is counted under."""
    return "oversight" if path in PATHS else parse_path(path)[0] or "other"


def render_log_line(exchange: Exchange, at: datetime.datetime) -> bytes:
    """One line of JSON, whatever bytes the client sent."""
    line: dict[str, str | int | float] = {
        "time": at.isoformat(timespec="milliseconds"),
        "client": exchange.client,
        "user": exchange.user[:MAX_LOGGED],
        "method": exchange.method[:MAX_LOGGED],
        "path": exchange.path[:MAX_LOGGED],
        "status": exchange.status,
        "received": exchange.received,
        "sent": exchange.sent,
        "seconds": round(exchange.seconds, 6),
        "agent": exchange.agent[:MAX_LOGGED],
    }
    return msgspec.json.encode({key: _readable(value) for key, value in line.items()}) + b"\n"


def _readable(value: str | int | float) -> str | int | float:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _text(
    status: int,
    text: str,
    headers: list[tuple[str, str]] | None = None,
    *,
    content_type: str = "text/plain; charset=utf-8",
) -> Reply:
    body = text.encode()
    return Reply(
        status, [("Content-Type", content_type), ("Content-Length", str(len(body))), *(headers or [])], body
    )
