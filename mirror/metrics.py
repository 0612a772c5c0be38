"""What is counted of the requests, in memory that several processes share, and its text for Prometheus.

Every worker adds to its own row of numbers, so nobody waits for anybody; reading adds the rows up. The rows
have a place for every label that can occur, so a client that invents methods or paths makes nothing grow.
"""

import mmap
from collections.abc import Iterator, Sequence
from typing import Final

from mirror.care import Care, Chore
from mirror.census import Census

ROUTES: Final = (
    "ping",
    "catalog",
    "manifest",
    "blob",
    "uploads",
    "upload",
    "tags",
    "referrers",
    "oversight",
    "other",
)
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "other")
STATUSES: Final = (
    *(200, 201, 202, 204, 206, 304),
    *(400, 401, 403, 404, 405, 408, 409, 413, 416, 429, 500, 507, 0),
)
BUCKETS: Final = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0)

_REQUESTS: Final = len(ROUTES) * len(METHODS) * len(STATUSES)
_ROW_OF_ROUTE: Final = len(BUCKETS) + 2  # the buckets, the rest, the sum
_RECEIVED: Final = _REQUESTS + len(ROUTES) * _ROW_OF_ROUTE
_SENT: Final = _RECEIVED + 1
_ROW: Final = _SENT + 1
_BYTES: Final = 8

_ROUTE_NUMBERS: Final = {route: number for number, route in enumerate(ROUTES)}
_METHOD_NUMBERS: Final = {method: number for number, method in enumerate(METHODS)}
_STATUS_NUMBERS: Final = {status: number for number, status in enumerate(STATUSES)}


class Metrics:
    """Make it before the workers are forked; each then counts with its own number."""

    def __init__(self, *, workers: int = 1) -> None:
        memory = mmap.mmap(-1, workers * _ROW * _BYTES)
        self._numbers = memoryview(memory).cast("d")
        self._workers = workers
        self._start = 0

    def count_as(self, worker: int) -> None:
        self._start = worker * _ROW

    def count(
        self, route: str, method: str, *, status: int, received: int, sent: int, seconds: float
    ) -> None:
        numbers, start = self._numbers, self._start
        place = _ROUTE_NUMBERS.get(route, len(ROUTES) - 1)
        numbers[start + _request(place, method, status)] += 1
        row = start + _REQUESTS + place * _ROW_OF_ROUTE
        bucket = next((n for n, most in enumerate(BUCKETS) if seconds <= most), len(BUCKETS))
        numbers[row + bucket] += 1
        numbers[row + _ROW_OF_ROUTE - 1] += seconds
        numbers[start + _RECEIVED] += received
        numbers[start + _SENT] += sent

    def render(self, census: Census) -> str:
        """The text exposition format 0.0.4."""
        numbers = [
            sum(self._numbers[worker * _ROW + place] for worker in range(self._workers))
            for place in range(_ROW)
        ]
        return "\n".join(
            [*_render_requests(numbers), *_render_seconds(numbers), *_gauges(numbers, census), ""]
        )


def _request(route: int, method: str, status: int) -> int:
    column = _METHOD_NUMBERS.get(method, len(METHODS) - 1)
    return (route * len(METHODS) + column) * len(STATUSES) + _STATUS_NUMBERS.get(status, len(STATUSES) - 1)


def _render_requests(numbers: Sequence[float]) -> Iterator[str]:
    name = "skerry_mirror_requests_total"
    yield from _heading(name, "counter", "Requests answered.")
    for route, route_name in enumerate(ROUTES):
        for method in METHODS:
            for status in STATUSES:
                if count := numbers[_request(route, method, status)]:
                    labels = f'route="{route_name}",method="{method}",status="{status or "other"}"'
                    yield f"{name}{{{labels}}} {count:.0f}"


def _render_seconds(numbers: Sequence[float]) -> Iterator[str]:
    name = "skerry_mirror_request_seconds"
    yield from _heading(name, "histogram", "From the request's headers to the last byte of its answer.")
    for number, route in enumerate(ROUTES):
        start = _REQUESTS + number * _ROW_OF_ROUTE
        *counts, total = numbers[start : start + _ROW_OF_ROUTE]
        if not sum(counts):
            continue
        so_far = 0.0
        for most, count in zip((*BUCKETS, "+Inf"), counts, strict=True):
            so_far += count
            yield f'{name}_bucket{{route="{route}",le="{most}"}} {so_far:.0f}'
        yield f'{name}_sum{{route="{route}"}} {total:.6f}'
        yield f'{name}_count{{route="{route}"}} {so_far:.0f}'


def _gauges(numbers: Sequence[float], census: Census) -> Iterator[str]:
    for name, kind, told, value in (
        ("received_bytes_total", "counter", "Bytes of request bodies taken in.", numbers[_RECEIVED]),
        ("sent_bytes_total", "counter", "Bytes of answers' bodies sent.", numbers[_SENT]),
        ("open_uploads", "gauge", "Upload sessions that are not finished.", census.uploads),
        ("blobs", "gauge", "Blobs stored, each once.", census.blobs),
        ("blob_bytes", "gauge", "Bytes of the blobs stored.", census.blob_bytes),
        ("quota_bytes", "gauge", "Bytes that all blobs together may take, 0 for no bound.", census.quota),
        ("keep_free_bytes", "gauge", "Bytes of the disk that pushes must leave free.", census.floor),
        ("free_bytes", "gauge", "Bytes free on the mirror's disk.", census.free_bytes),
        *_care("collection", "Bytes that it freed.", census.collection),
        *_care("verification", "Bytes that it checked.", census.verification),
    ):
        yield from _heading(f"skerry_mirror_{name}", kind, told)
        yield f"skerry_mirror_{name} {value:.0f}"


def _care(chore: Chore, bytes_told: str, care: Care | None) -> Iterator[tuple[str, str, str, float]]:
    """Nothing for what was never done: a time of 0 would look like the longest of neglect."""
    if care is not None:
        name = f"last_{chore}"
        yield f"{name}_timestamp_seconds", "gauge", f"When the last {chore} ended.", care.at
        yield f"{name}_success", "gauge", f"Whether the last {chore} ended well.", care.is_sound
        yield f"{name}_bytes", "gauge", bytes_told, care.bytes
        yield f"{name}_findings", "gauge", f"What the last {chore} found wrong.", care.findings


def _heading(name: str, kind: str, told: str) -> tuple[str, str]:
    return f"# HELP {name} {told}", f"# TYPE {name} {kind}"
