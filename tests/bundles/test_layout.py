"""Layouts and tars: written the same every time, and readable by others."""

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles.errors import SourceError
from bundles.images.small import build_small_image
from bundles.layout import Compression, OciLayout, create_layout, write_blob, write_layer
from bundles.tarball import Entry, directory, file, link, render_tar, with_parents


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_a_layer_knows_both_its_digests(tmp_path: Path, compression: Compression) -> None:
    layout = create_layout(tmp_path)
    tar = render_tar([file("a", b"x" * 100_000)])

    layer = write_layer(layout, [tar[:70_000], tar[70_000:]], compression=compression)

    stored = layout.blob_path(layer.descriptor.digest).read_bytes()
    assert layer.descriptor.digest == f"sha256:{hashlib.sha256(stored).hexdigest()}"
    assert layer.descriptor.size == len(stored)
    assert layer.diff_id == f"sha256:{hashlib.sha256(tar).hexdigest()}"
    assert (gzip.decompress(stored) if compression == "gzip" else stored) == tar


def test_a_layer_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    layout = create_layout(tmp_path)

    with pytest.raises(RuntimeError):
        write_layer(layout, (_broken() for _ in range(1)))

    assert list((tmp_path / "blobs/sha256").iterdir()) == []


def _broken() -> bytes:
    raise RuntimeError("the source broke off")


def test_a_blob_that_changed_is_not_believed(tmp_path: Path) -> None:
    layout = create_layout(tmp_path)
    descriptor = write_blob(layout, b"content", media_type="a/b")
    layout.blob_path(descriptor.digest).write_bytes(b"CONTENT")

    with pytest.raises(SourceError, match="damaged"):
        layout.read_blob(descriptor, limit=100)


def test_a_blob_over_the_limit_is_not_read(tmp_path: Path) -> None:
    layout = create_layout(tmp_path)
    descriptor = write_blob(layout, b"content", media_type="a/b")

    with pytest.raises(SourceError, match="larger"):
        layout.read_blob(descriptor, limit=6)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"manifests": 1}', '{"manifests":[{"digest":"../x"}]}', "\0"]
)
def test_an_index_that_cannot_be_read_is_refused(tmp_path: Path, content: str) -> None:
    create_layout(tmp_path)
    (tmp_path / "index.json").write_text(content)

    with pytest.raises(SourceError, match=r"index\.json"):
        OciLayout(tmp_path).index()


NAMES = st.text("abcxyz", min_size=1, max_size=5)


@given(
    st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=50), max_size=8)
)
def test_a_tar_depends_on_its_entries_alone(contents: dict[str, bytes]) -> None:
    entries = [file(path, content) for path, content in contents.items()]

    forward = render_tar(with_parents(entries))
    backward = render_tar(with_parents(reversed(entries)))

    assert forward == backward


def test_parents_come_before_what_is_in_them() -> None:
    entries = with_parents([file("a/b/c", b""), directory("a", mode=0o700), link("z", "a/b")])

    assert [entry.path for entry in entries] == ["a", "a/b", "a/b/c", "z"]
    assert entries[0].mode == 0o700


def test_a_tar_holds_modes_links_and_long_names() -> None:
    long = "d/" + "n" * 200
    entries: list[Entry] = [directory("d"), file(long, "x", mode=0o755), link("l", "d")]

    with tarfile.open(fileobj=io.BytesIO(render_tar(entries, time=99))) as archive:
        members = {member.name: member for member in archive}

    assert members[long].mode == 0o755
    assert members["l"].linkname == "d"
    assert {(each.uid, each.gid, each.mtime) for each in members.values()} == {(0, 0, 99)}


@pytest.mark.interop
def test_umoci_unpacks_what_we_wrote(tmp_path: Path) -> None:
    build_small_image(tmp_path / "layout", name="demo", version="1", payload_bytes=1_000)

    subprocess.run(
        ["skopeo", "copy", "--quiet", f"oci:{tmp_path}/layout:demo:1", f"oci:{tmp_path}/plain:latest"],
        check=True,
    )
    subprocess.run(
        ["umoci", "unpack", "--rootless", "--image", f"{tmp_path}/plain:latest", str(tmp_path / "out")],
        check=True,
        capture_output=True,
    )

    assert 'IMAGE_TAG="1"' in (tmp_path / "out/rootfs/etc/os-release").read_text()
    assert json.loads((tmp_path / "out/config.json").read_text())
