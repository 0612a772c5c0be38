"""The counters add up over workers, and their text is what Prometheus reads."""

import os

import pytest

from mirror.care import Care
from mirror.census import Census
from mirror.metrics import Metrics

CENSUS = Census(blobs=3, blob_bytes=1234, uploads=2)


def sample(text: str, name: str) -> float:
    """The value of one line, by its name and labels."""
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + " "))


def test_requests_bytes_and_seconds_are_counted_by_route_and_status() -> None:
    metrics = Metrics()

    metrics.count("blob", "GET", status=200, received=0, sent=500, seconds=0.004)
    metrics.count("blob", "GET", status=200, received=0, sent=70, seconds=3.0)
    metrics.count("upload", "PUT", status=201, received=40, sent=0, seconds=500.0)

    text = metrics.render(CENSUS)
    requests = "skerry_mirror_requests_total"
    assert sample(text, requests + '{route="blob",method="GET",status="200"}') == 2
    assert sample(text, requests + '{route="upload",method="PUT",status="201"}') == 1
    assert sample(text, "skerry_mirror_sent_bytes_total") == 570
    assert sample(text, "skerry_mirror_received_bytes_total") == 40
    seconds = "skerry_mirror_request_seconds"
    assert sample(text, seconds + '_bucket{route="blob",le="0.001"}') == 0
    assert sample(text, seconds + '_bucket{route="blob",le="0.005"}') == 1
    assert sample(text, seconds + '_bucket{route="blob",le="+Inf"}') == 2
    assert sample(text, seconds + '_count{route="upload"}') == 1
    assert sample(text, seconds + '_bucket{route="upload",le="120.0"}') == 0
    assert sample(text, seconds + '_sum{route="blob"}') == pytest.approx(3.004)


def test_the_gauges_are_the_census() -> None:
    text = Metrics().render(CENSUS)

    assert sample(text, "skerry_mirror_blobs") == 3
    assert sample(text, "skerry_mirror_blob_bytes") == 1234
    assert sample(text, "skerry_mirror_open_uploads") == 2


def test_room_and_care_are_gauges_and_care_that_never_was_is_none() -> None:
    care = Care(at=1.7e9, is_sound=False, bytes=12, findings=3)

    text = Metrics().render(Census(quota=100, floor=10, free_bytes=50, verification=care))

    assert sample(text, "skerry_mirror_quota_bytes") == 100
    assert sample(text, "skerry_mirror_keep_free_bytes") == 10
    assert sample(text, "skerry_mirror_free_bytes") == 50
    assert sample(text, "skerry_mirror_last_verification_timestamp_seconds") == 1.7e9
    assert sample(text, "skerry_mirror_last_verification_success") == 0
    assert sample(text, "skerry_mirror_last_verification_bytes") == 12
    assert sample(text, "skerry_mirror_last_verification_findings") == 3
    assert "last_collection" not in text


def test_every_series_is_announced_once_before_it_is_given() -> None:
    metrics = Metrics()
    metrics.count("blob", "GET", status=200, received=0, sent=0, seconds=0.0)

    lines = metrics.render(CENSUS).splitlines()

    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types)) == 10
    for line in lines:
        if not line.startswith("#"):
            name = line.partition("{")[0].partition(" ")[0]
            assert any(name in (kind, f"{kind}_bucket", f"{kind}_sum", f"{kind}_count") for kind in types)


def test_what_clients_invent_is_counted_as_other() -> None:
    metrics = Metrics()
    for number in range(100):
        metrics.count(f"route{number}", f"M{number}", status=number, received=0, sent=0, seconds=0.1)

    text = metrics.render(CENSUS)

    assert sample(text, 'skerry_mirror_requests_total{route="other",method="other",status="other"}') == 100
    assert "route7" not in text


def test_what_other_workers_counted_is_seen_by_all() -> None:
    metrics = Metrics(workers=2)
    metrics.count("ping", "GET", status=200, received=0, sent=2, seconds=0.1)
    child = os.fork()
    if child == 0:
        metrics.count_as(1)
        metrics.count("ping", "GET", status=200, received=0, sent=2, seconds=0.1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

    text = metrics.render(CENSUS)

    assert sample(text, 'skerry_mirror_requests_total{route="ping",method="GET",status="200"}') == 2
    assert sample(text, "skerry_mirror_sent_bytes_total") == 4
