"""The data sets of the OCI distribution conformance suite (v2), pushed, listed, pulled and deleted again.

The names and the steps are the suite's, so that a failure here can be looked up there. The official program
of v2 is no module that could be pinned; its predecessor's is run by `test_registry_official.py`. The suite's
blob cases are in `test_registry_blobs.py`, what clients get wrong in `tests/mirror/test_server.py`.
"""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from mirror.oci import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, Digest, digest_of
from tests.mirror.running import RunningMirror, descriptor, image_manifest

REPOSITORY = "conformance/data"
MISSING_SUBJECT = {"mediaType": OCI_MANIFEST, "digest": digest_of(b"never pushed"), "size": 12}
CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
LAYERS = (b"layer one" * 1000, b"layer two" * 1000)
EMPTY = b"{}"


@dataclass
class DataSet:
    """What is pushed: blobs, then manifests in order, each with its type; the last one gets the tag."""

    algorithm: str = "sha256"
    blobs: list[bytes] = field(default_factory=list)
    manifests: list[tuple[bytes, str]] = field(default_factory=list)

    def digest(self, content: bytes) -> Digest:
        return digest_of(content, self.algorithm)

    def describe(self, content: bytes, media_type: str, **fields: Any) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": self.digest(content), "size": len(content), **fields}

    def add_image(self, **fields: Any) -> bytes:
        layers = [self.describe(layer, "application/vnd.oci.image.layer.v1.tar") for layer in LAYERS]
        return self.add_manifest(
            {
                "config": self.describe(CONFIG, "application/vnd.oci.image.config.v1+json"),
                "layers": layers,
                **fields,
            },
            OCI_MANIFEST,
            CONFIG,
            *LAYERS,
        )

    def add_artifact(self, *layers: bytes, **fields: Any) -> bytes:
        return self.add_manifest(
            {
                "artifactType": "application/vnd.example.artifact",
                "config": self.describe(EMPTY, OCI_EMPTY),
                "layers": [self.describe(layer, "application/vnd.example.layer") for layer in layers],
                **fields,
            },
            OCI_MANIFEST,
            EMPTY,
            *layers,
        )

    def add_index(self, *children: bytes, media_type: str = OCI_MANIFEST, **fields: Any) -> bytes:
        entries = [self.describe(child, media_type) for child in children]
        return self.add_manifest({"manifests": entries, **fields}, OCI_INDEX)

    def add_manifest(self, fields: dict[str, Any], media_type: str, *blobs: bytes) -> bytes:
        content = msgspec.json.encode({"schemaVersion": 2, "mediaType": media_type, **fields})
        self.blobs.extend(blob for blob in blobs if blob not in self.blobs)
        self.manifests.append((content, media_type))
        return content


def image() -> DataSet:
    data = DataSet()
    data.add_image()
    return data


def large_manifest() -> DataSet:
    data = DataSet()
    data.add_image(annotations={f"org.example.{number}": "x" * 10_000 for number in range(390)})
    return data


def index() -> DataSet:
    data = DataSet()
    data.add_index(data.add_image(), data.add_image(annotations={"platform": "other"}))
    return data


def nested_index() -> DataSet:
    data = DataSet()
    data.add_index(data.add_index(data.add_image()), media_type=OCI_INDEX)
    return data


def empty_index() -> DataSet:
    data = DataSet()
    data.add_index()
    return data


def artifact() -> DataSet:
    data = DataSet()
    data.add_artifact(b"artifact")
    return data


def artifact_index() -> DataSet:
    data = DataSet()
    data.add_index(
        data.add_artifact(b"one"), data.add_artifact(b"two"), artifactType="application/vnd.example.set"
    )
    return data


def artifact_without_layers() -> DataSet:
    data = DataSet()
    data.add_artifact()
    return data


def artifacts_with_subject() -> DataSet:
    data = DataSet()
    subject = data.describe(data.add_image(), OCI_MANIFEST)
    data.add_artifact(b"sbom", subject=subject, artifactType="application/vnd.example.sbom")
    data.add_artifact(b"signature", subject=subject, annotations={"org.example.signer": "box"})
    return data


