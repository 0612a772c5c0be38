"""What is visible: repositories, their blobs, manifests and tags.

Blobs lie in files (`mirror.blobs`); manifests are kept here too, since they are small and asked for by the
thousand. Nothing here checks a digest or reads a manifest: it is told.

Whatever comes to name a blob asks inside its transaction whether the blob is there, and collection deletes
files inside transactions too: so no order of the two leaves a name without its content.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple, dataclass
from pathlib import Path

from mirror.database import Database
from mirror.errors import BlobUnknown, IndexMissing, ManifestBlobUnknown, ManifestUnknown, NameUnknown
from mirror.names import Deleted, Event, NameJournal, Names, Put, Tagged, Untagged, events_of
from mirror.oci import Digest

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE repositories (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE blob_links (
    repository INTEGER NOT NULL REFERENCES repositories, digest TEXT NOT NULL,
    PRIMARY KEY (repository, digest)
) WITHOUT ROWID;
CREATE TABLE contents (digest TEXT PRIMARY KEY, content BLOB NOT NULL);
CREATE TABLE manifests (
    repository INTEGER NOT NULL REFERENCES repositories, digest TEXT NOT NULL,
    media_type TEXT NOT NULL, size INTEGER NOT NULL,
    subject TEXT NOT NULL, artifact_type TEXT NOT NULL, annotations TEXT NOT NULL,
    PRIMARY KEY (repository, digest)
) WITHOUT ROWID;
CREATE INDEX manifests_by_subject ON manifests (repository, subject, digest) WHERE subject != '';
CREATE INDEX manifests_by_digest ON manifests (digest);
CREATE TABLE tags (
    repository INTEGER NOT NULL REFERENCES repositories, name TEXT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (repository, name)
) WITHOUT ROWID;
CREATE INDEX tags_by_digest ON tags (repository, digest);
"""


@dataclass(frozen=True, slots=True)
class StoredManifest:
    content: bytes
    media_type: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class ManifestRecord:
    """What is known of a manifest besides its bytes; `annotations` is JSON text."""

    digest: Digest
    media_type: str
    size: int
    subject: str = ""
    artifact_type: str = ""
    annotations: str = "{}"


IsThere = Callable[[Digest], bool]


@dataclass(frozen=True, slots=True)
class Holdings:
    """Everything the index names, at one moment; repositories by their number."""

    repositories: dict[int, str]
    manifests: dict[tuple[int, Digest], ManifestRecord]  # without annotations
    tags: list[tuple[int, str, Digest]]
    blobs: list[tuple[int, Digest]]


