"""Rows in, documents out: every SQL statement of the embedded store.

`Transaction` is what one write may do, `Reader` what a read may ask. Rules about documents are in
`appliance.store.rules`; when a write is committed and told to the watchers is the writer's business.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from appliance.resources.meta import Document, Kind
from appliance.store.base import TooLarge
from appliance.store.selectors import Selector, selectable_fields

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
Key: TypeAlias = tuple[str, str]  # namespace, name: the order of a list

_SCAN = 500  # rows read at a time when a selector leaves some out


class Selectable(msgspec.Struct, frozen=True):
    """What selectors see of a document."""

    labels: dict[str, str]
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as it is now. Its document belongs to the reader: it was decoded for this call."""

    id: int
    kind: Kind
    document: Document

    @property
    def uid(self) -> str:
        return str(self.document["metadata"]["uid"])


@dataclass(frozen=True, slots=True)
class Change:
    """One committed change. `before` is what selectors saw of the version before it."""

    revision: int
    kind: Kind
    type: ChangeType
    document: Document
    encoded: bytes
    now: Selectable
    before: Selectable


@dataclass(frozen=True, slots=True)
class Scan:
    """What a list asks for, parsed. `after` is where the page before ended."""

    kind: Kind
    namespace: str | None
    labels: Selector
    fields: Selector
    after: Key | None = None
    limit: int = 0

    @property
    def is_exact(self) -> bool:
        """Every row that is read is selected, so no more need be read than asked for."""
        by_label = bool(self.labels.labels) and len(self.labels.requirements) == 1
        return not self.fields and (by_label or not self.labels)


@dataclass(frozen=True, slots=True)
class Found:
    """What a list found. `last` is set when there is more to read after it."""

    documents: list[Document]
    revision: int
    last: Key | None = None
    remaining: int = 0


def kind_key(kind: Kind) -> str:
    """How rows name a kind: without its version, so that a new version finds the old objects."""
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def select(kind: Kind, document: Document) -> Selectable:
    """Take out of a document what selectors may see."""
    return Selectable(document["metadata"].get("labels") or {}, selectable_fields(kind, document))


