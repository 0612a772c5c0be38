"""Pulls under other registries' names, as containerd asks a mirror for them: `?ns=` and nothing else."""

import pytest

from mirror.oci import OCI_MANIFEST, digest_of
from tests.mirror.running import RunningMirror, image_manifest

MISSING = f"sha256:{'0' * 64}"


@pytest.fixture
def colliding(mirror: RunningMirror) -> RunningMirror:
    """The same repository of two registries, and one that is nobody's."""
    for registry in ("docker.io/", "quay.io/", ""):
        mirror.push_image(f"{registry}library/x", "v1", payload=f"from {registry}".encode())
    return mirror


def layer_of(mirror: RunningMirror, path: str, query: str) -> bytes:
    """Pull as containerd does: HEAD the tag, GET the manifest by digest, GET the layer, all with `ns`."""
    digest = mirror.ask("HEAD", f"/v2/{path}/manifests/v1?{query}").headers["Docker-Content-Digest"]
    manifest = mirror.ask("GET", f"/v2/{path}/manifests/{digest}?{query}").json
    layer = mirror.ask("GET", f"/v2/{path}/blobs/{manifest['layers'][0]['digest']}?{query}")
    assert layer.status == 200
    return layer.body


@pytest.mark.parametrize(
    ("namespace", "content"),
    [
        ("docker.io", b"from docker.io/"),
        ("registry-1.docker.io", b"from docker.io/"),
        ("quay.io", b"from quay.io/"),
        ("ghcr.io", b"from "),
    ],
)
def test_colliding_names_are_kept_apart(colliding: RunningMirror, namespace: str, content: bytes) -> None:
    assert layer_of(colliding, "library/x", f"ns={namespace}") == content


def test_without_ns_the_plain_name_is_meant(colliding: RunningMirror) -> None:
    assert layer_of(colliding, "library/x", "") == b"from "
    assert layer_of(colliding, "quay.io/library/x", "ns=") == b"from quay.io/"


def test_a_reply_says_whether_ns_decided_it(colliding: RunningMirror) -> None:
    for path in ("manifests/v1", f"blobs/{digest_of(b'from quay.io/')}", "tags/list"):
        decided = colliding.ask("GET", f"/v2/library/x/{path}?ns=quay.io")
        assert (decided.status, decided.headers["OCI-Namespace"]) == (200, "quay.io"), path

    assert "OCI-Namespace" not in colliding.ask("GET", "/v2/library/x/manifests/v1?ns=ghcr.io").headers


def test_an_image_of_a_registry_with_a_port(mirror: RunningMirror) -> None:
    mirror.push_image("box.local_5000/app", "v1", payload=b"of the box")

    assert layer_of(mirror, "app", "ns=box.local%3A5000") == b"of the box"
    assert mirror.ask("GET", "/v2/app/manifests/v1?ns=box.local").code == "MANIFEST_UNKNOWN"


def test_ranges_and_conditions_work_under_another_name(colliding: RunningMirror) -> None:
    path = f"/v2/library/x/blobs/{digest_of(b'from quay.io/')}?ns=quay.io"

    part = colliding.ask("GET", path, headers={"Range": "bytes=5-"})
    assert (part.status, part.body) == (206, b"quay.io/")
    beyond = colliding.ask("GET", path, headers={"Range": "bytes=500-"})
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, "bytes */13")
    known = colliding.ask("GET", path, headers={"If-None-Match": digest_of(b"from quay.io/")})
    assert known.status == 304


def test_tags_are_paged_under_another_name(mirror: RunningMirror) -> None:
    for tag in ("v1", "v2", "v3"):
        mirror.push_image("quay.io/org/app", tag)
    mirror.push_image("org/app", "plain")

    first = mirror.ask("GET", "/v2/org/app/tags/list?n=2&ns=quay.io")
    second = mirror.ask("GET", first.headers["Link"].partition(">")[0].removeprefix("<"))

    assert first.json["tags"] + second.json["tags"] == ["v1", "v2", "v3"]


def test_referrers_are_found_under_another_name(mirror: RunningMirror) -> None:
    subject = mirror.push_image("quay.io/org/app", "v1")
    mirror.push_blob("quay.io/org/app", b"{}")
    signature = image_manifest(b"{}", subject={"mediaType": OCI_MANIFEST, "digest": subject, "size": 1})
    mirror.ask("PUT", "/v2/quay.io/org/app/manifests/s1", signature, headers={"Content-Type": OCI_MANIFEST})

    found = mirror.ask("GET", f"/v2/org/app/referrers/{subject}?ns=quay.io")
    plain = mirror.ask("GET", f"/v2/org/app/referrers/{subject}?ns=ghcr.io")

    assert [entry["digest"] for entry in found.json["manifests"]] == [digest_of(signature)]
    assert (plain.status, plain.json["manifests"]) == (200, [])


def test_what_is_nowhere_is_unknown_by_the_name_that_was_asked_for(mirror: RunningMirror) -> None:
    mirror.push_image("quay.io/org/app", "v1")

    for path, code in [
        ("org/app/manifests/v2", "MANIFEST_UNKNOWN"),
        (f"org/app/blobs/{MISSING}", "BLOB_UNKNOWN"),
        ("org/other/tags/list", "NAME_UNKNOWN"),
    ]:
        answer = mirror.ask("GET", f"/v2/{path}?ns=quay.io")
        assert (answer.status, answer.code) == (404, code)
        assert "quay.io" not in answer.json["errors"][0]["message"]


@pytest.mark.parametrize("namespace", ["..%2Fx", "quay.io%2Forg", "%00", "a" * 300])
def test_an_ns_that_is_no_host_is_refused(mirror: RunningMirror, namespace: str) -> None:
    mirror.push_image("org/app", "v1")

    answer = mirror.ask("GET", f"/v2/org/app/manifests/v1?ns={namespace}")

    assert (answer.status, answer.code) == (400, "UNSUPPORTED")


def test_pushes_and_deletes_mean_what_their_path_says(mirror: RunningMirror) -> None:
    digest = mirror.push_image("quay.io/org/app", "v1")

    assert mirror.ask("DELETE", f"/v2/org/app/manifests/{digest}?ns=quay.io").status == 404
    content = image_manifest(b"layer")
    mirror.push_blob("org/app", b"layer")
    pushed = mirror.ask(
        "PUT", "/v2/org/app/manifests/v1?ns=quay.io", content, headers={"Content-Type": OCI_MANIFEST}
    )

    assert pushed.status == 201
    assert mirror.ask("GET", "/v2/quay.io/org/app/manifests/v1").headers["Docker-Content-Digest"] == digest
