"""The two range headers of the distribution API, purely: `Range` of pulls, `Content-Range` of chunks."""

import re

from mirror.errors import RequestInvalid

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?(\d{1,18})-(\d{1,18})(?:/(?:\d{1,18}|\*))?")


class Unsatisfiable(Exception):
    """The range lies outside of the blob."""


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Offset and length to send, or None to send all: no range, several ranges, or another unit."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or header.strip() == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        if length == 0:
            raise Unsatisfiable
        return size - length, length
    start = int(first)
    end = min(int(last), size - 1) if last else size - 1
    if start >= size or end < start:
        raise Unsatisfiable
    return start, end - start + 1


def parse_content_range(header: str) -> tuple[int, int]:
    """First and last byte of a chunk; the specification writes `0-99`, some clients `bytes 0-99/200`."""
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if match is None:
        raise RequestInvalid(f"{header[:80]!r} is not a Content-Range", hint="write first-last, as in 0-1023")
    first, last = int(match[1]), int(match[2])
    if last < first:
        raise RequestInvalid(f"Content-Range {header[:80]} ends before it starts")
    return first, last