class Transaction:
    """What one write may do. Each put or removal takes the next revision and leaves a Change."""

    def __init__(
        self, connection: sqlite3.Connection, kinds: Mapping[str, Kind], *, revision: int, max_bytes: int
    ) -> None:
        self.revision = revision
        self.changes: list[Change] = []
        self._connection = connection
        self._kinds = kinds
        self._max_bytes = max_bytes

    def find(self, kind: Kind, namespace: str, name: str) -> Stored | None:
        row = self._connection.execute(
            "SELECT id, document FROM objects WHERE kind = ? AND namespace = ? AND name = ?",
            (kind_key(kind), namespace, name),
        ).fetchone()
        return Stored(row[0], kind, msgspec.json.decode(row[1])) if row else None

    def find_by_uid(self, uid: str) -> Stored | None:
        found = self._stored("SELECT id, kind, document FROM objects WHERE uid = ?", uid)
        return found[0] if found else None

    def has_owner(self, reference: Document) -> bool:
        """Say whether an owner is still there. Of kinds not kept here we cannot know: they count as there."""
        if (reference["apiVersion"], reference["kind"]) not in self._kept_names():
            return True
        row = self._connection.execute("SELECT 1 FROM objects WHERE uid = ?", (reference["uid"],))
        return row.fetchone() is not None

    def dependents(self, uid: str) -> list[Stored]:
        """The objects that name `uid` as one of their owners."""
        return self._stored(
            "SELECT id, kind, document FROM objects WHERE id IN (SELECT object FROM owners WHERE owner = ?)"
            " ORDER BY id",
            uid,
        )

    def contents(self, namespace: str) -> list[Stored]:
        """Every object in a namespace."""
        return self._stored(
            "SELECT id, kind, document FROM objects WHERE namespace = ? ORDER BY id", namespace
        )

    def is_blank(self) -> bool:
        """Say whether nothing is kept at all."""
        return self._connection.execute("SELECT 1 FROM objects LIMIT 1").fetchone() is None

    def is_empty(self, namespace: str) -> bool:
        row = self._connection.execute("SELECT 1 FROM objects WHERE namespace = ? LIMIT 1", (namespace,))
        return row.fetchone() is None

    def insert(self, kind: Kind, document: Document) -> Document:
        encoded = self._stamp(kind, document)
        metadata, now = document["metadata"], select(kind, document)
        cursor = self._connection.execute(
            "INSERT INTO objects (kind, namespace, name, uid, labels, document) VALUES (?, ?, ?, ?, ?, ?)",
            (
                kind_key(kind),
                metadata.get("namespace", ""),
                metadata["name"],
                metadata["uid"],
                msgspec.json.encode(now.labels),
                encoded,
            ),
        )
        assert cursor.lastrowid is not None
        self._put_owners(cursor.lastrowid, document)
        self._put_labels(Stored(cursor.lastrowid, kind, document), now.labels)
        self._record(kind, "ADDED", document, encoded, now=now, before=now)
        return document

    def replace(self, stored: Stored, document: Document) -> Document:
        encoded = self._stamp(stored.kind, document)
        now, before = select(stored.kind, document), select(stored.kind, stored.document)
        self._connection.execute("UPDATE objects SET document = ? WHERE id = ?", (encoded, stored.id))
        if now.labels != before.labels:
            self._connection.execute(
                "UPDATE objects SET labels = ? WHERE id = ?", (msgspec.json.encode(now.labels), stored.id)
            )
            self._remove_labels(stored, before.labels)
            self._put_labels(stored, now.labels)
        if _owner_uids(document) != _owner_uids(stored.document):
            self._connection.execute("DELETE FROM owners WHERE object = ?", (stored.id,))
            self._put_owners(stored.id, document)
        self._record(stored.kind, "MODIFIED", document, encoded, now=now, before=before)
        return document

    def remove(self, stored: Stored, document: Document) -> Document:
        """Remove the row; `document` is the last state that watchers are told."""
        encoded = self._stamp(stored.kind, document)
        self._connection.execute("DELETE FROM objects WHERE id = ?", (stored.id,))
        now, before = select(stored.kind, document), select(stored.kind, stored.document)
        self._remove_labels(stored, before.labels)
        self._record(stored.kind, "DELETED", document, encoded, now=now, before=before)
        return document

    def _kept_names(self) -> set[tuple[str, str]]:
        return {(kind.api_version, kind.kind) for kind in self._kinds.values()}

    def _stored(self, query: str, parameter: str) -> list[Stored]:
        rows = self._connection.execute(query, (parameter,)).fetchall()
        return [
            Stored(row, self._kinds[key], msgspec.json.decode(document))
            for row, key, document in rows
            if key in self._kinds
        ]

    def _stamp(self, kind: Kind, document: Document) -> bytes:
        """Give the document its resource version and encode it: once, for row, history and watchers."""
        self.revision += 1
        document["metadata"] = {**document["metadata"], "resourceVersion": str(self.revision)}
        encoded = msgspec.json.encode(document)
        if len(encoded) > self._max_bytes:
            raise TooLarge(
                f"{kind} {document['metadata']['name']} would be {len(encoded)} bytes;"
                f" an object may have {self._max_bytes}"
            )
        return encoded

    def _put_owners(self, id: int, document: Document) -> None:
        self._connection.executemany(
            "INSERT OR IGNORE INTO owners (owner, object) VALUES (?, ?)",
            [(owner, id) for owner in _owner_uids(document)],
        )

    def _put_labels(self, stored: Stored, labels: Mapping[str, str]) -> None:
        self._connection.executemany(
            "INSERT INTO labels (kind, label, namespace, name, object) VALUES (?, ?, ?, ?, ?)",
            [(*key, stored.id) for key in _label_keys(stored, labels)],
        )

    def _remove_labels(self, stored: Stored, labels: Mapping[str, str]) -> None:
        self._connection.executemany(
            "DELETE FROM labels WHERE kind = ? AND label = ? AND namespace = ? AND name = ?",
            _label_keys(stored, labels),
        )

    def _record(
        self,
        kind: Kind,
        type: ChangeType,
        document: Document,
        encoded: bytes,
        *,
        now: Selectable,
        before: Selectable,
    ) -> None:
        self._connection.execute(
            "INSERT INTO changes (revision, kind, namespace, name, type, document, before)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                self.revision,
                kind_key(kind),
                document["metadata"].get("namespace", ""),
                document["metadata"]["name"],
                type,
                encoded,
                None if now == before else msgspec.json.encode(before),
            ),
        )
        # Watchers share this document, so it is not the one that the writer gets back.
        shared = _decode(encoded)
        self.changes.append(Change(self.revision, kind, type, shared, encoded, now=now, before=before))