class Index:
    """`journal`, if there is one, is told of every change of names before it is committed."""

    def __init__(self, path: Path, journal: NameJournal | None) -> None:
        if journal and journal.exists() and not path.exists():
            raise IndexMissing(
                f"the mirror's index {path} is missing, and {journal.path} says that there was one",
                hint="make it again from the blobs: skerry mirror rebuild",
            )
        self._database = Database(path, schema=SCHEMA, version=SCHEMA_VERSION)
        self._journal = journal
        if journal and not journal.exists():
            with self._database.transaction():
                self.compact_journal()

    def close(self) -> None:
        self._database.close()

    # blobs

    def has_blob(self, repository: str, digest: Digest) -> bool:
        row = self._database.one(
            "SELECT 1 FROM repositories r JOIN blob_links b ON b.repository = r.id"
            " WHERE r.name = ? AND b.digest = ?",
            repository,
            digest,
        )
        return row is not None

    def link_blob(self, repository: str, digest: Digest, *, is_there: IsThere) -> None:
        """Raises BlobUnknown if the blob is not there when the link is made."""
        if self.has_blob(repository, digest):
            return
        with self._database.transaction() as connection:
            if not is_there(digest):
                raise BlobUnknown(f"blob {digest} is not in this mirror", hint="push it again")
            number = _repository_number(connection, repository)
            connection.execute("INSERT OR IGNORE INTO blob_links VALUES (?, ?)", (number, digest))

    def unlink_blob(self, repository: str, digest: Digest) -> None:
        with self._database.transaction() as connection:
            deleted = connection.execute(
                "DELETE FROM blob_links WHERE digest = ?"
                " AND repository = (SELECT id FROM repositories WHERE name = ?)",
                (digest, repository),
            )
            if deleted.rowcount == 0:
                raise BlobUnknown(f"{repository} has no blob {digest}")

    # manifests

    def put_manifest(
        self,
        repository: str,
        record: ManifestRecord,
        *,
        content: bytes,
        blobs: Sequence[Digest],
        is_there: IsThere,
        tags: Sequence[str] = (),
    ) -> None:
        """`blobs` are what the repository must have; raises ManifestBlobUnknown for one that it lost."""
        with self._database.transaction() as connection:
            for digest in blobs:
                if not (is_there(digest) and self.has_blob(repository, digest)):
                    raise ManifestBlobUnknown(
                        f"{repository} has no blob {digest}, which the manifest names",
                        hint="push the blob first",
                    )
            if not is_there(record.digest):
                raise ManifestUnknown(
                    f"manifest {record.digest} was collected meanwhile", hint="push it again"
                )
            number = _repository_number(connection, repository)
            connection.execute("INSERT OR IGNORE INTO contents VALUES (?, ?)", (record.digest, content))
            connection.execute(
                "INSERT OR REPLACE INTO manifests"
                " (repository, digest, media_type, size, subject, artifact_type, annotations)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (number, *astuple(record)),
            )
            _put_tags(connection, number, tags, record.digest)
            self._record(Put(repository, record.digest, record.media_type, tuple(tags)))

    def put_tags(self, repository: str, tags: Sequence[str], digest: Digest) -> None:
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT r.id FROM repositories r JOIN manifests m ON m.repository = r.id"
                " WHERE r.name = ? AND m.digest = ?",
                (repository, digest),
            ).fetchone()
            if row is None:
                raise ManifestUnknown(f"{repository} has no manifest {digest}")
            _put_tags(connection, row[0], tags, digest)
            self._record(Tagged(repository, digest, tuple(tags)))

    def manifest(self, repository: str, digest: Digest) -> StoredManifest:
        row = self._database.one(
            "SELECT c.content, m.media_type, m.digest FROM repositories r"
            " JOIN manifests m ON m.repository = r.id"
            " JOIN contents c ON c.digest = m.digest"
            " WHERE r.name = ? AND m.digest = ?",
            repository,
            digest,
        )
        if row is None:
            raise ManifestUnknown(f"{repository} has no manifest {digest}")
        return StoredManifest(*row)

    def has_manifest(self, repository: str, digest: Digest) -> bool:
        row = self._database.one(
            "SELECT 1 FROM repositories r JOIN manifests m ON m.repository = r.id"
            " WHERE r.name = ? AND m.digest = ?",
            repository,
            digest,
        )
        return row is not None

    def tagged_manifest(self, repository: str, tag: str) -> StoredManifest:
        row = self._database.one(
            "SELECT c.content, m.media_type, m.digest FROM repositories r"
            " JOIN tags t ON t.repository = r.id"
            " JOIN manifests m ON m.repository = r.id AND m.digest = t.digest"
            " JOIN contents c ON c.digest = m.digest"
            " WHERE r.name = ? AND t.name = ?",
            repository,
            tag,
        )
        if row is None:
            raise ManifestUnknown(f"{repository} has no tag {tag[:128]}")
        return StoredManifest(*row)

    def delete_manifest(self, repository: str, digest: Digest) -> None:
        """Remove the manifest and every tag that points to it."""
        with self._database.transaction() as connection:
            number = self._number(repository)
            deleted = connection.execute(
                "DELETE FROM manifests WHERE repository = ? AND digest = ?", (number, digest)
            )
            if deleted.rowcount == 0:
                raise ManifestUnknown(f"{repository} has no manifest {digest}")
            connection.execute("DELETE FROM tags WHERE repository = ? AND digest = ?", (number, digest))
            connection.execute(
                "DELETE FROM contents WHERE digest = ? AND NOT EXISTS"
                " (SELECT 1 FROM manifests WHERE manifests.digest = contents.digest)",
                (digest,),
            )
            self._record(Deleted(repository, digest))

    def delete_tag(self, repository: str, tag: str) -> None:
        with self._database.transaction() as connection:
            deleted = connection.execute(
                "DELETE FROM tags WHERE name = ?"
                " AND repository = (SELECT id FROM repositories WHERE name = ?)",
                (tag, repository),
            )
            if deleted.rowcount == 0:
                raise ManifestUnknown(f"{repository} has no tag {tag}")
            self._record(Untagged(repository, tag))

    def transaction(self) -> AbstractContextManager[object]:
        """One change of several of the methods below, durable at its end; no other writer comes between."""
        return self._database.transaction()

    # for those who look at everything: collection, verification, rebuilding

    def holdings(self) -> Holdings:
        """All names at one moment; inside a transaction, at that moment."""
        with self._database.reading():
            ask = self._database.all
            return Holdings(
                repositories=dict(ask("SELECT id, name FROM repositories")),
                manifests={
                    (row[0], row[1]): ManifestRecord(*row[1:])
                    for row in ask(
                        "SELECT repository, digest, media_type, size, subject, artifact_type FROM manifests"
                    )
                },
                tags=ask("SELECT repository, name, digest FROM tags"),
                blobs=ask("SELECT repository, digest FROM blob_links"),
            )

    def content(self, digest: Digest) -> bytes | None:
        """A manifest's bytes, whatever repositories it is in."""
        row = self._database.one("SELECT content FROM contents WHERE digest = ?", digest)
        return None if row is None else bytes(row[0])

    def is_named(self, digest: Digest) -> bool:
        """Whether any repository has a blob or a manifest of this digest."""
        row = self._database.one(
            "SELECT EXISTS (SELECT 1 FROM manifests WHERE digest = ?1)"
            " OR EXISTS (SELECT 1 FROM blob_links WHERE digest = ?1)",
            digest,
        )
        return row is not None and bool(row[0])

    def forget(self, manifests: Sequence[tuple[int, Digest]], blobs: Sequence[tuple[int, Digest]]) -> None:
        """Take names away; inside a transaction of the caller's, who compacts the journal after it."""
        connection = self._database.connection()
        connection.executemany("DELETE FROM manifests WHERE repository = ? AND digest = ?", manifests)
        connection.executemany("DELETE FROM blob_links WHERE repository = ? AND digest = ?", blobs)
        connection.execute("DELETE FROM contents WHERE digest NOT IN (SELECT digest FROM manifests)")
        connection.execute(
            "DELETE FROM tags WHERE NOT EXISTS (SELECT 1 FROM manifests m"
            " WHERE m.repository = tags.repository AND m.digest = tags.digest)"
        )
        connection.execute(
            "DELETE FROM repositories WHERE id NOT IN (SELECT repository FROM manifests"
            " UNION SELECT repository FROM blob_links UNION SELECT repository FROM tags)"
        )

    def compact_journal(self) -> None:
        """Write the journal anew, as short as can be; inside a transaction of the caller's."""
        holdings = self.holdings()
        names = Names()
        for (number, digest), record in holdings.manifests.items():
            names.manifests[holdings.repositories[number], digest] = record.media_type
        for number, tag, digest in holdings.tags:
            names.tags[holdings.repositories[number], tag] = digest
        if self._journal is not None:
            self._journal.rewrite(events_of(names))

    def _record(self, event: Event) -> None:
        if self._journal is not None:
            self._journal.append(event)

    # lists, in byte order; `last` is exclusive, a limit below zero is none

    def tags(self, repository: str, *, last: str, limit: int) -> list[str]:
        rows = self._database.all(
            "SELECT name FROM tags WHERE repository = ? AND name > ? ORDER BY name LIMIT ?",
            self._number(repository),
            last,
            limit,
        )
        return [row[0] for row in rows]

    def repositories(self, *, last: str, limit: int) -> list[str]:
        rows = self._database.all(
            "SELECT name FROM repositories WHERE name > ? ORDER BY name LIMIT ?", last, limit
        )
        return [row[0] for row in rows]

    def referrers(
        self, repository: str, subject: Digest, *, artifact_type: str, last: str, limit: int
    ) -> list[ManifestRecord]:
        """The manifests that name `subject`, whether it exists or not; an unknown repository has none."""
        rows = self._database.all(
            "SELECT m.digest, m.media_type, m.size, m.subject, m.artifact_type, m.annotations"
            " FROM repositories r JOIN manifests m ON m.repository = r.id"
            " WHERE r.name = ? AND m.subject = ? AND m.subject != '' AND m.digest > ?"
            " AND (? = '' OR m.artifact_type = ?) ORDER BY m.digest LIMIT ?",
            repository,
            subject,
            last,
            artifact_type,
            artifact_type,
            limit,
        )
        return [ManifestRecord(*row) for row in rows]

    def _number(self, repository: str) -> int:
        row = self._database.one("SELECT id FROM repositories WHERE name = ?", repository)
        if row is None:
            raise NameUnknown(f"this mirror has no repository {repository}")
        return int(row[0])


def _repository_number(connection: sqlite3.Connection, name: str) -> int:
    connection.execute("INSERT OR IGNORE INTO repositories (name) VALUES (?)", (name,))
    row = connection.execute("SELECT id FROM repositories WHERE name = ?", (name,)).fetchone()
    return int(row[0])


def _put_tags(connection: sqlite3.Connection, repository: int, tags: Sequence[str], digest: Digest) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", [(repository, tag, digest) for tag in tags]
    )
