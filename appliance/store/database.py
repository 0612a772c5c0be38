"""The embedded store's SQLite file: its tables, and the words in which one is refused.

How a file is opened, checked and migrated is `appliance.sqlite_file`'s. Here nobody knows what a resource is.
"""

from pathlib import Path

from appliance.sqlite_file import FileKind, Migration, SqliteFile
from appliance.store.base import Damaged, Unavailable

APPLICATION_ID = 0x534B5259  # "SKRY", so that another program's database is told apart

# AUTOINCREMENT is what keeps a resource version from ever being used twice.
OBJECTS_AND_CHANGES = Migration(
    "0001-objects-and-changes",
    (
        """CREATE TABLE objects (
             id INTEGER PRIMARY KEY,
             kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
             uid TEXT NOT NULL, labels BLOB NOT NULL, document BLOB NOT NULL)""",
        "CREATE UNIQUE INDEX objects_by_name ON objects (kind, namespace, name)",
        "CREATE UNIQUE INDEX objects_by_uid ON objects (uid)",
        "CREATE INDEX objects_by_namespace ON objects (namespace)",
        """CREATE TABLE owners (
             owner TEXT NOT NULL, object INTEGER NOT NULL REFERENCES objects (id) ON DELETE CASCADE,
             PRIMARY KEY (owner, object)) WITHOUT ROWID""",
        "CREATE INDEX owners_by_object ON owners (object)",
        """CREATE TABLE changes (
             revision INTEGER PRIMARY KEY AUTOINCREMENT,
             kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
             type TEXT NOT NULL, document BLOB NOT NULL, before BLOB)""",
        "CREATE INDEX changes_by_kind ON changes (kind, revision)",
        "CREATE INDEX changes_by_name ON changes (kind, namespace, name, revision)",
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT INTO facts VALUES ('pruned', 0)",
        # Version 0 means "any" on the wire, so an empty store is at version 1.
        "INSERT INTO sqlite_sequence (name, seq) VALUES ('changes', 1)",
    ),
)
# Which objects carry a label, in the order of a list. Its rows come and go with the objects' own.
LABELS = Migration(
    "0002-labels",
    (
        """CREATE TABLE labels (
             kind TEXT NOT NULL, label TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
             object INTEGER NOT NULL, PRIMARY KEY (kind, label, namespace, name)) WITHOUT ROWID""",
        """INSERT INTO labels
             SELECT kind, each.key || '=' || each.value, namespace, name, objects.id
             FROM objects, json_each(CAST(labels AS TEXT)) AS each""",
    ),
)


class Database(SqliteFile):
    """The store's file, open. Raises Unavailable or Damaged."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, STORE_FILE)


def _busy(path: Path) -> Unavailable:
    return Unavailable(
        f"the store {path} is in use by another program", hint="only one appliance may serve a data folder"
    )


def _foreign(path: Path) -> Damaged:
    return Damaged(f"{path} is a database of another program", hint="give another data folder")


def _damaged(path: Path, problem: str) -> Damaged:
    return Damaged(
        f"the store {path} is damaged: {problem.strip()}",
        hint="restore the file from a backup, or move it and its -wal file away to start empty",
    )


STORE_FILE = FileKind(
    APPLICATION_ID,
    "skerry",
    (OBJECTS_AND_CHANGES, LABELS),
    unavailable=lambda sentence: Unavailable(f"the store {sentence}"),
    busy=_busy,
    foreign=_foreign,
    damaged=_damaged,
)