class Reader:
    """Consistent reads over one connection; one thread at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def close(self) -> None:
        self._connection.close()

    def find(self, kind: Kind, namespace: str, name: str) -> Document | None:
        row = self._connection.execute(
            "SELECT document FROM objects WHERE kind = ? AND namespace = ? AND name = ?",
            (kind_key(kind), namespace, name),
        ).fetchone()
        return _decode(row[0]) if row else None

    def scan(self, scan: Scan) -> Found:
        with self._snapshot() as revision:
            documents: list[Document] = []
            last: Key = ("", "")
            for key, document in self._matching(scan):
                if scan.limit and len(documents) == scan.limit:
                    remaining = 0 if scan.labels or scan.fields else self._count_after(scan, last)
                    return Found(documents, revision, last, remaining)
                documents.append(document)
                last = key
            return Found(documents, revision)

    def changes_after(
        self, kind: Kind, object: Key | None, revision: int, *, limit: int
    ) -> tuple[list[Change], int]:
        """The next changes of a kind, or of one object, and the revision up to which that is all there is."""
        where = "kind = ? AND revision > ?" + (" AND namespace = ? AND name = ?" if object else "")
        query = f"SELECT revision, type, document, before FROM changes WHERE {where}"  # noqa: S608 - our words
        with self._snapshot() as newest:
            rows = self._connection.execute(
                f"{query} ORDER BY revision LIMIT ?", (kind_key(kind), revision, *(object or ()), limit)
            ).fetchall()
        changes = [_change(kind, row) for row in rows]
        return changes, changes[-1].revision if len(changes) == limit else newest

    def bounds(self) -> tuple[int, int]:
        """The revision through which history was pruned, and the newest."""
        with self._snapshot() as newest:
            row = self._connection.execute("SELECT value FROM facts WHERE name = 'pruned'").fetchone()
            return int(row[0]), newest

    @contextmanager
    def _snapshot(self) -> Iterator[int]:
        self._connection.execute("BEGIN")
        try:
            row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'changes'")
            yield int(row.fetchone()[0])
        finally:
            self._connection.execute("COMMIT")

    def _matching(self, scan: Scan) -> Iterator[tuple[Key, Document]]:
        after = scan.after
        batch = scan.limit + 1 if scan.limit and scan.is_exact else _SCAN
        while True:
            rows = self._rows(scan, after, batch)
            for namespace, name, labels, encoded in rows:
                if scan.labels and not scan.labels.matches(_decode_labels(labels)):
                    continue
                document = _decode(encoded)
                if scan.fields and not scan.fields.matches(selectable_fields(scan.kind, document)):
                    continue
                yield (namespace, name), document
            if len(rows) < batch:
                return
            after = (rows[-1][0], rows[-1][1])

    def _rows(self, scan: Scan, after: Key | None, limit: int) -> list[tuple[str, str, bytes, bytes]]:
        labels = scan.labels.labels
        first, source = ("labels", "labels CROSS JOIN objects ON id = object") if labels else ("objects",) * 2
        where, parameters = _where(scan, after, table=first)
        if labels:
            where += f" AND label IN ({', '.join('?' * len(labels))})"
            parameters = (*parameters, *labels)
        query = (
            f"SELECT {first}.namespace, {first}.name, objects.labels, document FROM {source}"  # noqa: S608
            f" WHERE {where} ORDER BY {first}.namespace, {first}.name LIMIT ?"  # our words only
        )
        return self._connection.execute(query, (*parameters, limit)).fetchall()

    def _count_after(self, scan: Scan, last: Key) -> int:
        where, parameters = _where(scan, last)
        query = f"SELECT count(*) FROM objects WHERE {where}"  # noqa: S608 - our words only
        return int(self._connection.execute(query, parameters).fetchone()[0])


def _where(scan: Scan, after: Key | None, *, table: str = "objects") -> tuple[str, Sequence[str]]:
    terms, parameters = [f"{table}.kind = ?"], [kind_key(scan.kind)]
    if scan.namespace is not None:
        terms.append(f"{table}.namespace = ?")
        parameters.append(scan.namespace)
    if (name := scan.fields.pinned("metadata.name")) is not None:
        terms.append(f"{table}.name = ?")
        parameters.append(name)
    if after is not None:
        terms.append(f"({table}.namespace, {table}.name) > (?, ?)")
        parameters.extend(after)
    return " AND ".join(terms), parameters


def _label_keys(stored: Stored, labels: Mapping[str, str]) -> list[tuple[str, str, str, str]]:
    metadata, kind = stored.document["metadata"], kind_key(stored.kind)
    return [
        (kind, f"{key}={value}", metadata.get("namespace", ""), metadata["name"])
        for key, value in labels.items()
    ]


def _change(kind: Kind, row: tuple[int, ChangeType, bytes, bytes | None]) -> Change:
    revision, change, encoded, before = row
    document = _decode(encoded)
    now = select(kind, document)
    was = now if before is None else msgspec.json.decode(before, type=Selectable)
    return Change(revision, kind, change, document, encoded, now=now, before=was)


def _decode(encoded: bytes) -> Document:
    document: Document = msgspec.json.decode(encoded)
    return document


def _decode_labels(encoded: bytes) -> dict[str, str]:
    return msgspec.json.decode(encoded, type=dict[str, str])


def _owner_uids(document: Document) -> list[str]:
    return [owner["uid"] for owner in document["metadata"].get("ownerReferences") or []]
