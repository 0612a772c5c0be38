"""An appliance's data folder as a whole: saved to a file, brought back, moved into a cluster and out of it.

Each of these needs the folder for itself, but a backup, which reads a consistent copy of the store also while
the appliance runs. Where the objects are after a move is written down (`appliance.moving.place`).
"""

import asyncio
import contextlib
import fcntl
import getpass
import os
import shutil
import sqlite3
from collections.abc import Callable, Container, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec

from appliance.audit.chain import Decision
from appliance.audit.log import Audit
from appliance.errors import ConfigurationError
from appliance.files import PRIVATE, make_private_directory, sync_directory
from appliance.moving.backup import Backup, Contents, read_backup, write_backup, write_files
from appliance.moving.errors import TargetInUse, writing
from appliance.moving.objects import kind_of
from appliance.moving.place import DATABASE, check_place, lock_directory, write_place
from appliance.moving.stores import Moved, Told, move, ours, read_all
from appliance.resources.meta import Document, Kind, decode
from appliance.store import validation
from appliance.store.base import Invalid
from appliance.store.database import APPLICATION_ID
from appliance.store.kubernetes import KubernetesStore
from appliance.store.sqlite import SqliteStore


def told_nothing(done: int, total: int) -> None:
    """For callers who do not ask."""


def now() -> datetime:
    return datetime.now(UTC)


def back_up(
    data: Path,
    output: Path,
    *,
    site: str,
    kubeconfig: Path | None = None,
    passphrase: bytes = b"",
    clock: Callable[[], datetime] = now,
) -> Contents:
    """Save the folder, and its objects from wherever they are. Raises MovingError, StoreError."""
    if kubeconfig is not None:
        check_place(data, "kubernetes")
        documents = asyncio.run(_read_cluster(kubeconfig))
    else:
        check_place(data, "sqlite")
        documents = _read_database(data / DATABASE)
    return write_backup(
        output,
        data,
        documents,
        revision=newest(documents),
        release=version("skerry"),
        site=site,
        now=clock(),
        passphrase=passphrase,
    )


def restore(path: Path, data: Path, *, passphrase: bytes = b"", signer: str = "") -> Backup:
    """Bring a backup back into an empty folder, which appears whole or not at all."""
    backup = read_backup(path, passphrase=passphrase, signer=signer)
    if data.exists() and any(data.iterdir()):
        raise TargetInUse(f"{data} is not empty", hint="restore into a new folder, then start it there")
    with writing(data.parent):
        data.parent.mkdir(parents=True, exist_ok=True)
    aside = data.with_name(f".{data.name}.restoring")
    with writing(data), _held(aside, f"another restore into {data}") as making:
        write_files(backup, making)
        above = backup.contents.revision + 1
        asyncio.run(_adopt(making / DATABASE, backup.objects, above=above))
        _write_down(making, backup, path)
        with contextlib.suppress(FileNotFoundError):
            data.rmdir()
        making.rename(data)
        sync_directory(data.parent)
    return backup


def _write_down(data: Path, backup: Backup, path: Path) -> None:
    """The audit log goes on where the backup's ended, and says so."""
    made = f"made {backup.contents.created} by {backup.contents.site}, signed by {backup.signer}"
    with contextlib.closing(Audit(data)) as audit:
        audit.write([Decision("restore", f"backup/{path.name}", _person(), made)])


