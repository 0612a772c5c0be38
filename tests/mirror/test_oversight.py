"""/metrics, /healthz and the access log, of a mirror that listens."""

import datetime
import json
from pathlib import Path

import pytest

from mirror.census import Census
from mirror.errors import MirrorError
from mirror.metrics import Metrics
from mirror.oversight import CENSUS_SECONDS, Exchange, Oversight, render_log_line, route_of
from tests.mirror.running import RunningMirror, wait_until
from tests.mirror.serving import ServingMirror

AT = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.UTC)


def test_a_pull_and_a_push_show_in_the_metrics(mirror: RunningMirror) -> None:
    digest = mirror.push_blob("a", b"0123456789")
    mirror.ask("GET", f"/v2/a/blobs/{digest}")
    mirror.ask("GET", "/v2/a/manifests/none")

    # A client has its last byte a moment before the server counts it.
    wait_until(lambda: b'route="manifest",method="GET",status="404"} 1' in mirror.ask("GET", "/metrics").body)
    wait_until(lambda: b'route="blob",method="GET",status="200"} 1' in mirror.ask("GET", "/metrics").body)
    answer = mirror.ask("GET", "/metrics")

    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = answer.body.decode().splitlines()
    assert 'skerry_mirror_requests_total{route="uploads",method="POST",status="201"} 1' in lines
    assert 'skerry_mirror_requests_total{route="blob",method="GET",status="200"} 1' in lines
    assert 'skerry_mirror_requests_total{route="manifest",method="GET",status="404"} 1' in lines
    assert "skerry_mirror_received_bytes_total 10" in lines
    assert "skerry_mirror_blobs 1" in lines
    assert "skerry_mirror_blob_bytes 10" in lines


def test_health_is_told_to_get_and_head_only(mirror: RunningMirror) -> None:
    assert (mirror.ask("GET", "/healthz").status, mirror.ask("GET", "/healthz").body) == (200, b"ok\n")
    head = mirror.ask("HEAD", "/healthz")
    assert (head.status, head.headers["Content-Length"], head.body) == (200, "3", b"")
    refused = mirror.ask("POST", "/metrics", b"x")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/metrics/", "/v2/metrics", "/healthz/x"])
def test_there_is_nothing_beside_them(mirror: RunningMirror, path: str) -> None:
    assert mirror.ask("GET", path).status == 404


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MirrorError("the index is gone")])
def test_a_mirror_that_cannot_read_its_data_says_so(error: Exception) -> None:
    def check() -> None:
        raise error

    reply = Oversight(Metrics(), take_census=Census, check=check).answer("GET", "/healthz")

    assert reply.status == 503
    assert str(error).encode() in bytes(reply.body)  # type: ignore[arg-type]


def test_the_census_is_taken_again_only_after_a_while() -> None:
    taken: list[Census] = []
    now = [0.0]

    def take() -> Census:
        taken.append(Census(blobs=len(taken)))
        return taken[-1]

    oversight = Oversight(Metrics(), take_census=take, check=lambda: None, now=lambda: now[0])
    oversight.answer("GET", "/metrics")
    oversight.answer("GET", "/metrics")
    assert len(taken) == 1

    now[0] = CENSUS_SECONDS
    assert b"skerry_mirror_blobs 1" in bytes(oversight.answer("GET", "/metrics").body)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v2/", "ping"),
        ("/v2/a/b/manifests/v1", "manifest"),
        ("/v2/a/blobs/uploads/", "uploads"),
        ("/metrics", "oversight"),
        ("/v2/a", "other"),
        ("/", "other"),
    ],
)
def test_a_path_is_counted_under_its_route(path: str, route: str) -> None:
    assert route_of(path) == route


def test_a_line_of_the_log_is_json_whatever_the_client_sent() -> None:
    exchange = Exchange(
        method="GET",
        path="/v2/\n\x00\udcff" + "x" * 10_000,
        client="10.0.0.7",
        user="alice",
        agent='a"b\r\nforged: line',
        status=200,
        received=0,
        sent=12,
        seconds=0.0123456789,
    )

    line = render_log_line(exchange, AT)

    assert line.count(b"\n") == 1
    assert len(line) < 2000
    said = json.loads(line)
    assert said["time"] == "2026-01-02T03:04:05.678+00:00"
    assert (said["client"], said["user"], said["status"], said["sent"]) == ("10.0.0.7", "alice", 200, 12)
    assert said["seconds"] == 0.012346


def test_what_is_counted_of_a_push_and_a_pull(tmp_path: Path) -> None:
    seen: list[Exchange] = []
    with RunningMirror(tmp_path / "root", on_answered=seen.append) as mirror:
        digest = mirror.push_blob("a", b"0123456789")
        mirror.ask(
            "GET", f"/v2/a/blobs/{digest}?secret=1", headers={"Range": "bytes=2-4", "User-Agent": "me"}
        )
        wait_until(lambda: len(seen) == 2)

    push, pull = seen
    assert (push.method, push.status, push.received) == ("POST", 201, 10)
    assert (pull.path, pull.status, pull.sent, pull.agent) == (f"/v2/a/blobs/{digest}", 206, 3, "me")
    assert pull.client == "127.0.0.1"


def test_the_access_log_is_off_unless_asked_for(tmp_path: Path) -> None:
    with ServingMirror(tmp_path / "quiet") as mirror:
        mirror.ask("GET", "/v2/")
        assert mirror.stop() == (0, "")

    with ServingMirror(tmp_path / "told", "--access-log") as mirror:
        mirror.ask("GET", "/v2/", headers={"Authorization": "Basic c2VjcmV0OnNlY3JldA=="})
        status, said = mirror.stop()

    assert status == 0
    assert json.loads(said)["path"] == "/v2/"
    assert "c2VjcmV0" not in said
