"""The distribution API over a real socket: pulls, pushes, lists, and everything that clients get wrong."""

import http.client
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.limits import DEFAULT_LIMITS, Patience
from mirror.oci import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, digest_of
from tests.mirror.running import Answer, RunningMirror, image_manifest, wait_until

MISSING = digest_of(b"missing")
IMPATIENT = Patience(in_body=0.2, in_reading=0.2)
BIG = os.urandom(5 * 1024 * 1024 + 17)


@pytest.fixture
def small_mirror(tmp_path: Path) -> Iterator[RunningMirror]:
    limits = replace(DEFAULT_LIMITS, manifest_bytes=5000, blob_bytes=100_000, open_uploads=2, page=3)
    with RunningMirror(tmp_path / "root", limits=limits) as running:
        yield running


def staged(mirror: RunningMirror) -> list[str]:
    return sorted(path.name for path in mirror.registry._blobs.staging.iterdir())


def start_upload(mirror: RunningMirror, repository: str = "a") -> str:
    answer = mirror.ask("POST", f"/v2/{repository}/blobs/uploads/", headers={"Content-Length": "0"})
    assert answer.status == 202
    assert answer.headers["Range"] == "0-0"
    return answer.headers["Location"]


def raw(mirror: RunningMirror, request: bytes, *, seconds: float = 5.0) -> bytes:
    """Send bytes as they are; what came back until the mirror closed or was silent."""
    received = b""
    with socket.create_connection(("127.0.0.1", mirror.port), timeout=seconds) as sock:
        sock.sendall(request)
        try:
            while data := sock.recv(65536):
                received += data
        except (TimeoutError, ConnectionResetError):
            pass
    return received


# pull


@pytest.mark.parametrize("path", ["/v2/", "/v2"])
def test_ping(mirror: RunningMirror, path: str) -> None:
    answer = mirror.ask("GET", path)

    assert (answer.status, answer.body) == (200, b"{}")
    assert mirror.ask("HEAD", path).status == 200


@pytest.mark.parametrize("content", [b"", b"small", BIG])
def test_a_blob_comes_back_whole(mirror: RunningMirror, content: bytes) -> None:
    digest = mirror.push_blob("a/b", content)

    head = mirror.ask("HEAD", f"/v2/a/b/blobs/{digest}")
    get = mirror.ask("GET", f"/v2/a/b/blobs/{digest}", headers={"Accept-Encoding": "gzip"})

    assert get.body == content
    for answer in (head, get):
        assert answer.status == 200
        assert answer.headers["Docker-Content-Digest"] == digest
        assert answer.headers["Content-Length"] == str(len(content))
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert "Content-Encoding" not in answer.headers
    assert head.body == b""


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=500-1499", 500, 1499),
        ("bytes=500-", 500, len(BIG) - 1),
        ("bytes=-500", len(BIG) - 500, len(BIG) - 1),
    ],
)
def test_a_part_of_a_blob(mirror: RunningMirror, header: str, first: int, last: int) -> None:
    digest = mirror.push_blob("a", BIG)

    answer = mirror.ask("GET", f"/v2/a/blobs/{digest}", headers={"Range": header})

    assert answer.status == 206
    assert answer.body == BIG[first : last + 1]
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(BIG)}"


def test_a_range_outside_of_the_blob(mirror: RunningMirror) -> None:
    digest = mirror.push_blob("a", b"content")

    answer = mirror.ask("GET", f"/v2/a/blobs/{digest}", headers={"Range": "bytes=100-"})

    assert answer.status == 416
    assert answer.headers["Content-Range"] == "bytes */7"
    assert int(answer.headers["Content-Length"]) == len(answer.body)


