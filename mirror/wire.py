"""What passes between the distribution API and whatever speaks HTTP for it.

A front end makes a `Request`, gives it to `Distribution.begin`, and gets either a `Reply` to send or an
`Receiver` to pour the request's body into. No sockets, no event loop, no HTTP library.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol
from urllib.parse import parse_qs

from mirror.errors import RequestInvalid

MAX_QUERY_FIELDS = 64

Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Request:
    """`path` is decoded, without query; `headers` must be case-insensitive."""

    method: str
    path: str
    headers: Mapping[str, str]
    query_string: str = ""

    @cached_property
    def query(self) -> Mapping[str, Sequence[str]]:
        if not self.query_string:
            return {}
        try:
            return parse_qs(self.query_string, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
        except ValueError as error:
            raise RequestInvalid(f"the query has more than {MAX_QUERY_FIELDS} fields") from error

    def parameter(self, name: str) -> str:
        """The first value of a query parameter, or nothing."""
        return self.query.get(name, ("",))[0]

    @property
    def length(self) -> int | None:
        """The announced length of the body; None when it is sent in chunks."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() else None


@dataclass(frozen=True, slots=True)
class FileSlice:
    """Part of an open file; whoever sends it closes `fd`."""

    fd: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Reply:
    """`headers` hold the Content-Length, so a HEAD is answered by leaving the body away."""

    status: int
    headers: Headers
    body: bytes | FileSlice = b""


class Receiver(Protocol):
    """Where a request's body goes. `write` and `finish` block and raise MirrorError; call one at a time."""

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def finish(self) -> Reply:
        """The body is complete."""
        ...

    def break_off(self) -> None:
        """The body will not be completed; called at most once, also after `write` raised."""
        ...
