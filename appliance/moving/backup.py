"""One file that brings an appliance back: its resources, secrets and keys, signed by it.

A tar of `backup.json` (what is in it, by digest), its signature and the signer's key, `objects.jsonl` and the
small files of the data folder. It holds keys in the clear unless it is sealed with a passphrase
(`appliance.moving.sealing`). The mirror's blobs are not in it: they come again from the bundles.
"""

import fcntl
import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from appliance.files import PRIVATE, PUBLIC, sync_directory, write_durably
from appliance.inventory.truth import FOLDER as INVENTORY
from appliance.inventory.truth import read_truth
from appliance.moving.errors import BackupUnusable, TargetInUse, WrongPassphrase, WrongSigner, writing
from appliance.moving.sealing import MAGIC, is_sealed, seal, unseal
from appliance.resources.meta import Document
from bundles.errors import BundleError
from bundles.signing import (
    PrivateKey,
    PublicKey,
    generate_key,
    parse_private_key,
    parse_public_key,
    sign,
    verify,
)

FORMAT = 1
MANIFEST, SIGNATURE, SIGNER, OBJECTS = "backup.json", "backup.sig", "signer.pub", "objects.jsonl"
FILES = "files/"
SIGNING_KEY = Path("pki") / "backup.key"

# What of the data folder comes along. The rest is made again, or is the mirror's.
# The audit log after its head in pki: what is written meanwhile then lies behind the head, where it may.
KEPT_FOLDERS = ("pki", "trust", "access", "audit")
MADE_FOLDERS = (INVENTORY,)  # what is made for the backup from a database that is not in it
KEPT_FILES = ("admin.token", "skerry.toml")
MAX_FILE_BYTES = 1024 * 1024
MAX_FILES = 10_000
MAX_MANIFEST_BYTES = 16 * 1024 * 1024
MAX_BYTES = 4 * 1024**3


