"""The inventory's SQLite file: its tables, and the words in which one is refused.

How a file is opened, checked and migrated is `appliance.sqlite_file`'s. What can be derived again is written
without waiting for the disk; the writer asks for more where people wrote.
"""

import sqlite3
from pathlib import Path

from appliance.inventory.errors import InventoryDamaged, InventoryUnavailable
from appliance.sqlite_file import FileKind, Migration, SqliteFile

APPLICATION_ID = 0x534B4956  # "SKIV", so that another program's database is told apart

# `keys` finds an entry by one exact thing; `search` by any part of anything (trigrams).
ENTRIES = Migration(
    "0001-entries",
    (
        """CREATE TABLE entries (
             id INTEGER PRIMARY KEY AUTOINCREMENT,
             state TEXT NOT NULL, namespace TEXT NOT NULL DEFAULT '', name TEXT NOT NULL DEFAULT '',
             uid TEXT NOT NULL DEFAULT '', approval TEXT NOT NULL DEFAULT '',
             tpm_hash TEXT NOT NULL DEFAULT '', machine_hash TEXT NOT NULL DEFAULT '',
             serial TEXT NOT NULL DEFAULT '', manufacturer TEXT NOT NULL DEFAULT '',
             product TEXT NOT NULL DEFAULT '', asset_tag TEXT NOT NULL DEFAULT '',
             site TEXT NOT NULL DEFAULT '', line TEXT NOT NULL DEFAULT '',
             cell TEXT NOT NULL DEFAULT '', slot TEXT NOT NULL DEFAULT '',
             macs TEXT NOT NULL DEFAULT '[]', addresses TEXT NOT NULL DEFAULT '[]',
             labels TEXT NOT NULL DEFAULT '{}', first_seen TEXT NOT NULL, last_seen TEXT NOT NULL DEFAULT '',
             last_source TEXT NOT NULL DEFAULT '', is_missing INTEGER NOT NULL DEFAULT 0)""",
        "CREATE INDEX entries_by_name ON entries (name, id)",
        "CREATE INDEX entries_by_location ON entries (site, line, cell, slot)",
        "CREATE INDEX entries_by_last_seen ON entries (last_seen)",
        "CREATE TABLE facts (entry INTEGER PRIMARY KEY, document BLOB NOT NULL)",
        """CREATE TABLE keys (
             kind TEXT NOT NULL, value TEXT NOT NULL, entry INTEGER NOT NULL,
             PRIMARY KEY (kind, value, entry)) WITHOUT ROWID""",
        "CREATE INDEX keys_by_entry ON keys (entry)",
        "CREATE INDEX keys_by_value ON keys (value, entry)",
        """CREATE TABLE sightings (
             entry INTEGER NOT NULL, source TEXT NOT NULL, address TEXT NOT NULL, interface TEXT NOT NULL,
             first_seen TEXT NOT NULL, last_seen TEXT NOT NULL, times INTEGER NOT NULL,
             PRIMARY KEY (entry, source, address, interface)) WITHOUT ROWID""",
        """CREATE TABLE events (
             id INTEGER PRIMARY KEY AUTOINCREMENT, entry INTEGER NOT NULL, time TEXT NOT NULL,
             kind TEXT NOT NULL, what TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL,
             source TEXT NOT NULL)""",
        "CREATE INDEX events_by_entry ON events (entry, id)",
        """CREATE TABLE notes (
             id INTEGER PRIMARY KEY AUTOINCREMENT, entry INTEGER NOT NULL, time TEXT NOT NULL,
             author TEXT NOT NULL, text TEXT NOT NULL)""",
        "CREATE INDEX notes_by_entry ON notes (entry, id)",
        """CREATE TRIGGER notes_stay BEFORE DELETE ON notes
             BEGIN SELECT RAISE(ABORT, 'notes are never deleted'); END""",
        """CREATE TRIGGER notes_are_final BEFORE UPDATE OF time, author, text ON notes
             BEGIN SELECT RAISE(ABORT, 'notes are never changed'); END""",
        """CREATE TABLE conflicts (
             id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, value TEXT NOT NULL,
             one INTEGER NOT NULL, other INTEGER NOT NULL, since TEXT NOT NULL,
             is_open INTEGER NOT NULL DEFAULT 1, UNIQUE (kind, value, one, other))""",
        "CREATE INDEX conflicts_by_other ON conflicts (other)",
        "CREATE INDEX conflicts_by_one ON conflicts (one)",
        """CREATE TABLE positions (
             kind TEXT PRIMARY KEY, origin TEXT NOT NULL, version TEXT NOT NULL) WITHOUT ROWID""",
        """CREATE VIRTUAL TABLE search USING fts5 (
             name, serial, mac, ip, tag, location, label, more, tokenize = 'trigram')""",
    ),
)


class Database(SqliteFile):
    """The inventory's file, open; rows are read by their columns' names. Raises InventoryError's children."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, INVENTORY_FILE)

    def connect(self, *, read_only: bool = False) -> sqlite3.Connection:
        connection = super().connect(read_only=read_only)
        connection.row_factory = sqlite3.Row
        return connection


def _busy(path: Path) -> InventoryUnavailable:
    return InventoryUnavailable(
        f"The inventory {path} is in use by another program.", hint="Stop the appliance first."
    )


def _foreign(path: Path) -> InventoryDamaged:
    return InventoryDamaged(f"{path} is a database of another program.", hint="Move it away.")


def damaged(path: Path, problem: str) -> InventoryDamaged:
    """What to say of a file that is not sound, and the way out."""
    return InventoryDamaged(
        f"The inventory {path} is damaged: {problem.strip()}.",
        hint=f"Stop the appliance, then: skerry inventory repair --data {path.parent}",
    )


INVENTORY_FILE = FileKind(
    APPLICATION_ID,
    "skerry-inventory",
    (ENTRIES,),
    unavailable=lambda sentence: InventoryUnavailable(f"The inventory {sentence}."),
    busy=_busy,
    foreign=_foreign,
    damaged=damaged,
)
