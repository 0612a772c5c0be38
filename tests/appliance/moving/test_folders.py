"""A data folder saved, brought back and checked: nothing missing, nothing altered, never half."""

import asyncio
import io
import os
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.credentials import HostTokens
from appliance.errors import ConfigurationError
from appliance.moving import folders
from appliance.moving.backup import MANIFEST, OBJECTS, SIGNER, read_backup
from appliance.moving.errors import BackupUnusable, TargetInUse, WrongPassphrase, WrongSigner
from appliance.moving.place import check_place, write_place
from appliance.resources.core import SECRET
from appliance.resources.meta import Document
from appliance.store.base import Gone, Selection
from appliance.store.sqlite import SqliteStore
from bundles.signing import generate_key
from tests.appliance.moving.filling import NAMESPACE, named, objects


def without_version(document: Document) -> Document:
    metadata = {key: value for key, value in document["metadata"].items() if key != "resourceVersion"}
    return {**document, "metadata": metadata}


def test_a_restored_appliance_is_the_same_one(data: Path, tmp_path: Path) -> None:
    folders.back_up(data, tmp_path / "box.backup", site="north")
    folders.restore(tmp_path / "box.backup", tmp_path / "new")

    assert [without_version(each) for each in objects(tmp_path / "new")] == [
        without_version(each) for each in objects(data)
    ]
    for name in ("pki/ca.crt", "pki/ca.key", "pki/host-token.key", "admin.token"):
        assert (tmp_path / "new" / name).read_bytes() == (data / name).read_bytes()
    assert (tmp_path / "new" / "pki" / "ca.key").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "new" / "mirror").exists()


def test_a_hosts_token_and_a_registrations_url_stay_valid(data: Path, tmp_path: Path) -> None:
    (registration, host, _) = objects(data)
    tokens = HostTokens.load_or_create(data / "pki" / "host-token.key")
    token = tokens.issue(namespace=NAMESPACE, name="press-1", uid=host["metadata"]["uid"])
    folders.back_up(data, tmp_path / "box.backup", site="north")
    folders.restore(tmp_path / "box.backup", tmp_path / "new")

    again = HostTokens.load_or_create(tmp_path / "new" / "pki" / "host-token.key").identify(token.reveal())

    (registration_again, host_again, _) = objects(tmp_path / "new")
    assert again is not None
    assert again.uid == host_again["metadata"]["uid"]
    assert registration_again["spec"] == registration["spec"]


def test_versions_go_on_above_those_that_watchers_know(data: Path, tmp_path: Path) -> None:
    async def newest(folder: Path) -> int:
        async with SqliteStore.open(folder / "skerry.db") as store:
            return int((await store.list(SECRET)).resource_version)

    async def resume(folder: Path, since: int) -> None:
        async with SqliteStore.open(folder / "skerry.db") as store:
            async for _ in store.watch(SECRET, Selection(), since=str(since)):
                break

    before = asyncio.run(newest(data))
    folders.back_up(data, tmp_path / "box.backup", site="north")
    folders.restore(tmp_path / "box.backup", tmp_path / "new")

    assert asyncio.run(newest(tmp_path / "new")) > before
    with pytest.raises(Gone):
        asyncio.run(resume(tmp_path / "new", 10_000))


def test_a_backup_can_be_made_while_the_appliance_writes(data: Path, tmp_path: Path) -> None:
    async def write_and_back_up() -> None:
        async with SqliteStore.open(data / "skerry.db") as store:
            await store.create(SECRET, named("Secret", "late") | {"apiVersion": "v1"})
            await asyncio.to_thread(folders.back_up, data, tmp_path / "box.backup", site="north")

    asyncio.run(write_and_back_up())

    kept = read_backup(tmp_path / "box.backup")
    assert "late" in [document["metadata"]["name"] for document in kept.objects]


def test_a_sealed_backup_needs_its_passphrase(data: Path, tmp_path: Path) -> None:
    sealed = tmp_path / "sealed"
    folders.back_up(data, sealed, site="north", passphrase=b"correct horse")

    assert b"PRIVATE KEY" not in sealed.read_bytes()
    with pytest.raises(WrongPassphrase, match="is sealed"):
        folders.restore(sealed, tmp_path / "new")
    folders.restore(sealed, tmp_path / "new", passphrase=b"correct horse")
    assert (tmp_path / "new" / "pki" / "ca.key").exists()


