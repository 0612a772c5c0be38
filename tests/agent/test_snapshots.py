"""Snapshots: whole under their name or not there, and one that is in use is known to be."""

import os
import tarfile
from pathlib import Path

import pytest

from agent.config import SnapshotConfig
from agent.errors import ImageInvalid, NoSpace
from agent.host import Host
from agent.snapshots import BLOCK, Snapshots, measure_tree

TAR = SnapshotConfig(format="tar", headroom_mib=1)


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    Host(tmp_path).volume("state").mkdir(parents=True)
    return Snapshots(Host(tmp_path), TAR)


def fill(snapshots: Snapshots, number: int) -> None:
    tree = snapshots.tree(number)
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/os-release").write_text("NAME=x\n")


def test_an_image_is_built_from_the_tree_which_then_goes(snapshots: Snapshots) -> None:
    fill(snapshots, 1)

    snapshots.build(1)
    snapshots.build(1)
    snapshots.check(1)

    assert not snapshots.tree(1).exists()
    with tarfile.open(snapshots.image(1)) as archive:
        assert archive.getnames() == ["etc", "etc/os-release"]


def test_a_cut_off_image_does_not_pass(snapshots: Snapshots) -> None:
    fill(snapshots, 1)
    (snapshots.tree(1) / "large").write_bytes(os.urandom(100_000))
    snapshots.build(1)
    os.truncate(snapshots.image(1), 50_000)

    with pytest.raises(ImageInvalid):
        snapshots.check(1)


def test_the_active_link_moves_without_a_gap(snapshots: Snapshots) -> None:
    snapshots.prepare(1)
    snapshots.link_active(1)
    snapshots.link_active(2)

    assert snapshots.read_active() == 2
    snapshots.link_active(None)
    assert snapshots.read_active() is None


def test_a_foreign_link_is_not_read_as_a_number(snapshots: Snapshots, tmp_path: Path) -> None:
    snapshots.prepare(1)
    (Host(tmp_path).volume("state") / ".snapshots/active").symlink_to("../../etc/passwd")

    assert snapshots.read_active() is None


def test_a_mounted_image_is_in_use_whatever_is_recorded(snapshots: Snapshots, tmp_path: Path) -> None:
    backing = tmp_path / "sys/block/loop3/loop/backing_file"
    backing.parent.mkdir(parents=True)
    backing.write_text(f"{snapshots.image(2)}\n")

    assert snapshots.is_in_use(2)
    assert not snapshots.is_in_use(1)


def test_space_is_asked_for_before_unpacking(snapshots: Snapshots) -> None:
    with pytest.raises(NoSpace, match="snapshot 1 needs"):
        snapshots.check_space(1, 2**50)


def test_a_tree_is_measured_in_blocks_and_hard_links_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * (BLOCK + 1))
    os.link(tmp_path / "a", tmp_path / "b")

    used, files = measure_tree(tmp_path)

    assert 3 * BLOCK <= used < 4 * BLOCK
    assert files == 2