def test_a_range_is_ignored_when_the_client_holds_another_version(mirror: RunningMirror) -> None:
    digest = mirror.push_blob("a", b"content")
    ranges = {"Range": "bytes=2-3"}

    same = mirror.ask("GET", f"/v2/a/blobs/{digest}", headers={**ranges, "If-Range": f'"{digest}"'})
    other = mirror.ask("GET", f"/v2/a/blobs/{digest}", headers={**ranges, "If-Range": '"x"'})

    assert (same.status, same.body) == (206, b"nt")
    assert (other.status, other.body) == (200, b"content")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_the_client_has_is_not_sent_again(mirror: RunningMirror, method: str) -> None:
    digest = mirror.push_image("a", "v1")
    blob = digest_of(b"layer")

    for path, etag in ((f"manifests/{digest}", digest), ("manifests/v1", digest), (f"blobs/{blob}", blob)):
        for known in (f'"{etag}"', etag, f'W/"x", "{etag}"', "*"):
            answer = mirror.ask(method, f"/v2/a/{path}", headers={"If-None-Match": known})
            assert (answer.status, answer.body) == (304, b"")
            assert answer.headers["ETag"] == f'"{etag}"'
        assert mirror.ask(method, f"/v2/a/{path}", headers={"If-None-Match": '"x"'}).status == 200


@pytest.mark.parametrize("accept", [None, "*/*", "text/html", DOCKER_MANIFEST])
def test_a_manifest_comes_back_whatever_the_client_says_it_accepts(
    mirror: RunningMirror, accept: str | None
) -> None:
    digest = mirror.push_image("a", "v1")

    for reference in ("v1", digest):
        answer = mirror.ask(
            "GET", f"/v2/a/manifests/{reference}", headers={"Accept": accept} if accept else {}
        )
        assert answer.status == 200
        assert digest_of(answer.body) == digest
        assert answer.headers["Docker-Content-Digest"] == digest
        assert answer.headers["Content-Type"] == OCI_MANIFEST
        head = mirror.ask("HEAD", f"/v2/a/manifests/{reference}")
        assert head.headers["Content-Length"] == str(len(answer.body))
        assert head.body == b""


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"/v2/a/blobs/{MISSING}", 404, "BLOB_UNKNOWN"),
        ("/v2/a/blobs/sha256:x", 400, "DIGEST_INVALID"),
        ("/v2/a/blobs/sha256:..%2F..%2Fetc", 404, "UNSUPPORTED"),
        (f"/v2/a/manifests/{MISSING}", 404, "MANIFEST_UNKNOWN"),
        ("/v2/a/manifests/v1", 404, "MANIFEST_UNKNOWN"),
        ("/v2/a/manifests/sha256:x", 400, "DIGEST_INVALID"),
        ("/v2/a/manifests/..", 404, "MANIFEST_UNKNOWN"),
        ("/v2/a/manifests/%22%3E%3Cb%3E", 404, "MANIFEST_UNKNOWN"),
        ("/v2/a/manifests/" + "a" * 129, 404, "MANIFEST_UNKNOWN"),
        ("/v2/A/manifests/v1", 400, "NAME_INVALID"),
        ("/v2/../../etc/manifests/passwd", 400, "NAME_INVALID"),
        ("/v2/%2e%2e/%2e%2e/manifests/x", 400, "NAME_INVALID"),
        ("/v2/a%00b/manifests/v1", 400, "NAME_INVALID"),
        ("/v2/" + "a" * 256 + "/manifests/v1", 400, "NAME_INVALID"),
        ("/v2/a/tags/list", 404, "NAME_UNKNOWN"),
        ("/v2/a/tags/list?n=x", 400, "UNSUPPORTED"),
        ("/v2/a/tags/list?n=-1", 400, "UNSUPPORTED"),
        ("/v2/a/referrers/x", 400, "DIGEST_INVALID"),
        ("/v2/a/blobs/uploads/x", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("/v2/a/tags/list?" + "&".join(f"x{n}=1" for n in range(100)), 400, "UNSUPPORTED"),
        ("/v2/a/nothing", 404, "UNSUPPORTED"),
        ("/v2/manifests/v1", 404, "UNSUPPORTED"),
        ("/", 404, "UNSUPPORTED"),
        ("/v2/x/%ff%fe/manifests/v1", 400, "NAME_INVALID"),
    ],
)
def test_a_pull_of_what_is_not_there(mirror: RunningMirror, path: str, status: int, code: str) -> None:
    answer = mirror.ask("GET", path)

    assert (answer.status, answer.code) == (status, code)
    assert answer.json["errors"][0]["message"]
    head = mirror.ask("HEAD", path)
    assert head.status in (status, 405)
    assert head.body == b""


