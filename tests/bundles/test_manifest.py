"""What a manifest may say."""

from typing import Any

import msgspec
import pytest

from bundles.errors import NotABundle, Refused, UnsafeEntry, UnsupportedFormat
from bundles.manifest import (
    BundledBlob,
    BundledFile,
    BundledImage,
    BundleManifest,
    parse_manifest,
    render_manifest,
)

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


def make_image(**changes: Any) -> BundledImage:
    image = BundledImage(reference="os/demo:1", digest=DIGEST, media_type="a/b", size=3)
    return msgspec.structs.replace(image, **changes)


def make_manifest(**changes: Any) -> BundleManifest:
    manifest = BundleManifest(
        name="demo",
        created="2026-01-01T00:00:00Z",
        images=[make_image()],
        blobs=[BundledBlob(digest=DIGEST, size=3)],
        files=[BundledFile(path="index.json", digest=OTHER, size=4)],
    )
    return msgspec.structs.replace(manifest, **changes)


def test_a_manifest_comes_back_as_it_went() -> None:
    assert parse_manifest(render_manifest(make_manifest())) == make_manifest()


def test_its_bytes_are_canonical() -> None:
    content = render_manifest(make_manifest())

    assert content.startswith(b'{"blobs":[{"digest":"sha256:aaaa')
    assert content.endswith(b"}\n")
    assert b" " not in content


def test_any_other_spelling_is_refused() -> None:
    document = msgspec.json.decode(render_manifest(make_manifest()))

    with pytest.raises(NotABundle, match="canonical"):
        parse_manifest(msgspec.json.format(msgspec.json.encode(document)))


def test_a_newer_format_asks_for_an_update() -> None:
    with pytest.raises(UnsupportedFormat, match="format 2"):
        parse_manifest(b'{"formatVersion":2,"somethingNew":true}')


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"formatVersion":1}',
        b'{"formatVersion":"1"}',
    ],
)
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(NotABundle):
        parse_manifest(content)


def test_an_unknown_field_is_refused() -> None:
    document = msgspec.json.decode(render_manifest(make_manifest())) | {"surprise": 1}

    with pytest.raises(NotABundle, match="surprise"):
        parse_manifest(msgspec.json.encode(document, order="sorted") + b"\n")


@pytest.mark.parametrize(
    "path",
    [
        "../escape",
        "a/../../b",
        "/etc/passwd",
        "a//b",
        ".hidden",
        "blobs/x",
        "bundle.json",
        "a\\b",
        "a\n",
        "",
        "CON:",
    ],
)
def test_a_path_that_could_leave_the_bundle_is_refused(path: str) -> None:
    with pytest.raises(UnsafeEntry):
        parse_manifest(render_manifest(make_manifest(files=[BundledFile(path=path, digest=OTHER, size=1)])))


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:../../../../etc/passwd",
        "sha256:" + "A" * 64,
        "sha256:",
        "md5:" + "a" * 32,
        "../x",
        "sha256:" + "a" * 63,
    ],
)
def test_a_digest_that_could_be_a_path_is_refused(digest: str) -> None:
    with pytest.raises(UnsafeEntry):
        parse_manifest(render_manifest(make_manifest(images=[], blobs=[BundledBlob(digest=digest, size=1)])))


@pytest.mark.parametrize(
    "reference",
    [
        "demo",
        "Demo:1",
        "a/../b:1",
        "demo:",
        ":1",
        "demo:.1",
        "registry.example.com/demo:1",
        "host:5000/demo:1",
        "a:1@b",
    ],
)
def test_a_reference_that_is_not_repository_and_tag_is_refused(reference: str) -> None:
    with pytest.raises(UnsafeEntry):
        parse_manifest(render_manifest(make_manifest(images=[make_image(reference=reference)])))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../demo"},
        {"name": ""},
        {"name": "x" * 200},
        {"created": "yesterday"},
        {"sequence": -1},
        {"images": [make_image(), make_image()]},
        {"images": [make_image(digest=OTHER)]},
        {"images": [make_image(size=-1)]},
        {"blobs": [BundledBlob(digest=DIGEST, size=-3)]},
        {"blobs": [BundledBlob(digest=DIGEST, size=3)] * 2},
        {"files": [BundledFile(path="index.json", digest=OTHER, size=4)] * 2},
    ],
)
def test_lists_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        parse_manifest(render_manifest(make_manifest(**changes)))