def index_with_subject() -> DataSet:
    data = DataSet()
    child = data.add_image()
    subject = data.describe(child, OCI_MANIFEST)
    data.add_index(child, subject=subject, artifactType="application/vnd.example.set")
    return data


def missing_subject() -> DataSet:
    data = DataSet()
    data.add_artifact(b"orphan", subject=MISSING_SUBJECT)
    return data


def data_field() -> DataSet:
    data = DataSet()
    data.add_artifact(subject=None, config={**descriptor(EMPTY, OCI_EMPTY), "data": "e30="})
    return data


def non_distributable_layers() -> DataSet:
    data = DataSet()
    foreign = {
        **descriptor(b"never pushed", "application/vnd.oci.image.layer.nondistributable.v1.tar"),
        "urls": ["https://example.com/layer.tar"],
    }
    data.add_image(layers=[foreign])
    return data


def custom_fields() -> DataSet:
    data = DataSet()
    data.add_image(**{"org.example.field": {"deep": [1, 2.5, None, True]}, "x": "y"})
    return data


def no_layers() -> DataSet:
    data = DataSet()
    data.add_image(layers=[])
    return data


def sparse() -> DataSet:
    data = DataSet()
    data.add_index(b"a manifest that was never pushed", data.add_image())
    return data


def sha512() -> DataSet:
    data = DataSet(algorithm="sha512")
    subject = data.describe(data.add_image(), OCI_MANIFEST)
    data.add_artifact(b"sbom", subject=subject)
    return data


DATA_SETS = (
    image,
    large_manifest,
    index,
    nested_index,
    empty_index,
    artifact,
    artifact_index,
    artifact_without_layers,
    artifacts_with_subject,
    index_with_subject,
    missing_subject,
    data_field,
    non_distributable_layers,
    custom_fields,
    no_layers,
    sparse,
    sha512,
)


@pytest.fixture(params=DATA_SETS, ids=lambda make: make.__name__)
def data(request: pytest.FixtureRequest) -> DataSet:
    made: DataSet = request.param()
    return made


def push(mirror: RunningMirror, data: DataSet) -> Digest:
    """Everything by digest, then the last manifest by digest with a tag; returns that digest."""
    for blob in data.blobs:
        digest = data.digest(blob)
        answer = mirror.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest}", blob)
        assert answer.status == 201
        assert mirror.ask("GET", answer.headers["Location"]).body == blob
    last = Digest("")
    for content, media_type in data.manifests:
        last = data.digest(content)
        answer = put(mirror, f"{last}?tag=tagged", content, media_type)
        assert answer.headers["OCI-Tag"] == "tagged"
        assert answer.headers["Docker-Content-Digest"] == last
        subject = msgspec.json.decode(content).get("subject")
        assert answer.headers.get("OCI-Subject") == (subject["digest"] if subject else None)
    return last


def put(mirror: RunningMirror, reference: str, content: bytes, media_type: str) -> Any:
    path = f"/v2/{REPOSITORY}/manifests/{reference}"
    answer = mirror.ask("PUT", path, content, headers={"Content-Type": media_type})
    assert answer.status == 201, answer.body
    return answer


def test_pull(mirror: RunningMirror, data: DataSet) -> None:
    push(mirror, data)

    for content, media_type in data.manifests:
        path = f"/v2/{REPOSITORY}/manifests/{data.digest(content)}"
        for method, body in (("GET", content), ("HEAD", b"")):
            answer = mirror.ask(method, path)
            assert (answer.status, answer.body) == (200, body)
            assert answer.headers["Content-Type"] == media_type
            assert answer.headers["Content-Length"] == str(len(content))
            assert answer.headers["Docker-Content-Digest"] == data.digest(content)
    for blob in data.blobs:
        head = mirror.ask("HEAD", f"/v2/{REPOSITORY}/blobs/{data.digest(blob)}")
        assert (head.status, head.headers["Content-Length"]) == (200, str(len(blob)))
        assert head.headers["Docker-Content-Digest"] == data.digest(blob)