def test_one_connection_serves_many_requests(mirror: RunningMirror) -> None:
    digest = mirror.push_blob("a", BIG)
    connection = http.client.HTTPConnection("127.0.0.1", mirror.port, timeout=30)

    for _ in range(3):
        connection.request("GET", f"/v2/a/blobs/{digest}")
        assert connection.getresponse().read() == BIG
        connection.request("HEAD", f"/v2/a/blobs/{digest}")
        assert connection.getresponse().read() == b""
        connection.request("GET", "/v2/a/manifests/nothing")
        assert connection.getresponse().read().startswith(b'{"errors"')
    connection.close()


def test_pipelined_requests_are_answered_in_order(mirror: RunningMirror) -> None:
    digest = mirror.push_blob("a", b"content")
    request = f"GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    last = b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    received = raw(mirror, request * 3 + last)

    assert received.count(b"\r\n\r\ncontent") == 3
    assert received.endswith(b"\r\n\r\n{}")


def test_a_client_that_leaves_in_the_middle_disturbs_nobody(mirror: RunningMirror) -> None:
    digest = mirror.push_blob("a", BIG * 4)
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", mirror.port)) as sock:
            sock.sendall(f"GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            sock.recv(1000)

    assert mirror.ask("GET", f"/v2/a/blobs/{digest}").body == BIG * 4


def test_more_slow_clients_than_threads_do_not_stop_a_quick_one(mirror: RunningMirror) -> None:
    digest = mirror.push_blob("a", BIG * 4)
    slow = [socket.create_connection(("127.0.0.1", mirror.port)) for _ in range(24)]
    for sock in slow:
        sock.sendall(f"GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    assert mirror.ask("GET", f"/v2/a/blobs/{digest}").body == BIG * 4
    with slow[0].makefile("rb") as file:
        response = file.read(len(BIG) * 4)
    assert response.partition(b"\r\n\r\n")[2] == (BIG * 4)[: len(response.partition(b"\r\n\r\n")[2])]
    for sock in slow:
        sock.close()


def test_a_client_that_reads_nothing_is_cut_off(tmp_path: Path) -> None:
    with RunningMirror(tmp_path / "root", patience=IMPATIENT) as mirror:
        digest = mirror.push_blob("a", BIG * 8)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            sock.connect(("127.0.0.1", mirror.port))
            sock.sendall(f"GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            wait_until(lambda: mirror.connections > 0)
            wait_until(lambda: mirror.connections == 0)
            received = 0
            try:
                while data := sock.recv(65536):
                    received += len(data)
            except ConnectionResetError:
                pass

        assert received < len(BIG) * 8


# push


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("content", [b"", b"content", BIG])
def test_every_way_to_push_a_blob(mirror: RunningMirror, content: bytes, algorithm: str) -> None:
    digest = digest_of(content, algorithm)

    def push_at_once(repository: str) -> Answer:
        return mirror.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", content)

    def push_after_post(repository: str) -> Answer:
        return mirror.ask("PUT", f"{start_upload(mirror, repository)}?digest={digest}", content)

    def push_with_the_algorithm(repository: str) -> Answer:
        path = f"/v2/{repository}/blobs/uploads/?digest-algorithm={algorithm}"
        location = mirror.ask("POST", path).headers["Location"]
        return mirror.ask("PUT", f"{location}?digest={digest}", content)

    def push_streamed(repository: str) -> Answer:
        location = start_upload(mirror, repository)
        half = len(content) // 2
        answer = mirror.ask("PATCH", location, iter([content[:half], content[half:]]))
        assert answer.status == 202
        assert answer.headers["Range"] == f"0-{max(len(content) - 1, 0)}"
        return mirror.ask("PUT", f"{answer.headers['Location']}?digest={digest}")

    def push_in_chunks(repository: str) -> Answer:
        location = start_upload(mirror, repository)
        third = len(content) // 3
        for first, last in ((0, third), (third, 2 * third)):
            if last > first:
                answer = mirror.ask(
                    "PATCH", location, content[first:last], headers={"Content-Range": f"{first}-{last - 1}"}
                )
                assert (answer.status, answer.headers["Range"]) == (202, f"0-{last - 1}")
                location = answer.headers["Location"]
        rest = content[2 * third :]
        ranges = {"Content-Range": f"{2 * third}-{len(content) - 1}"} if rest else {}
        return mirror.ask("PUT", f"{location}?digest={digest}", rest, headers=ranges)

    ways = (push_at_once, push_after_post, push_with_the_algorithm, push_streamed, push_in_chunks)
    for number, push in enumerate(ways):
        answer = push(f"r{number}")
        assert answer.status == 201, answer.body
        assert answer.headers["Docker-Content-Digest"] == digest
        assert answer.headers["Location"] == f"/v2/r{number}/blobs/{digest}"
        assert mirror.ask("GET", answer.headers["Location"]).body == content
    assert staged(mirror) == []


@pytest.mark.parametrize("way", ["post", "put", "patch"])
def test_content_with_another_digest_is_refused_and_not_kept(mirror: RunningMirror, way: str) -> None:
    if way == "post":
        answer = mirror.ask("POST", f"/v2/a/blobs/uploads/?digest={MISSING}", BIG)
    elif way == "put":
        answer = mirror.ask("PUT", f"{start_upload(mirror)}?digest={MISSING}", BIG)
    else:
        location = mirror.ask("PATCH", start_upload(mirror), BIG).headers["Location"]
        answer = mirror.ask("PUT", f"{location}?digest={MISSING}")

    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert mirror.ask("HEAD", f"/v2/a/blobs/{MISSING}").status == 404
    assert mirror.ask("HEAD", f"/v2/a/blobs/{digest_of(BIG)}").status == 404
    assert staged(mirror) == []


@pytest.mark.parametrize("digest", ["", "x", "sha256:x", "md5:" + "0" * 32])
def test_an_upload_cannot_be_finished_without_a_digest(mirror: RunningMirror, digest: str) -> None:
    answer = mirror.ask("PUT", f"{start_upload(mirror)}?digest={digest}", b"content")

    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


def test_a_chunk_out_of_order_is_refused_and_the_upload_goes_on(mirror: RunningMirror) -> None:
    location = start_upload(mirror)
    mirror.ask("PATCH", location, b"01234", headers={"Content-Range": "0-4"})

    for method, suffix in (("PATCH", ""), ("PUT", f"?digest={digest_of(b'0123456789')}")):
        for first in (0, 6):
            answer = mirror.ask(
                method, location + suffix, b"xxxxx", headers={"Content-Range": f"{first}-{first + 4}"}
            )
            assert (answer.status, answer.code) == (416, "BLOB_UPLOAD_INVALID")
            assert answer.headers["Range"] == "0-4"
            assert answer.headers["Location"] == location

    state = mirror.ask("GET", location)
    assert (state.status, state.headers["Range"], state.body) == (204, "0-4", b"")
    digest = digest_of(b"0123456789")
    done = mirror.ask("PUT", f"{location}?digest={digest}", b"56789", headers={"Content-Range": "5-9"})
    assert done.status == 201


@pytest.mark.parametrize(
    ("content_range", "status", "code"),
    [("x", 400, "UNSUPPORTED"), ("9-0", 400, "UNSUPPORTED"), ("0-99", 400, "SIZE_INVALID")],
)
def test_a_chunk_that_is_announced_wrongly(
    mirror: RunningMirror, content_range: str, status: int, code: str
) -> None:
    location = start_upload(mirror)

    answer = mirror.ask("PATCH", location, b"01234", headers={"Content-Range": content_range})

    assert (answer.status, answer.code) == (status, code)
    assert mirror.ask("GET", location).headers["Range"] == "0-0"


def test_a_streamed_chunk_of_another_length_than_announced(mirror: RunningMirror) -> None:
    answer = mirror.ask("PATCH", start_upload(mirror), iter([b"01234"]), headers={"Content-Range": "0-9"})

    assert (answer.status, answer.code) == (400, "SIZE_INVALID")


def test_a_broken_connection_is_taken_up_where_it_broke(mirror: RunningMirror) -> None:
    location = start_upload(mirror)
    head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BIG)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", mirror.port)) as sock:
        sock.sendall(head + BIG[: len(BIG) // 2])

    def is_taken_up() -> bool:
        state = mirror.ask("GET", location)
        assert state.status == 204
        offset = int(state.headers["Range"].partition("-")[2]) + 1
        rest = {"Content-Range": f"{offset}-{len(BIG) - 1}"}
        return offset > 1 and mirror.ask("PATCH", location, BIG[offset:], headers=rest).status == 202

    wait_until(is_taken_up)
    assert mirror.ask("PUT", f"{location}?digest={digest_of(BIG)}").status == 201
    assert mirror.ask("GET", f"/v2/a/blobs/{digest_of(BIG)}").body == BIG


def test_a_push_at_once_that_breaks_leaves_nothing(mirror: RunningMirror) -> None:
    path = f"/v2/a/blobs/uploads/?digest={digest_of(BIG)}"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BIG)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", mirror.port)) as sock:
        sock.sendall(head.encode() + BIG[: len(BIG) // 2])
        wait_until(lambda: staged(mirror) != [])

    wait_until(lambda: staged(mirror) == [])
    assert mirror.ask("HEAD", f"/v2/a/blobs/{digest_of(BIG)}").status == 404


def test_a_body_that_stops_coming_is_given_up_and_can_be_resumed(tmp_path: Path) -> None:
    with RunningMirror(tmp_path / "root", patience=IMPATIENT) as mirror:
        location = start_upload(mirror)

        received = raw(
            mirror, f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc".encode()
        )

        assert received.startswith(b"HTTP/1.1 408 ")
        digest = digest_of(b"abcdef")
        offset = int(mirror.ask("GET", location).headers["Range"].partition("-")[2])
        rest = b"abcdef" if offset == 0 else b"def"
        assert mirror.ask("PUT", f"{location}?digest={digest}", rest).status == 201


def test_a_cancelled_upload_is_gone(mirror: RunningMirror) -> None:
    location = start_upload(mirror)

    assert mirror.ask("DELETE", location).status == 204

    assert staged(mirror) == []
    for method in ("GET", "DELETE", "PATCH"):
        assert mirror.ask(method, location, b"x").status == 404
    assert mirror.ask("PUT", f"{location}?digest={MISSING}").code == "BLOB_UPLOAD_UNKNOWN"


@pytest.mark.parametrize("source", ["", "&from=a", "&from=elsewhere", "&from=a%2Fb&origin=x"])
def test_a_blob_the_mirror_has_is_mounted(mirror: RunningMirror, source: str) -> None:
    digest = mirror.push_blob("a", b"content")

    answer = mirror.ask("POST", f"/v2/b/blobs/uploads/?mount={digest}{source}")

    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest)
    assert mirror.ask("GET", answer.headers["Location"]).body == b"content"


def test_mounting_what_is_missing_starts_an_upload(mirror: RunningMirror) -> None:
    answer = mirror.ask("POST", f"/v2/b/blobs/uploads/?mount={digest_of(b'content')}&from=a")

    assert answer.status == 202
    done = mirror.ask("PUT", f"{answer.headers['Location']}?digest={digest_of(b'content')}", b"content")
    assert done.status == 201


def test_a_large_body_is_announced_and_waits_for_the_word(small_mirror: RunningMirror) -> None:
    digest = digest_of(b"content")
    head = f"POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"

    with socket.create_connection(("127.0.0.1", small_mirror.port), timeout=5) as sock:
        sock.sendall(head.encode() + b"Content-Length: 7\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"content")
        assert sock.recv(100).startswith(b"HTTP/1.1 201 ")

    refused = raw(small_mirror, head.encode() + b"Content-Length: 100001\r\n\r\n")
    assert refused.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_blob_over_the_limit_is_refused_and_not_kept(
    small_mirror: RunningMirror, is_streamed: bool
) -> None:
    content = b"x" * 100_001
    location = start_upload(small_mirror)

    answer = small_mirror.ask(
        "PUT", f"{location}?digest={digest_of(content)}", iter([content]) if is_streamed else content
    )

    assert (answer.status, answer.code) == (413, "SIZE_INVALID")
    assert small_mirror.ask("HEAD", f"/v2/a/blobs/{digest_of(content)}").status == 404


def test_a_disk_below_its_floor_refuses_pushes_and_serves_pulls(tmp_path: Path) -> None:
    with RunningMirror(tmp_path / "root") as mirror:
        digest = mirror.push_image("a", "v1")
    with RunningMirror(tmp_path / "root", limits=replace(DEFAULT_LIMITS, free_space=2**62)) as full:
        answers = [
            full.ask("POST", "/v2/a/blobs/uploads/"),
            full.ask("POST", f"/v2/a/blobs/uploads/?digest={digest_of(b'x')}", b"x"),
            full.ask(
                "PUT", "/v2/a/manifests/v2", image_manifest(b"layer"), headers={"Content-Type": OCI_MANIFEST}
            ),
        ]
        for answer in answers:
            assert (answer.status, answer.code) == (507, "INSUFFICIENT_STORAGE")
            assert "MiB free" in answer.json["errors"][0]["message"]
        assert staged(full) == []
        assert full.ask("GET", "/v2/a/manifests/v1").headers["Docker-Content-Digest"] == digest


def test_too_many_open_uploads_are_refused_with_a_time_to_wait(small_mirror: RunningMirror) -> None:
    start_upload(small_mirror)
    start_upload(small_mirror)

    answer = small_mirror.ask("POST", "/v2/a/blobs/uploads/")

    assert (answer.status, answer.code) == (429, "TOOMANYREQUESTS")
    assert answer.headers["Retry-After"] == "10"


# manifests


def test_a_manifest_with_a_subject_says_so_and_becomes_a_referrer(mirror: RunningMirror) -> None:
    subject = mirror.push_image("a", "v1")
    mirror.push_blob("a", b"{}")
    manifest = image_manifest(
        b"{}",
        subject={"mediaType": OCI_MANIFEST, "digest": subject, "size": 1},
        artifactType="a/sbom",
        annotations={"k": "v"},
    )

    answer = mirror.ask(
        "PUT", f"/v2/a/manifests/{digest_of(manifest)}", manifest, headers={"Content-Type": OCI_MANIFEST}
    )

    assert (answer.status, answer.headers["OCI-Subject"]) == (201, subject)
    listing = mirror.ask("GET", f"/v2/a/referrers/{subject}")
    assert listing.headers["Content-Type"] == OCI_INDEX
    assert listing.json == {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            {
                "mediaType": OCI_MANIFEST,
                "digest": digest_of(manifest),
                "size": len(manifest),
                "artifactType": "a/sbom",
                "annotations": {"k": "v"},
            }
        ],
    }
    filtered = mirror.ask("GET", f"/v2/a/referrers/{subject}?artifactType=a%2Fother")
    assert (filtered.json["manifests"], filtered.headers["OCI-Filters-Applied"]) == ([], "artifactType")


@pytest.mark.parametrize("repository", ["a", "nothing"])
def test_the_referrers_of_nothing_are_an_empty_index(mirror: RunningMirror, repository: str) -> None:
    answer = mirror.ask("GET", f"/v2/{repository}/referrers/sha256:{'0' * 64}")

    assert (answer.status, answer.json["manifests"]) == (200, [])


def test_several_tags_with_one_push(mirror: RunningMirror) -> None:
    mirror.push_blob("a", b"config")
    manifest = image_manifest(b"config")
    tags = "&".join(f"tag=v{number}" for number in range(12))

    answer = mirror.ask(
        "PUT",
        f"/v2/a/manifests/{digest_of(manifest)}?{tags}",
        manifest,
        headers={"Content-Type": OCI_MANIFEST},
    )

    assert answer.status == 201
    assert answer.headers.get_all("OCI-Tag") == [f"v{number}" for number in range(12)]
    assert len(mirror.ask("GET", "/v2/a/tags/list").json["tags"]) == 12


@pytest.mark.parametrize(
    ("path", "body", "content_type", "status", "code"),
    [
        ("/v2/a/manifests/v1", b"{", OCI_MANIFEST, 400, "MANIFEST_INVALID"),
        ("/v2/a/manifests/v1", b"[" * 4000, OCI_MANIFEST, 400, "MANIFEST_INVALID"),
        ("/v2/a/manifests/v1", b"", OCI_MANIFEST, 400, "MANIFEST_INVALID"),
        ("/v2/a/manifests/v1", b"{}", "nonsense", 400, "MANIFEST_INVALID"),
        ("/v2/a/manifests/v1", image_manifest(b"config"), OCI_MANIFEST, 404, "MANIFEST_BLOB_UNKNOWN"),
        ("/v2/a/manifests/v1", image_manifest(b"config"), DOCKER_MANIFEST, 400, "MANIFEST_INVALID"),
        (f"/v2/a/manifests/{MISSING}", b"{}", OCI_MANIFEST, 400, "DIGEST_INVALID"),
        ("/v2/a/manifests/sha256:x", b"{}", OCI_MANIFEST, 400, "DIGEST_INVALID"),
        ("/v2/a/manifests/.v1", b"{}", "a/b", 400, "NAME_INVALID"),
        ("/v2/A/manifests/v1", b"{}", "a/b", 400, "NAME_INVALID"),
        ("/v2/a/manifests/v1", b" " * 5001, OCI_MANIFEST, 413, "SIZE_INVALID"),
        ("/v2/a/manifests/v1", b" " * 3_000_000, OCI_MANIFEST, 413, "SIZE_INVALID"),
    ],
)
def test_a_bad_manifest_is_refused(
    small_mirror: RunningMirror, path: str, body: bytes, content_type: str, status: int, code: str
) -> None:
    for sent in (body, iter([body[:100], body[100:]])):
        try:
            answer = small_mirror.ask("PUT", path, sent, headers={"Content-Type": content_type})
        except (BrokenPipeError, ConnectionResetError):
            assert len(body) > 1_000_000  # refused while the client still was sending
            continue
        assert (answer.status, answer.code) == (status, code)
    assert small_mirror.ask("GET", "/v2/_catalog").json["repositories"] == []


def test_a_manifest_of_four_mebibytes_is_taken(mirror: RunningMirror) -> None:
    mirror.push_blob("a", b"config")
    empty = image_manifest(b"config", annotations={"k": ""})
    manifest = image_manifest(b"config", annotations={"k": "x" * (4 * 1024 * 1024 - len(empty))})

    answer = mirror.ask("PUT", "/v2/a/manifests/v1", manifest, headers={"Content-Type": OCI_MANIFEST})

    assert len(manifest) == 4 * 1024 * 1024
    assert answer.status == 201
    assert mirror.ask("GET", "/v2/a/manifests/v1").body == manifest
    assert mirror.ask("PUT", "/v2/a/manifests/v1", manifest + b" ").status == 413


# delete and lists


def test_deletes_are_seen_at_once(mirror: RunningMirror) -> None:
    digest = mirror.push_image("a", "v1")
    mirror.push_image("a", "v2")

    assert mirror.ask("DELETE", "/v2/a/manifests/v1").status == 202
    assert mirror.ask("HEAD", "/v2/a/manifests/v1").status == 404
    assert mirror.ask("HEAD", f"/v2/a/manifests/{digest}").status == 200
    assert mirror.ask("DELETE", f"/v2/a/manifests/{digest}").status == 202
    assert mirror.ask("HEAD", "/v2/a/manifests/v2").status == 404
    assert mirror.ask("DELETE", f"/v2/a/blobs/{digest_of(b'layer')}").status == 202
    assert mirror.ask("HEAD", f"/v2/a/blobs/{digest_of(b'layer')}").status == 404
    for gone in ("manifests/v1", f"manifests/{digest}", f"blobs/{digest_of(b'layer')}"):
        assert mirror.ask("DELETE", f"/v2/a/{gone}").status == 404


def test_tags_and_repositories_are_paged(small_mirror: RunningMirror) -> None:
    for number in range(5):
        small_mirror.push_image("a", f"v{number}")
        small_mirror.push_blob(f"r{number}", b"x")

    def pages(path: str, key: str) -> list[list[str]]:
        found = []
        while path:
            answer = small_mirror.ask("GET", path)
            found.append(answer.json[key])
            link = answer.headers.get("Link", "")
            assert not link or link.endswith('>; rel="next"')
            path = link.partition(">")[0].removeprefix("<")
        return found

    assert pages("/v2/a/tags/list", "tags") == [["v0", "v1", "v2"], ["v3", "v4"]]
    assert pages("/v2/a/tags/list?n=4", "tags") == [["v0", "v1", "v2"], ["v3", "v4"]]
    assert pages("/v2/a/tags/list?n=2&last=v1", "tags") == [["v2", "v3"], ["v4"]]
    assert pages("/v2/a/tags/list?last=v2x", "tags") == [["v3", "v4"]]
    assert pages("/v2/a/tags/list?n=0", "tags") == [[]]
    assert pages("/v2/_catalog?n=2", "repositories") == [["a", "r0"], ["r1", "r2"], ["r3", "r4"]]


def test_referrers_are_paged(small_mirror: RunningMirror) -> None:
    small_mirror.push_blob("a", b"{}")
    subject = {"mediaType": OCI_MANIFEST, "digest": MISSING, "size": 1}
    for number in range(5):
        manifest = image_manifest(b"{}", subject=subject, artifactType="a/b", annotations={"n": str(number)})
        small_mirror.ask(
            "PUT", f"/v2/a/manifests/v{number}", manifest, headers={"Content-Type": OCI_MANIFEST}
        )

    first = small_mirror.ask("GET", f"/v2/a/referrers/{MISSING}?artifactType=a/b")
    second = small_mirror.ask("GET", first.headers["Link"].partition(">")[0].removeprefix("<"))

    found = [entry["digest"] for entry in first.json["manifests"] + second.json["manifests"]]
    assert len(found) == len(set(found)) == 5
    assert "Link" not in second.headers


# what is not the protocol


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH", "OPTIONS"])
def test_a_method_that_is_not_supported(mirror: RunningMirror, method: str) -> None:
    answer = mirror.ask(method, "/v2/a/tags/list")

    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert answer.headers["Allow"] == "GET"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"nonsense\r\n\r\n",
        b"BREW /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /v2/" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PUT /v2/a/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"PUT /v2/a/manifests/v1 HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost : x\r\n\r\n",
    ],
)
def test_bytes_that_are_not_a_good_request_are_refused_quietly(
    mirror: RunningMirror, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    received = raw(mirror, request_bytes)

    assert received == b"" or received.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert caplog.records == []
    assert mirror.ask("GET", "/v2/").status == 200


@pytest.mark.parametrize("is_split", [True, False])
def test_a_badly_chunked_body_is_refused(tmp_path: Path, is_split: bool) -> None:
    """aiohttp tells nobody of a bad chunk that comes in a later segment; the body then just stops coming."""
    with RunningMirror(tmp_path / "root", patience=IMPATIENT) as mirror:
        location = start_upload(mirror)
        head = (
            f"PATCH {location} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".encode()
        )
        with socket.create_connection(("127.0.0.1", mirror.port), timeout=5) as sock:
            sock.sendall(head + (b"" if is_split else b"zz\r\n"))
            if is_split:
                mirror.ask("GET", "/v2/")  # by its answer the first bytes have been read, too
                sock.sendall(b"zz\r\n")
            received = sock.recv(65536)

        assert received[9:12] in (b"400", b"408")
        mirror.ask("DELETE", location)
        assert staged(mirror) == []


def test_a_compressed_body_is_stored_as_it_was_sent(mirror: RunningMirror) -> None:
    content = b"\x1f\x8b not really gzip"

    answer = mirror.ask(
        "POST",
        f"/v2/a/blobs/uploads/?digest={digest_of(content)}",
        content,
        headers={"Content-Encoding": "gzip"},
    )

    assert answer.status == 201
    assert mirror.ask("GET", answer.headers["Location"]).body == content