def rebuilt(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The backup with its members changed, as by a careful forger."""
    with tarfile.open(path) as archive:
        members = {info.name: file.read() for info in archive if (file := archive.extractfile(info))}
    change(members)
    forged = path.with_name("forged")
    with tarfile.open(forged, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return forged


def leave_out(members: dict[str, bytes], name: str) -> None:
    del members[name]


def swap_signer(members: dict[str, bytes]) -> None:
    members[SIGNER] = generate_key()[1]


CHANGES: dict[str, Callable[[dict[str, bytes]], None]] = {
    "object altered": lambda members: members.update({OBJECTS: members[OBJECTS].replace(b"t-4", b"t-5")}),
    "object left out": lambda members: members.update({OBJECTS: members[OBJECTS].split(b"\n", 1)[1]}),
    "manifest altered": lambda members: members.update(
        {MANIFEST: members[MANIFEST].replace(b"north", b"south")}
    ),
    "key swapped": lambda members: members.update({"files/admin.token": b"mine"}),
    "file added": lambda members: members.update({"files/pki/extra.key": b"x"}),
    "file left out": lambda members: leave_out(members, "files/pki/ca.key"),
    "other signer": swap_signer,
    "leaves the folder": lambda members: members.update({"files/pki/../../etc/passwd": b"x"}),
    "no manifest": lambda members: leave_out(members, MANIFEST),
}


@pytest.mark.parametrize("what", sorted(CHANGES))
def test_a_backup_that_was_changed_restores_nothing(data: Path, tmp_path: Path, what: str) -> None:
    folders.back_up(data, tmp_path / "box.backup", site="north")
    forged = rebuilt(tmp_path / "box.backup", CHANGES[what])

    with pytest.raises(BackupUnusable):
        folders.restore(forged, tmp_path / "new")

    assert not (tmp_path / "new").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".new")]


@pytest.mark.parametrize("share", [0, 10, 50, 99])
def test_a_backup_that_was_cut_off_restores_nothing(data: Path, tmp_path: Path, share: int) -> None:
    folders.back_up(data, tmp_path / "box.backup", site="north")
    content = (tmp_path / "box.backup").read_bytes()
    (tmp_path / "cut").write_bytes(content[: len(content) * share // 100 - 1024 * (share == 99)])

    with pytest.raises(BackupUnusable):
        folders.restore(tmp_path / "cut", tmp_path / "new")


def test_a_backup_of_another_box_is_refused_when_one_was_named(data: Path, tmp_path: Path) -> None:
    folders.back_up(data, tmp_path / "box.backup", site="north")

    with pytest.raises(WrongSigner):
        folders.restore(tmp_path / "box.backup", tmp_path / "new", signer="0123456789abcdef")


def test_neither_a_backup_nor_a_folder_is_ever_overwritten(data: Path, tmp_path: Path) -> None:
    backup = tmp_path / "box.backup"
    folders.back_up(data, backup, site="north")
    content = backup.read_bytes()

    with pytest.raises(TargetInUse):
        folders.back_up(data, backup, site="north")
    with pytest.raises(TargetInUse, match="not empty"):
        folders.restore(backup, data)

    assert backup.read_bytes() == content
    assert backup.stat().st_mode & 0o777 == 0o600


def test_the_same_key_signs_every_backup_of_a_box(data: Path, tmp_path: Path) -> None:
    folders.back_up(data, tmp_path / "one", site="north")
    restored = folders.restore(tmp_path / "one", tmp_path / "new")
    folders.back_up(tmp_path / "new", tmp_path / "two", site="north", clock=lambda: datetime.now(UTC))

    assert read_backup(tmp_path / "two", signer=restored.signer).signer == restored.signer


def test_a_sound_store_has_no_troubles(data: Path) -> None:
    assert folders.check(data) == (len(objects(data)) + 1, [])  # and the namespace


def test_a_folder_whose_objects_moved_away_says_where(data: Path) -> None:
    write_place(data, "kubernetes", at=datetime(2026, 11, 21, tzinfo=UTC))

    with pytest.raises(ConfigurationError, match="moved to the kubernetes store"):
        check_place(data, "sqlite")
    check_place(data, "kubernetes")


def test_a_folder_that_never_moved_does_not_start_over_a_cluster(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="in its own database") as refusal:
        check_place(data, "kubernetes")

    assert "migrate --to kubernetes" in refusal.value.hint
    check_place(tmp_path, "kubernetes")  # nothing there yet: a cluster is where it begins


def test_a_folder_without_an_appliance_is_no_backup(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no appliance"):
        folders.back_up(tmp_path, tmp_path / "box.backup", site="north")
    assert not os.path.lexists(tmp_path / "box.backup")