def _person() -> str:
    """Who is at the keyboard, for the record; a pod's user may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def move_to_kubernetes(data: Path, kubeconfig: Path | None, *, told: Told = told_nothing) -> Moved:
    """Move the folder's objects into a cluster. Until all are there and compared, the folder stays.

    Raises DataDirectoryBusy while an appliance runs on it.
    """
    check_place(data, "sqlite")
    check_has_store(data)

    async def work() -> Moved:
        async with (
            SqliteStore.open(data / DATABASE) as source,
            await KubernetesStore.open(kubeconfig) as target,
        ):
            return await move(await read_all(source), target, told=told)

    with lock_directory(data):
        moved = asyncio.run(work())
        write_place(data, "kubernetes", at=now())
    return moved


def move_to_sqlite(data: Path, kubeconfig: Path | None) -> Moved:
    """Bring the objects out of a cluster into the folder, uids and all. An older database is kept beside.

    Raises DataDirectoryBusy while an appliance runs on it, in the cluster too.
    """
    make_private_directory(data)
    check_place(data, "kubernetes")
    with lock_directory(data):
        documents = asyncio.run(_read_cluster(kubeconfig))
        making = data / f".{DATABASE}.new"
        _remove_database(making)
        asyncio.run(_adopt(making, documents, above=newest(documents) + 1))
        _set_aside(data / DATABASE)
        _remove_side_files(making)
        making.rename(data / DATABASE)
        sync_directory(data)
        write_place(data, "sqlite", at=now())
    return Moved(len(documents), len(documents))


def check_has_store(data: Path) -> None:
    if not (data / DATABASE).exists():
        raise ConfigurationError(f"{data} holds no appliance", hint="name its folder with --data")


def check(data: Path) -> tuple[int, list[str]]:
    """Read every object of the folder's store as its kind; how many there are, and what is wrong with some.

    Raises Damaged when the file itself is not sound.
    """
    check_place(data, "sqlite")
    documents = _read_database(data / DATABASE)
    uids = {document["metadata"]["uid"] for document in documents}
    return len(documents), [trouble for document in documents for trouble in _troubles(document, uids)]


def _troubles(document: Document, uids: Container[str]) -> Iterator[str]:
    kind = kind_of(document)
    name = f"{document['kind']} {document['metadata'].get('namespace', '')}/{document['metadata']['name']}"
    if kind is None:
        yield f"{name}: this release does not know the kind"
        return
    try:
        validation.check_document(kind, document)
        decode(kind.struct, document)
    except (Invalid, msgspec.ValidationError) as error:
        yield f"{name}: {error}"
    for owner in document["metadata"].get("ownerReferences") or []:
        if owner["uid"] not in uids and kind_of(owner) is not None:
            yield f"{name}: its owner {owner['kind']} {owner['name']} is gone"


def newest(documents: Sequence[Document]) -> int:
    """The newest resource version among them; a cluster's are numbers too, though nobody may compare them."""
    versions = [document["metadata"].get("resourceVersion", "") for document in documents]
    return max((int(each) for each in versions if each.isdigit()), default=0)


def _kept(documents: Sequence[Document]) -> list[tuple[Kind, Document]]:
    """Kinds that this release no longer knows are left out; there are none so far."""
    found = [(kind_of(document), document) for document in documents]
    return [(kind, document) for kind, document in found if kind is not None]


async def _read_cluster(kubeconfig: Path | None) -> list[Document]:
    async with await KubernetesStore.open(kubeconfig) as cluster:
        return ours(await read_all(cluster))


async def _adopt(database: Path, documents: Sequence[Document], *, above: int) -> None:
    async with SqliteStore.open(database) as store:
        await store.adopt(_kept(documents), above=above)


def _read_database(path: Path) -> list[Document]:
    """From a copy made in one transaction, so the appliance may go on writing."""
    check_has_store(path.parent)

    async def read(copy: Path) -> list[Document]:
        async with SqliteStore.open(copy) as store:
            return await read_all(store)

    data = path.parent
    with writing(data), _held(data / ".backup", f"another backup of {data}") as folder:
        copy = folder / DATABASE
        os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE))
        with (
            contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            if source.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise ConfigurationError(f"{path} is a database of another program")
            source.backup(target)
        return asyncio.run(read(copy))


@contextlib.contextmanager
def _held(making: Path, what: str) -> Iterator[Path]:
    """A private folder to work in, gone at the end unless it was renamed.

    What was left in it by one that was cut off is cleared away. Raises TargetInUse while it is in use.
    """
    making.mkdir(mode=0o700, exist_ok=True)
    held = os.open(making, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TargetInUse(f"{what} is under way", hint="wait for it") from error
        for path in making.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        try:
            yield making
        finally:
            if making.exists():
                shutil.rmtree(making)
    finally:
        os.close(held)


def _set_aside(path: Path) -> None:
    if path.exists():
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        path.rename(path.with_name(f"{path.name}.before-{now():%Y%m%dT%H%M%SZ}"))
        _remove_side_files(path)


def _remove_database(path: Path) -> None:
    path.unlink(missing_ok=True)
    _remove_side_files(path)


def _remove_side_files(path: Path) -> None:
    for ending in ("-wal", "-shm", ".lock"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
