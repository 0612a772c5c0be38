"""Laying an air-gapped k3s down: what is written, that it can be repeated, and whose files are whose."""

import hashlib
import json
import os
import tarfile
from pathlib import Path

import pytest
import yaml

from appliance.k3s import install
from appliance.k3s.contents import ContentUnusable, find_release
from appliance.k3s.documents import Hosted
from appliance.k3s.files import (
    APPLIANCE,
    BINARY,
    CA,
    CONFIG,
    IMAGES,
    PREPARATION,
    REGISTRIES,
    UNIT,
    WANTED,
    Node,
)
from bundles.errors import SourceError
from mirror.errors import ManifestUnknown
from mirror.oci import parse_digest
from mirror.registry import Registry
from tests.appliance.k3s.conftest import APPLIANCE as IMAGE
from tests.appliance.k3s.conftest import K3S, elf


def installation(registry: Registry, root: Path, *, names: tuple[str, ...] = ()) -> install.Installation:
    node = Node(
        hosted=Hosted(image=install.image_name(IMAGE)),
        mirror_url="https://192.0.2.7:5000",
        ca_pem="-----BEGIN CERTIFICATE-----\n",
        names=names,
    )
    return install.Installation(root=root, release=find_release(registry, K3S), node=node, image=IMAGE)


def carry_out(what: install.Installation, registry: Registry) -> list[install.Step]:
    steps = install.plan(what, registry)
    install.carry_out(what, registry, steps, lambda count: None)
    return steps


def test_an_install_lays_down_all_that_an_air_gapped_k3s_reads(registry: Registry, tmp_path: Path) -> None:
    root = tmp_path / "root"

    carry_out(installation(registry, root, names=("box.site",)), registry)

    assert (root / BINARY).stat().st_mode & 0o777 == 0o755
    assert (root / BINARY).read_bytes().startswith(elf(62))
    assert (root / IMAGES / "k3s-airgap-images-amd64.tar.zst").stat().st_size == 300_000
    assert (root / IMAGES / ".cache.json").exists()
    config = yaml.safe_load((root / CONFIG).read_text())
    assert config["disable-default-registry-endpoint"] is True
    assert config["tls-san"] == ["box.site"]
    registries = yaml.safe_load((root / REGISTRIES).read_text())
    assert registries["mirrors"]["*"] == {"endpoint": ["https://192.0.2.7:5000"]}
    assert registries["configs"]["192.0.2.7:5000"]["tls"]["ca_file"] == f"/{CA}"
    assert (root / WANTED).readlink() == Path(f"/{UNIT}")


def test_the_appliance_itself_is_not_started_before_its_store_has_moved(
    registry: Registry, tmp_path: Path
) -> None:
    carry_out(installation(registry, tmp_path), registry)

    kinds = [each["kind"] for each in yaml.safe_load_all((tmp_path / PREPARATION).read_text())]
    assert set(kinds) == {"CustomResourceDefinition", "Namespace"}
    assert not (tmp_path / APPLIANCE).exists()


def test_a_second_run_finds_nothing_left_to_do(registry: Registry, tmp_path: Path) -> None:
    what = installation(registry, tmp_path)
    carry_out(what, registry)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}

    again = carry_out(what, registry)

    assert {step.doing for step in again} == {"keep"}
    record = tmp_path / install.RECORD
    changed = {path for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed <= {record}


def test_a_plan_alone_writes_nothing(registry: Registry, tmp_path: Path) -> None:
    root = tmp_path / "root"

    steps = install.plan(installation(registry, root), registry)

    assert {step.doing for step in steps} == {"write"}
    assert not root.exists()


def test_what_was_damaged_or_changed_is_written_again(registry: Registry, tmp_path: Path) -> None:
    what = installation(registry, tmp_path)
    carry_out(what, registry)
    whole = (tmp_path / BINARY).read_bytes()
    (tmp_path / BINARY).write_bytes(bytes(len(whole)))
    (tmp_path / CONFIG).write_text("disable: []\n")

    steps = carry_out(what, registry)

    assert {step.path for step in steps if step.doing == "replace"} == {BINARY, CONFIG}
    assert (tmp_path / BINARY).read_bytes() == whole


def test_the_files_of_other_hands_are_kept_beside_ours(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / CONFIG).parent.mkdir(parents=True)
    (tmp_path / CONFIG).write_text("cluster-init: true\n")

    carry_out(installation(registry, tmp_path), registry)

    saved = tmp_path / f"{CONFIG}{install.SAVED}"
    assert saved.read_text() == "cluster-init: true\n"
    carry_out(installation(registry, tmp_path, names=("x",)), registry)
    assert saved.read_text() == "cluster-init: true\n"


def test_an_install_cut_off_anywhere_is_finished_by_the_next(registry: Registry, tmp_path: Path) -> None:
    class PulledOut(Exception):
        pass

    for limit in (1, 4_000, 200_000):
        root = tmp_path / str(limit)
        what = installation(registry, root)
        left = limit

        def cut(count: int) -> None:
            nonlocal left
            left -= count
            if left < 0:
                raise PulledOut

        with pytest.raises(PulledOut):
            install.carry_out(what, registry, install.plan(what, registry), cut)
        assert not os.path.lexists(root / WANTED)
        carry_out(what, registry)
        assert {step.doing for step in install.plan(what, registry)} == {"keep"}
        assert not [path for path in root.rglob(".*") if path.suffix and len(path.suffix) == 9]


def test_the_appliances_image_becomes_an_archive_that_containerd_can_import(
    registry: Registry, tmp_path: Path
) -> None:
    carry_out(installation(registry, tmp_path), registry)

    with tarfile.open(tmp_path / IMAGES / install.APPLIANCE_ARCHIVE) as archive:
        files = {each.name: archive.extractfile(each) for each in archive}
        content = {name: file.read() for name, file in files.items() if file}
    (entry,) = json.loads(content["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "docker.io/skerry/appliance:1.0"
    manifest = json.loads(content[f"blobs/{entry['digest'].replace(':', '/')}"])
    for blob in (manifest["config"], *manifest["layers"]):
        held = content[f"blobs/{blob['digest'].replace(':', '/')}"]
        assert blob["digest"] == f"sha256:{hashlib.sha256(held).hexdigest()}"


def test_a_blob_that_is_damaged_in_the_mirror_never_takes_a_files_name(
    registry: Registry, tmp_path: Path
) -> None:
    what = installation(registry, tmp_path)
    blob = registry.blobs.path(parse_digest(what.release.binary.digest))
    blob.chmod(0o644)
    blob.write_bytes(bytes(blob.stat().st_size))

    with pytest.raises(ContentUnusable, match="damaged in the mirror"):
        carry_out(what, registry)

    assert not (tmp_path / BINARY).exists()


def test_an_image_is_no_k3s_release(registry: Registry) -> None:
    with pytest.raises(ManifestUnknown):
        find_release(registry, "skerry/k3s:none")
    with pytest.raises(SourceError, match="cannot be the name of a file"):
        find_release(registry, IMAGE)
