"""Names, digests, references and manifests: what is taken and what is refused."""

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import DigestInvalid, ManifestInvalid, MirrorError, NameInvalid
from mirror.oci import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Index,
    Manifest,
    OtherManifest,
    Reference,
    check_repository,
    check_tag,
    declared_media_type,
    descriptors_of,
    digest_of,
    parse_digest,
    parse_manifest,
    parse_reference,
)
from tests.mirror.running import descriptor, image_manifest

SHA256 = "sha256:" + "a" * 64
SHA512 = "sha512:" + "b" * 128


@pytest.mark.parametrize("text", [SHA256, SHA512])
def test_a_digest_of_a_known_algorithm_is_taken(text: str) -> None:
    assert parse_digest(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "sha256:" + "A" * 64,
        "sha256:" + "g" * 64,
        "sha256:../../../../etc/passwd",
        "sha512:" + "a" * 64,
        "md5:" + "a" * 32,
        SHA256 + "\n",
        "sha256:" + "a" * 5000,
        "SHA256:" + "a" * 64,
    ],
)
def test_anything_else_is_no_digest(text: str) -> None:
    with pytest.raises(DigestInvalid):
        parse_digest(text)


@given(st.binary(max_size=200), st.sampled_from(["sha256", "sha512"]))
def test_a_digest_made_here_is_a_digest(content: bytes, algorithm: str) -> None:
    digest = digest_of(content, algorithm)

    assert parse_digest(digest).partition(":")[2] == hashlib.new(algorithm, content).hexdigest()


@pytest.mark.parametrize("name", ["a", "a/b", "a.b/c_d/e__f/g-h/i---j", "library/debian12", "0", "a" * 255])
def test_a_repository_name_may_be(name: str) -> None:
    check_repository(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A",
        "a//b",
        "/a",
        "a/",
        "a..b",
        "..",
        "a/../b",
        "a b",
        "a/_b",
        "a___b",
        "a\n",
        "ä",
        "a" * 256,
        "-a",
    ],
)
def test_a_repository_name_may_not_be(name: str) -> None:
    with pytest.raises(NameInvalid):
        check_repository(name)


