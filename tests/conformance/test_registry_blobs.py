"""The blob cases of the OCI distribution conformance suite (v2), by their names there, in both algorithms.

As the suite does, every push is checked by pulling from the Location it answered. The data sets are in
`test_registry.py`; what only goes wrong in the world is in `tests/mirror/test_server.py`.
"""

from collections.abc import Callable, Sequence

import pytest

from mirror.oci import OCI_MANIFEST, Digest, digest_of
from tests.mirror.running import Answer, RunningMirror

REPOSITORY, OTHER = "conformance/blobs", "conformance/other"
CHUNK = 1024
BLOB = bytes(range(256)) * 12 + b"odd end"  # three chunks, the last one shorter
RANGED = b"".join(number.to_bytes(2, "big") for number in range(1024))

Push = Callable[[RunningMirror, bytes, Digest], Answer]


@pytest.fixture(params=["sha256", "sha512"])
def algorithm(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def start(mirror: RunningMirror, digest: Digest) -> str:
    algorithm = digest.partition(":")[0]
    answer = mirror.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/?digest-algorithm={algorithm}", b"")
    assert answer.status == 202
    return answer.headers["Location"]


def patch(mirror: RunningMirror, location: str, chunk: bytes, offset: int) -> str:
    last = offset + len(chunk) - 1
    answer = mirror.ask("PATCH", location, chunk, headers={"Content-Range": f"{offset}-{last}"})
    assert (answer.status, answer.headers["Range"]) == (202, f"0-{last}")
    return answer.headers["Location"]


def put(mirror: RunningMirror, location: str, digest: Digest, body: bytes = b"", offset: int = -1) -> Answer:
    headers = {"Content-Range": f"{offset}-{offset + len(body) - 1}"} if offset >= 0 else {}
    return mirror.ask("PUT", f"{location}?digest={digest}", body, headers=headers)


def chunks_of(content: bytes) -> Sequence[tuple[int, bytes]]:
    return [(offset, content[offset : offset + CHUNK]) for offset in range(0, len(content), CHUNK)]


def post_only(mirror: RunningMirror, content: bytes, digest: Digest) -> Answer:
    return mirror.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest}", content)


def post_put(mirror: RunningMirror, content: bytes, digest: Digest) -> Answer:
    return put(mirror, start(mirror, digest), digest, content)


def chunked_single(mirror: RunningMirror, content: bytes, digest: Digest) -> Answer:
    return put(mirror, patch(mirror, start(mirror, digest), content, 0), digest)


def stream(mirror: RunningMirror, content: bytes, digest: Digest) -> Answer:
    answer = mirror.ask("PATCH", start(mirror, digest), iter([content[:100], content[100:]]))
    assert answer.status == 202
    return put(mirror, answer.headers["Location"], digest)


def chunked_multi(mirror: RunningMirror, content: bytes, digest: Digest) -> Answer:
    location = start(mirror, digest)
    for offset, chunk in chunks_of(content):
        location = patch(mirror, location, chunk, offset)
    return put(mirror, location, digest)


def chunked_multi_and_put_chunk(mirror: RunningMirror, content: bytes, digest: Digest) -> Answer:
    location = start(mirror, digest)
    *firsts, (last_offset, last) = chunks_of(content)
    for offset, chunk in firsts:
        location = patch(mirror, location, chunk, offset)
    return put(mirror, location, digest, last, last_offset)


def out_of_order(mirror: RunningMirror, location: str, chunk: bytes, offset: int, *, arrived: str) -> str:
    """A chunk that must be refused, and a GET that tells where to go on."""
    wrong = {"Content-Range": f"{offset}-{offset + len(chunk) - 1}"}
    assert mirror.ask("PATCH", location, chunk, headers=wrong).status == 416
    told = mirror.ask("GET", location)
    assert (told.status, told.headers["Range"]) == (204, arrived)
    return told.headers["Location"]


def chunked_out_of_order(mirror: RunningMirror, content: bytes, digest: Digest) -> Answer:
    (_, first), (second_offset, second), (third_offset, third) = chunks_of(content)[:3]
    location = out_of_order(mirror, start(mirror, digest), second, second_offset, arrived="0-0")
    location = patch(mirror, location, first, 0)
    location = out_of_order(mirror, location, first, 0, arrived=f"0-{CHUNK - 1}")
    location = patch(mirror, location, second, second_offset)
    return put(mirror, patch(mirror, location, third + content[3 * CHUNK :], third_offset), digest)


def chunked_out_of_order_and_put_chunk(mirror: RunningMirror, content: bytes, digest: Digest) -> Answer:
    *firsts, (last_offset, last) = chunks_of(content)
    location = start(mirror, digest)
    assert put(mirror, location, digest, last, last_offset).status == 416
    for offset, chunk in firsts:
        location = patch(mirror, location, chunk, offset)
    assert put(mirror, location, digest, firsts[0][1], 0).status == 416
    return put(mirror, location, digest, last, last_offset)


def mount(mirror: RunningMirror, content: bytes, digest: Digest) -> Answer:
    mirror.ask("POST", f"/v2/{OTHER}/blobs/uploads/?digest={digest}", content)
    return mirror.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/?mount={digest}&from={OTHER}")


def mount_anonymous(mirror: RunningMirror, content: bytes, digest: Digest) -> Answer:
    mirror.ask("POST", f"/v2/{OTHER}/blobs/uploads/?digest={digest}", content)
    return mirror.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/?mount={digest}")


