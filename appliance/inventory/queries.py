"""What people type into the search, as terms; and the questions to the index that answer them.

`ACME-17`, `00:1b:21`, `line=press`, `serial:4711 site:north`: words may be any part of anything, and all must
be found. Words of one or two letters alone are beginnings of names, serials, tags, places and addresses.
"""

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.inventory.errors import EntryInvalid
from appliance.inventory.rows import NAMING, render_key

MAX_QUERY = 200
MAX_TERMS = 8
TRIGRAM = 3
MAX_NARROWED = 2000  # of what long words found, how many are looked through for the short ones
# What may stand before a colon, and the column of the index that it means.
FIELDS = {
    **{word: word for word in ("name", "serial", "mac", "ip", "tag", "location", "label")},
    **dict.fromkeys(("site", "line", "cell", "slot"), "location"),
    "text": "more",
    "note": "more",
}
BEGINNINGS = ("name", "serial", "tag", "ip", "mac", "location")
# The columns that name a machine; the rest mentions things.
NAMED = "{name serial mac ip tag location label} : "
_MAC_PART = re.compile(r"[0-9a-f]{2}([:-][0-9a-f]{2})+|[0-9a-f]{4}(\.[0-9a-f]{1,4})+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Term:
    text: str
    field: str = ""


def parse_query(text: str) -> list[Term]:
    """Raises EntryInvalid."""
    words = text.split()
    if not words or len(text) > MAX_QUERY or len(words) > MAX_TERMS:
        raise EntryInvalid(f"A search is 1 to {MAX_TERMS} words, at most {MAX_QUERY} characters.")
    return [_parse_word(word) for word in words]


def search(connection: sqlite3.Connection, text: str, *, limit: int) -> list[int]:
    """Ids of what was found, at most `limit`: what it names exactly first, what only mentions it last."""
    terms = parse_query(text)
    found = _find_exact(connection, text.strip()) if len(terms) == 1 else []
    for scope in (NAMED, ""):
        if len(found) < limit:
            found = list(dict.fromkeys((*found, *_find(connection, terms, scope=scope, limit=limit))))
    return found[:limit]


def _find(connection: sqlite3.Connection, terms: Sequence[Term], *, scope: str, limit: int) -> list[int]:
    """Long words by the index; short ones among what those found, or else as beginnings."""
    short = [term for term in terms if len(term.text) < TRIGRAM]
    matched = [expression for term in terms if (expression := render_match(term, scope=scope))]
    if not matched:
        wanted = " INTERSECT ".join(_beginning(term) for term in short)
        values = [value for term in short for value in _range(term.text.casefold())]
        rows = connection.execute(f"{wanted} LIMIT ?", (*values, limit))
    else:
        narrowed = "".join(f" AND instr(lower({_text_of(term)}), ?)" for term in short)
        rows = connection.execute(
            "SELECT number FROM (SELECT rowid AS number, * FROM search WHERE search MATCH ? LIMIT ?)"  # noqa: S608
            f" WHERE 1{narrowed} LIMIT ?",
            (
                " AND ".join(matched),
                MAX_NARROWED if short else limit,
                *(term.text.lower() for term in short),
                limit,
            ),
        )
    return [row[0] for row in rows]


def render_match(term: Term, *, scope: str = "") -> str:
    """The term in FTS5's language; empty when it is too short for the index.

    `scope` are the columns in which a term is looked for that does not say one itself.
    """
    if len(term.text) < TRIGRAM:
        return ""
    phrase = _quote(term.text)
    columns = f"{term.field} : " if term.field else scope
    bare = re.sub(r"[:.-]", "", term.text)
    if term.field in ("", "mac") and _MAC_PART.fullmatch(term.text) and len(bare) >= TRIGRAM:
        return f"({columns}{phrase} OR mac : {_quote(bare)})"
    return f"{columns}{phrase}"


def _parse_word(word: str) -> Term:
    field, colon, rest = word.partition(":")
    if colon and rest and field.lower() in FIELDS:
        return Term(rest, FIELDS[field.lower()])
    return Term(word, "label" if "=" in word.strip("=") else "")


def _find_exact(connection: sqlite3.Connection, word: str) -> list[int]:
    """Machines of which this is the whole name, serial, MAC, tag or address."""
    found: list[int] = []
    for kind in NAMING:
        rows = connection.execute(
            "SELECT entry FROM keys WHERE kind = ? AND value = ? LIMIT 20", (kind, render_key(kind, word))
        )
        found += [row[0] for row in rows]
    return found


def _beginning(term: Term) -> str:
    kinds: Sequence[str] = (term.field,) if term.field in BEGINNINGS else BEGINNINGS
    names = ", ".join(f"'{kind}'" for kind in kinds)
    return f"SELECT entry FROM keys WHERE kind IN ({names}) AND value >= ? AND value < ?"  # noqa: S608


def _range(text: str) -> tuple[str, str]:
    return text, text + "\U0010ffff"


def _text_of(term: Term) -> str:
    columns = (
        (term.field,) if term.field else ("name", "serial", "mac", "ip", "tag", "location", "label", "more")
    )
    return " || ' ' || ".join(columns)


def _quote(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