def test_tag_list(mirror: RunningMirror, data: DataSet) -> None:
    digest = push(mirror, data)

    listing = mirror.ask("GET", f"/v2/{REPOSITORY}/tags/list")

    assert listing.json == {"name": REPOSITORY, "tags": ["tagged"]}
    assert mirror.ask("GET", f"/v2/{REPOSITORY}/tags/list?last=tagged").json["tags"] == []
    by_tag = mirror.ask("HEAD", f"/v2/{REPOSITORY}/manifests/tagged")
    assert by_tag.headers["Docker-Content-Digest"] == digest


def test_referrers(mirror: RunningMirror, data: DataSet) -> None:
    push(mirror, data)
    wanted: dict[str, dict[str, tuple[str, dict[str, str]]]] = {}
    for content, _ in data.manifests:
        manifest = msgspec.json.decode(content)
        if manifest.get("subject"):
            artifact_type = manifest.get("artifactType") or manifest.get("config", {}).get("mediaType", "")
            entry = (artifact_type, manifest.get("annotations", {}))
            wanted.setdefault(manifest["subject"]["digest"], {})[data.digest(content)] = entry

    for subject, referrers in wanted.items():
        answer = mirror.ask("GET", f"/v2/{REPOSITORY}/referrers/{subject}")
        assert answer.headers["Content-Type"] == OCI_INDEX
        found = {
            entry["digest"]: (entry.get("artifactType", ""), entry.get("annotations", {}))
            for entry in answer.json["manifests"]
        }
        assert found == referrers
        for artifact_type, _ in referrers.values():
            filtered = mirror.ask("GET", f"/v2/{REPOSITORY}/referrers/{subject}?artifactType={artifact_type}")
            assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
            assert {entry["artifactType"] for entry in filtered.json["manifests"]} == {artifact_type}
    for content, _ in data.manifests:
        if data.digest(content) not in wanted:
            assert (
                mirror.ask("GET", f"/v2/{REPOSITORY}/referrers/{data.digest(content)}").json["manifests"]
                == []
            )


def test_delete(mirror: RunningMirror, data: DataSet) -> None:
    push(mirror, data)
    base = f"/v2/{REPOSITORY}"

    gone = [f"{base}/manifests/tagged"]
    gone += [f"{base}/manifests/{data.digest(content)}" for content, _ in reversed(data.manifests)]
    gone += [f"{base}/blobs/{data.digest(blob)}" for blob in data.blobs]
    for path in gone:
        assert mirror.ask("HEAD", path).status == 200
        assert mirror.ask("DELETE", path).status == 202
        assert mirror.ask("HEAD", path).status == 404
    for content, _ in data.manifests:
        assert mirror.ask("GET", f"{base}/referrers/{data.digest(content)}").json["manifests"] == []
    assert mirror.ask("GET", f"{base}/tags/list").json["tags"] == []


def test_a_manifest_by_tag_alone(mirror: RunningMirror, data: DataSet) -> None:
    if data.algorithm != "sha256":
        data = image()  # a push by tag names no algorithm, so the digest is sha256
    push(mirror, data)
    content, media_type = data.manifests[-1]

    answer = put(mirror, "by-tag", content, media_type)

    assert answer.headers["Docker-Content-Digest"] == data.digest(content)
    assert mirror.ask("GET", f"/v2/{REPOSITORY}/manifests/by-tag").body == content


def test_an_image_under_a_wrong_digest(mirror: RunningMirror) -> None:
    push(mirror, image())
    wrong = digest_of(b"something else")

    answer = mirror.ask(
        "PUT",
        f"/v2/{REPOSITORY}/manifests/{wrong}",
        image_manifest(CONFIG),
        headers={"Content-Type": OCI_MANIFEST},
    )

    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert mirror.ask("HEAD", f"/v2/{REPOSITORY}/manifests/{wrong}").status == 404