def mount_missing(mirror: RunningMirror, content: bytes, digest: Digest) -> Answer:
    answer = mirror.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/?mount={digest}&from={OTHER}")
    assert answer.status == 202
    return put(mirror, answer.headers["Location"], digest, content)


WHOLE = (post_only, post_put, chunked_single, stream, mount, mount_anonymous, mount_missing)
IN_PIECES = (
    chunked_multi,
    chunked_multi_and_put_chunk,
    chunked_out_of_order,
    chunked_out_of_order_and_put_chunk,
)


def is_pulled_whole(mirror: RunningMirror, pushed: Answer, content: bytes, digest: Digest) -> bool:
    assert (pushed.status, pushed.headers["Docker-Content-Digest"]) == (201, digest), pushed.body
    for path in (pushed.headers["Location"], f"/v2/{REPOSITORY}/blobs/{digest}"):
        head, got = mirror.ask("HEAD", path), mirror.ask("GET", path)
        for answer in (head, got):
            assert (answer.status, answer.headers["Docker-Content-Digest"]) == (200, digest)
            assert answer.headers["Content-Length"] == str(len(content))
        assert got.body == content
    return True


@pytest.mark.parametrize("push", [*WHOLE, *IN_PIECES], ids=lambda push: push.__name__)
def test_push(mirror: RunningMirror, algorithm: str, push: Push) -> None:
    digest = digest_of(BLOB, algorithm)

    assert is_pulled_whole(mirror, push(mirror, BLOB, digest), BLOB, digest)


@pytest.mark.parametrize("push", [post_only, post_put, mount], ids=lambda push: push.__name__)
@pytest.mark.parametrize("content", [b"", b"{}"], ids=["empty", "emptyJSON"])
def test_small_contents(mirror: RunningMirror, algorithm: str, push: Push, content: bytes) -> None:
    digest = digest_of(content, algorithm)

    assert is_pulled_whole(mirror, push(mirror, content, digest), content, digest)


@pytest.mark.parametrize(
    "push",
    [post_only, post_put, chunked_multi, chunked_multi_and_put_chunk, stream],
    ids=lambda push: push.__name__,
)
def test_bad_digest(mirror: RunningMirror, algorithm: str, push: Push) -> None:
    wrong = digest_of(b"something else", algorithm)

    answer = push(mirror, BLOB, wrong)

    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    for digest in (wrong, digest_of(BLOB, algorithm)):
        assert mirror.ask("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}").status == 404


def test_post_cancel(mirror: RunningMirror, algorithm: str) -> None:
    location = patch(mirror, start(mirror, digest_of(BLOB, algorithm)), BLOB, 0)

    assert mirror.ask("DELETE", location).status == 204
    assert mirror.ask("GET", location).status == 404


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [("500-1499", 500, 1499), ("500-", 500, 2047), ("-500", 1548, 2047), ("2000-5000", 2000, 2047)],
)
def test_range_requests(mirror: RunningMirror, algorithm: str, header: str, first: int, last: int) -> None:
    digest = digest_of(RANGED, algorithm)
    post_only(mirror, RANGED, digest)

    answer = mirror.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest}", headers={"Range": f"bytes={header}"})

    assert (answer.status, answer.body) == (206, RANGED[first : last + 1])
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(RANGED)}"
    assert answer.headers["Content-Length"] == str(last + 1 - first)


@pytest.mark.parametrize("header", ["500-0", "5000-10000"])
def test_range_requests_outside(mirror: RunningMirror, algorithm: str, header: str) -> None:
    digest = digest_of(RANGED, algorithm)
    post_only(mirror, RANGED, digest)

    answer = mirror.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest}", headers={"Range": f"bytes={header}"})

    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{len(RANGED)}")


def test_get_missing(mirror: RunningMirror, algorithm: str) -> None:
    for method in ("GET", "HEAD"):
        assert mirror.ask(method, f"/v2/{REPOSITORY}/blobs/{digest_of(BLOB, algorithm)}").status == 404


def test_missing_manifest(mirror: RunningMirror, algorithm: str) -> None:
    for reference in ("latest", digest_of(BLOB, algorithm)):
        answer = mirror.ask("GET", f"/v2/{REPOSITORY}/manifests/{reference}")
        assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize("reference", ["sha256:baddigeststring", "sha256:", "md5:0123", f"sha256:{'A' * 64}"])
def test_invalid_digest_format(mirror: RunningMirror, reference: str) -> None:
    path = f"/v2/{REPOSITORY}/manifests/{reference}"

    put_answer = mirror.ask("PUT", path, b"{}", headers={"Content-Type": OCI_MANIFEST})

    assert (put_answer.status, put_answer.code) == (400, "DIGEST_INVALID")
    assert mirror.ask("GET", path).status == 400


def test_empty(mirror: RunningMirror, algorithm: str) -> None:
    listing = mirror.ask("GET", f"/v2/{REPOSITORY}/tags/list")
    referrers = mirror.ask("GET", f"/v2/{REPOSITORY}/referrers/{digest_of(BLOB, algorithm)}")

    assert (listing.status, listing.code) == (404, "NAME_UNKNOWN")
    assert (referrers.status, referrers.json["manifests"]) == (200, [])