class Member(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of the backup; `digest` is sha256, hex."""

    digest: str
    size: int
    mode: int = PRIVATE


class Contents(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`backup.json`. `revision` is the store's newest version; `objects` counts them by kind."""

    format: int = FORMAT
    created: str
    release: str
    site: str
    revision: int
    objects: dict[str, int]
    members: dict[str, Member]


@dataclass(frozen=True, slots=True)
class Backup:
    """What a sound backup holds. `signer` is the key's id, `files` are by path in the data folder."""

    contents: Contents
    signer: str
    objects: Sequence[Document]
    files: Mapping[str, tuple[bytes, int]]


def write_backup(
    output: Path,
    data: Path,
    documents: Sequence[Document],
    *,
    revision: int,
    release: str,
    site: str,
    now: datetime,
    passphrase: bytes = b"",
) -> Contents:
    """Write a backup of the `data` folder and the `documents`; whole under its name, or not at all.

    Raises TargetInUse when `output` is there already, and BackupUnusable when a file is beyond the limits,
    and InventoryDamaged.
    """
    if output.exists():
        raise TargetInUse(
            f"{output} is there already", hint="backups are never overwritten: give another name"
        )
    members = {OBJECTS: (_render_objects(documents), PRIVATE), **_files_of(data)}
    members |= {f"{FILES}{name}": (content, PRIVATE) for name, content in read_truth(data).items()}
    counts: dict[str, int] = {}
    for document in documents:
        counts[document["kind"]] = counts.get(document["kind"], 0) + 1
    contents = Contents(
        created=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        release=release,
        site=site,
        revision=revision,
        objects=dict(sorted(counts.items())),
        members={
            name: Member(digest=hashlib.sha256(content).hexdigest(), size=len(content), mode=mode)
            for name, (content, mode) in sorted(members.items())
        },
    )
    key = load_signing_key(data)
    rendered = msgspec.json.encode(contents, order="sorted")
    tar = [
        (MANIFEST, rendered, PRIVATE),
        (SIGNATURE, sign(rendered, key), PRIVATE),
        (SIGNER, key.public.render(), PRIVATE),
        *((name, content, mode) for name, (content, mode) in sorted(members.items())),
    ]
    with writing(output):
        _write_whole(output, _render_tar(tar), passphrase)
    return contents


def read_backup(path: Path, *, passphrase: bytes = b"", signer: str = "") -> Backup:
    """Read and check a backup whole: signature, digests, limits. Writes nothing.

    `signer` is the id of the key that must have signed it. Raises MovingError's children.
    """
    with path.open("rb") as file:
        head = file.read(len(MAGIC))
        file.seek(0)
        if not is_sealed(head):
            return _read_tar(file, path, signer)
        if not passphrase:
            raise WrongPassphrase(f"{path} is sealed", hint="give its passphrase with --passphrase-file")
        return _read_tar(_Chunks(unseal(file, passphrase)), path, signer)


def load_signing_key(data: Path) -> PrivateKey:
    """The appliance's own key for backups, made the first time."""
    path = data / SIGNING_KEY
    try:
        return parse_private_key(path.read_bytes(), name=str(path))
    except FileNotFoundError:
        private, _ = generate_key()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(path, private, mode=PRIVATE)
        return parse_private_key(private, name=str(path))


def write_files(backup: Backup, data: Path) -> None:
    """Put the files of a backup into an empty data folder, with the modes they had."""
    for name, (content, mode) in backup.files.items():
        path = data / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(path, content, mode=mode & PUBLIC)


def _files_of(data: Path) -> dict[str, tuple[bytes, int]]:
    load_signing_key(data)  # so that the first backup carries it too
    paths = [data / name for name in KEPT_FILES if (data / name).is_file()]
    paths += [
        path for folder in KEPT_FOLDERS for path in sorted((data / folder).rglob("*")) if path.is_file()
    ]
    if len(paths) > MAX_FILES:
        raise BackupUnusable(f"{data} holds {len(paths)} files of keys and settings, over {MAX_FILES}")
    found = {}
    for path in paths:
        status = path.stat()
        if status.st_size > MAX_FILE_BYTES:
            raise BackupUnusable(
                f"{path} is larger than {MAX_FILE_BYTES} bytes", hint="it does not belong there"
            )
        found[f"{FILES}{path.relative_to(data)}"] = path.read_bytes(), status.st_mode & 0o777
    return found


def _render_objects(documents: Iterable[Document]) -> bytes:
    return b"".join(msgspec.json.encode(document) + b"\n" for document in documents)


def _render_tar(members: Iterable[tuple[str, bytes, int]]) -> Iterator[bytes]:
    for name, content, mode in members:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(content), mode
        yield info.tobuf(tarfile.PAX_FORMAT)
        yield content
        yield bytes(-len(content) % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _write_whole(output: Path, chunks: Iterator[bytes], passphrase: bytes) -> None:
    temporary = output.with_name(f".{output.name}.making")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TargetInUse(f"{output} is being made already", hint="wait for it") from error
        try:
            file.truncate(0)  # what one left that was cut off
            if passphrase:
                seal(chunks, file, passphrase)
            else:
                file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
            if output.exists():
                raise TargetInUse(f"{output} came into being meanwhile", hint="give another name")
            temporary.rename(output)  # no link: sticks have FAT
        finally:
            temporary.unlink(missing_ok=True)
    sync_directory(output.parent)


def _read_tar(file: "BinaryIO | _Chunks", path: Path, signer: str) -> Backup:
    try:
        members = dict(_members(file, path))
    except (tarfile.TarError, EOFError) as error:
        raise BackupUnusable(f"{path} is no backup: {error}") from error
    try:
        rendered, signature, public = (members.pop(name)[0] for name in (MANIFEST, SIGNATURE, SIGNER))
    except KeyError as error:
        raise BackupUnusable(f"{path} is no backup, or cut off: it has no {error}") from error
    key = _check_signature(rendered, signature, public, path)
    if signer and key.key_id != signer:
        raise WrongSigner(
            f"{path} was made by the appliance with key {key.key_id}, not {signer}",
            hint="compare with what `skerry backup` printed",
        )
    contents = _parse_contents(rendered, path)
    for name, wanted in contents.members.items():
        held = members.get(name)
        if held is None or hashlib.sha256(held[0]).hexdigest() != wanted.digest:
            raise BackupUnusable(f"{name} in {path} is damaged or missing", hint="try another copy of it")
    if unlisted := set(members) - set(contents.members):
        raise BackupUnusable(f"{path} holds what was not signed: {sorted(unlisted)[0]}")
    files = {
        name.removeprefix(FILES): (content, contents.members[name].mode)
        for name, (content, _) in members.items()
        if name.startswith(FILES)
    }
    return Backup(contents, key.key_id, _parse_objects(members[OBJECTS][0], path), files)


def _members(file: "BinaryIO | _Chunks", path: Path) -> Iterator[tuple[str, tuple[bytes, int]]]:
    total = 0
    with tarfile.open(fileobj=file, mode="r|") as archive:
        for count, info in enumerate(archive):
            total += info.size
            if count > MAX_FILES + 4 or total > MAX_BYTES:
                raise BackupUnusable(f"{path} is larger than a backup can be")
            content = archive.extractfile(info) if info.isreg() else None
            if content is None or not _is_safe(info.name):
                raise BackupUnusable(f"{path} holds {info.name[:80]!r}, which no backup has")
            yield info.name, (content.read(), info.mode)


def _is_safe(name: str) -> bool:
    if name in (MANIFEST, SIGNATURE, SIGNER, OBJECTS):
        return True
    parts = name.split("/")
    inside = parts[1:]
    is_ours = name in {f"{FILES}{each}" for each in KEPT_FILES} or (
        len(parts) > 2 and parts[1] in (*KEPT_FOLDERS, *MADE_FOLDERS)
    )
    return parts[0] == FILES.rstrip("/") and is_ours and not {"", ".", ".."} & set(inside)


def _check_signature(rendered: bytes, signature: bytes, public: bytes, path: Path) -> PublicKey:
    try:
        key = parse_public_key(public, name=SIGNER)
        verify(rendered, signature, {key.key_id: key})
    except BundleError as error:
        raise BackupUnusable(f"the signature of {path} is wrong: {error}", hint="try another copy") from error
    return key


def _parse_contents(rendered: bytes, path: Path) -> Contents:
    if len(rendered) > MAX_MANIFEST_BYTES:
        raise BackupUnusable(f"{path} is larger than a backup can be")
    try:
        contents = msgspec.json.decode(rendered, type=Contents)
    except msgspec.MsgspecError as error:
        raise BackupUnusable(f"{path} is no backup that this Skerry reads: {error}") from error
    if contents.format != FORMAT:
        raise BackupUnusable(
            f"{path} has format {contents.format}; this Skerry reads {FORMAT}", hint="update it"
        )
    return contents


def _parse_objects(content: bytes, path: Path) -> list[Document]:
    try:
        return [msgspec.json.decode(line, type=dict) for line in content.splitlines()]
    except msgspec.MsgspecError as error:
        raise BackupUnusable(f"an object in {path} cannot be read: {error}") from error


class _Chunks(io.RawIOBase):
    """An iterator of bytes as the readable that tarfile asks for."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def read(self, count: int = -1, /) -> bytes:
        found = bytearray()
        while count < 0 or len(found) < count:
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
                if not self._rest:
                    break
            taken = self._rest if count < 0 else self._rest[: count - len(found)]
            self._rest = self._rest[len(taken) :]
            found += taken
        return bytes(found)