@pytest.mark.parametrize("tag", ["", ".a", "-a", "a/b", "a:b", "a" * 129, "a\n", "ä", ".."])
def test_a_tag_may_not_be(tag: str) -> None:
    with pytest.raises(NameInvalid):
        check_tag(tag)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("demo", Reference("", "demo")),
        ("demo-os:v1", Reference("", "demo-os", "v1")),
        ("library/debian:12", Reference("", "library/debian", "12")),
        ("localhost/a:v1", Reference("localhost", "a", "v1")),
        ("box:5000/a/b:v1", Reference("box:5000", "a/b", "v1")),
        ("box.local/a/b", Reference("box.local", "a/b")),
        (f"box:5000/a@{SHA256}", Reference("box:5000", "a", "", SHA256)),
        (f"box:5000/a:v1@{SHA256}", Reference("box:5000", "a", "v1", SHA256)),
        (f"[::1]:5000/a@{SHA512}", Reference("[::1]:5000", "a", "", SHA512)),
    ],
)
def test_a_reference_is_read_and_written_the_same(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference
    assert str(reference) == text


@pytest.mark.parametrize("text", ["", ":v1", "a:", "a@", "a@sha256:1", "box:5000/", "A:v1", "a:b:c", "a:v/1"])
def test_a_bad_reference_is_refused(text: str) -> None:
    with pytest.raises(MirrorError):
        parse_reference(text)


@given(st.text(max_size=80))
def test_no_text_breaks_the_reference_parser(text: str) -> None:
    try:
        reference = parse_reference(text)
    except MirrorError:
        return
    assert parse_reference(str(reference)) == reference


def test_an_image_manifest_names_its_config_layers_and_subject() -> None:
    content = image_manifest(b"config", b"one", b"two", subject=descriptor(b"subject", OCI_MANIFEST))

    manifest = parse_manifest(content, OCI_MANIFEST)

    assert isinstance(manifest, Manifest)
    named = [d.digest for d in descriptors_of(manifest)]
    assert named == [digest_of(b"config"), digest_of(b"one"), digest_of(b"two"), digest_of(b"subject")]


def test_docker_and_oci_types_are_read_alike() -> None:
    content = image_manifest(b"config", b"one").replace(OCI_MANIFEST.encode(), DOCKER_MANIFEST.encode())

    assert isinstance(parse_manifest(content, DOCKER_MANIFEST), Manifest)
    assert isinstance(parse_manifest(b'{"manifests":[]}', DOCKER_LIST), Index)
    assert isinstance(parse_manifest(b'{"blobs":[]}', "application/vnd.example+json"), OtherManifest)


def test_the_nulls_that_go_writes_for_nothing_are_nothing() -> None:
    config = {**descriptor(b"c", "a/b"), "annotations": None, "urls": None}
    content = msgspec.json.encode({"config": config, "layers": None, "annotations": None, "subject": None})

    manifest = parse_manifest(content, OCI_MANIFEST)

    assert isinstance(manifest, Manifest)
    assert manifest.layers == []


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"", OCI_MANIFEST),
        (b"{", OCI_MANIFEST),
        (b"[]", OCI_MANIFEST),
        (b"null", OCI_INDEX),
        (b"{}", OCI_MANIFEST),
        (b'{"manifests":{}}', OCI_INDEX),
        (b'{"manifests":[{"mediaType":"a/b"}]}', OCI_INDEX),
        (b'{"manifests":[{"mediaType":"a/b","digest":5,"size":1}]}', OCI_INDEX),
        (b'{"manifests":[{"mediaType":"a/b","digest":"' + SHA256.encode() + b'","size":-1}]}', OCI_INDEX),
        (b'{"manifests":[{"mediaType":"a/b","digest":"' + SHA256.encode() + b'","size":1e99}]}', OCI_INDEX),
        (b"[" * 100_000, OCI_MANIFEST),
        (b'{"a":' * 100_000, "application/vnd.example+json"),
        (b"\xff\xfe", OCI_MANIFEST),
        (b'{"manifests":[],"mediaType":"\xff"}', OCI_INDEX),
    ],
)
def test_a_manifest_that_cannot_be_read_is_refused(content: bytes, media_type: str) -> None:
    with pytest.raises(ManifestInvalid):
        parse_manifest(content, media_type)


def test_a_manifest_that_names_no_digest_is_refused() -> None:
    with pytest.raises(DigestInvalid):
        parse_manifest(image_manifest(b"c").replace(b"sha256:", b"sha257:"), OCI_MANIFEST)


def test_a_manifest_that_was_pushed_as_another_type_is_refused() -> None:
    with pytest.raises(ManifestInvalid, match="was pushed as"):
        parse_manifest(image_manifest(b"c"), DOCKER_MANIFEST)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_manifest_parser(content: bytes) -> None:
    declared_media_type(content)
    try:
        parse_manifest(content, OCI_INDEX)
    except MirrorError:
        return
    assert content.lstrip().startswith(b"{")


def test_a_layer_with_urls_or_a_foreign_type_is_foreign() -> None:
    foreign = {**descriptor(b"x", "a/b"), "urls": ["https://example.com/x"]}
    nondistributable = descriptor(b"y", "application/vnd.oci.image.layer.nondistributable.v1.tar")
    content = msgspec.json.encode(
        {"config": descriptor(b"c", "a/b"), "layers": [foreign, nondistributable, descriptor(b"z", "a/b")]}
    )

    manifest = parse_manifest(content, OCI_MANIFEST)

    assert isinstance(manifest, Manifest)
    assert [layer.is_foreign for layer in manifest.layers] == [True, True, False]
