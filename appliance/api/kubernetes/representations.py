"""How objects are shown: whole, as rows of a Table, or only their metadata. The Accept header chooses.

Pure: documents and the time in, documents out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from appliance.api.kubernetes.statuses import NotAcceptable
from appliance.resources.meta import Column, Document, Kind
from appliance.store.base import Page

Shape = Literal["object", "table", "metadata"]
IncludeObject = Literal["Metadata", "Object", "None"]

_META_VERSIONS = ("v1", "v1beta1")


@dataclass(frozen=True, slots=True)
class Representation:
    shape: Shape = "object"
    version: str = "v1"  # of meta.k8s.io, for tables and metadata
    include: IncludeObject = "Metadata"

    @property
    def api_version(self) -> str:
        return f"meta.k8s.io/{self.version}"


def choose_representation(accept: str, include_object: str = "") -> Representation:
    """Take the first thing the client accepts that we can write. Raises NotAcceptable."""
    include: IncludeObject = (
        "Object" if include_object == "Object" else "None" if include_object == "None" else "Metadata"
    )
    for offer in (accept or "*/*").split(","):
        media_type, *parameters = (part.strip() for part in offer.split(";"))
        if media_type not in ("application/json", "application/*", "*/*"):
            continue
        wanted = dict(parameter.partition("=")[::2] for parameter in parameters)
        version = wanted.get("v", "v1")
        match wanted.get("as", ""):
            case "":
                return Representation(include=include)
            case "Table" if version in _META_VERSIONS:
                return Representation("table", version, include)
            case "PartialObjectMetadata" | "PartialObjectMetadataList" if version in _META_VERSIONS:
                return Representation("metadata", version, include)
    raise NotAcceptable(f"nothing of {accept[:200]!r} is written here; application/json is")


def show_object(representation: Representation, kind: Kind, document: Document, *, now: datetime) -> Document:
    """One object, as the client wants it."""
    match representation.shape:
        case "table":
            version = document["metadata"].get("resourceVersion", "")
            return _table(representation, kind, [document], {"resourceVersion": version}, now=now)
        case "metadata":
            return partial_metadata(representation, document)
        case "object":
            return document


def show_page(representation: Representation, kind: Kind, page: Page, *, now: datetime) -> Document:
    """A page of a list, as the client wants it."""
    metadata: Document = {"resourceVersion": page.resource_version}
    if page.continue_token:
        metadata["continue"] = page.continue_token
        if page.remaining:
            metadata["remainingItemCount"] = page.remaining
    match representation.shape:
        case "table":
            return _table(representation, kind, page.items, metadata, now=now)
        case "metadata":
            items = [partial_metadata(representation, document) for document in page.items]
            return {
                "kind": "PartialObjectMetadataList",
                "apiVersion": representation.api_version,
                "metadata": metadata,
                "items": items,
            }
        case "object":
            return {
                "kind": f"{kind.kind}List",
                "apiVersion": kind.api_version,
                "metadata": metadata,
                "items": page.items,
            }


def show_bookmark(representation: Representation, document: Document) -> Document:
    """A bookmark's object: all it says is a version."""
    if representation.shape != "table":
        return document
    return {
        "kind": "Table",
        "apiVersion": representation.api_version,
        "metadata": document["metadata"],
        "columnDefinitions": [],
        "rows": [],
    }


def partial_metadata(representation: Representation, document: Document) -> Document:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": representation.api_version,
        "metadata": document["metadata"],
    }


def value_at(document: Document, path: str) -> object:
    """What stands at a column's path, or None; `conditions[Ready]` picks the condition of that type."""
    value: object = document
    for step in path.split("."):
        name, _, wanted = step.partition("[")
        value = value.get(name) if isinstance(value, dict) else None
        if wanted:
            value = _of_type(value, wanted.removesuffix("]"))
    return value


def render_age(text: str, now: datetime) -> str:
    """How long ago an RFC 3339 time was, as kubectl says it: 45s, 3m12s, 5h, 2d4h."""
    try:
        then = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return "<invalid>"
    return _render_duration(now - (then if then.tzinfo else then.replace(tzinfo=UTC)))


def _table(
    representation: Representation,
    kind: Kind,
    documents: Sequence[Document],
    metadata: Document,
    *,
    now: datetime,
) -> Document:
    return {
        "kind": "Table",
        "apiVersion": representation.api_version,
        "metadata": metadata,
        "columnDefinitions": [
            {
                "name": "Name",
                "type": "string",
                "format": "name",
                "description": f"Name of the {kind}",
                "priority": 0,
            },
            *map(_column_definition, kind.columns),
        ],
        "rows": [_row(representation, kind, document, now=now) for document in documents],
    }


def _column_definition(column: Column) -> Document:
    return {
        "name": column.name,
        "type": column.type,
        "format": "",
        "description": column.path,
        "priority": 1 if column.wide else 0,
    }


def _row(representation: Representation, kind: Kind, document: Document, *, now: datetime) -> Document:
    row: Document = {
        "cells": [
            document["metadata"]["name"],
            *(_cell(column, document, now=now) for column in kind.columns),
        ]
    }
    match representation.include:
        case "Metadata":
            row["object"] = partial_metadata(representation, document)
        case "Object":
            row["object"] = document
        case "None":
            row["object"] = None
    return row


def _cell(column: Column, document: Document, *, now: datetime) -> object:
    value = value_at(document, column.path)
    if value is None or value == "":
        return None
    if column.type == "date":
        return render_age(str(value), now)
    return value if isinstance(value, str | int | bool) else str(value)


def _of_type(value: object, wanted: str) -> object:
    items = value if isinstance(value, list) else []
    return next((item for item in items if isinstance(item, dict) and item.get("type") == wanted), None)


def _render_duration(age: timedelta) -> str:
    seconds = int(age.total_seconds())
    if seconds < -1:
        return "<invalid>"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    return f"{days // 365}y{days % 365}d"
