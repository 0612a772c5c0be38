"""Documents against Kubernetes' rules for metadata and against their kind's struct.

Pure. A refusal names the field by its path, in Kubernetes' words (`appliance.resources.violations`). What is
dropped and filled in before is `appliance.resources.tidying`'s.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import TypeAlias

import msgspec

from appliance.resources.meta import Document, Kind
from appliance.resources.schemas import object_schema
from appliance.resources.tidying import prune, tidy
from appliance.resources.violations import duplicates, violations
from appliance.store.base import Invalid, Malformed

MAX_DEPTH = 100
_MAX_ANNOTATIONS_BYTES = 256 * 1024
_SUBDOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_KEY = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")

Container: TypeAlias = dict[str, object] | list[object]

# Of many violations, as many are told as fit on a screen.
_TOLD = 8


def check_shape(kind: Kind, document: Document) -> None:
    """Check what every rule relies on: kind, metadata, depth. Raises Invalid."""
    if not isinstance(document, dict):
        raise Malformed(f"a {kind} is a JSON object")
    check_depth(document)
    for field, expected in (("apiVersion", kind.api_version), ("kind", kind.kind)):
        if document.get(field, expected) != expected:
            raise Malformed(f"{field}: this is the place for {expected!r}, not {document[field]!r}")
    if not isinstance(document.get("metadata"), dict):
        raise Invalid(f"metadata: a {kind} needs metadata with a name")


def check_depth(value: object) -> None:
    """Check that a JSON value is not nested absurdly. Raises Malformed."""
    level: list[Container] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise Malformed(f"the object is nested more than {MAX_DEPTH} levels deep")


def normalized(kind: Kind, document: Document) -> Document:
    """The document as it is stored: its kind spelled out, tidied, a Secret's `stringData` encoded."""
    return _complete(kind, tidy(kind, document))


def normalized_intent(kind: Kind, intent: Document) -> Document:
    """The same of what somebody applies, without the defaults: those are filled into the outcome."""
    return _complete(kind, prune(kind, intent))


def _complete(kind: Kind, document: Document) -> Document:
    complete: Document = {"apiVersion": kind.api_version, "kind": kind.kind, **document}
    return _completed_secret(complete) if kind.group == "" and kind.kind == "Secret" else complete


def _completed_secret(document: Document) -> Document:
    completed = {"type": "Opaque", **document}
    given = completed.pop("stringData", None)
    if isinstance(given, dict):
        completed["data"] = {**(completed.get("data") or {}), **_encoded(given)}
    return completed


def check_document(kind: Kind, document: Document) -> None:
    """Check a whole document. Raises Invalid with the field's path."""
    _check_metadata(kind, document["metadata"])
    try:
        msgspec.convert(document, kind.struct)
    except msgspec.ValidationError as error:
        found = list(islice(violations(document, object_schema(kind)), _TOLD))
        raise Invalid("; ".join(found) or _sentence(str(error))) from error
    _check_conditions(document)
    if kind.group == "" and kind.kind == "Secret":
        _check_secret(document)


def check_name(kind: Kind, name: str) -> None:
    """Raise Invalid unless `name` can be an object's name."""
    pattern = _LABEL if kind.kind == "Namespace" else _SUBDOMAIN
    if not pattern.fullmatch(name):
        raise Invalid(
            f"metadata.name: {name[:260]!r} cannot be a name",
            hint="use small letters, digits, '-' and '.', and begin and end with a letter or digit",
        )


def _check_metadata(kind: Kind, metadata: Document) -> None:
    check_name(kind, metadata.get("name", ""))
    namespace = metadata.get("namespace", "")
    if kind.namespaced and not (isinstance(namespace, str) and _LABEL.fullmatch(namespace)):
        raise Invalid(f"metadata.namespace: {namespace!r} cannot be the namespace of a {kind}")
    if not kind.namespaced and namespace:
        raise Invalid(f"metadata.namespace: a {kind} has no namespace")
    for key, value in _strings(metadata, "labels"):
        _check_key(key, "metadata.labels")
        if not _LABEL_VALUE.fullmatch(value):
            raise Invalid(f"metadata.labels[{key}]: {value[:80]!r} cannot be a label's value")
    annotations = list(_strings(metadata, "annotations"))
    for key, _ in annotations:
        _check_key(key.lower(), "metadata.annotations")
    if sum(len(key) + len(value) for key, value in annotations) > _MAX_ANNOTATIONS_BYTES:
        raise Invalid(f"metadata.annotations: more than {_MAX_ANNOTATIONS_BYTES} bytes together")


def _strings(metadata: Document, field: str) -> Iterator[tuple[str, str]]:
    values = metadata.get(field) or {}
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise Invalid(f"metadata.{field}: expected an object of texts")
    yield from values.items()


def _check_key(key: str, where: str) -> None:
    if not _is_key(key):
        raise Invalid(f"{where}: {key[:260]!r} cannot be a key")


@lru_cache(maxsize=4096)
def _is_key(key: str) -> bool:
    """The same few keys are on all of a fleet's objects."""
    prefix, slash, name = key.rpartition("/")
    return bool(_LABEL_KEY.fullmatch(name) and (not slash or _SUBDOMAIN.fullmatch(prefix)))


def _check_conditions(document: Document) -> None:
    status = document.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    if not isinstance(conditions, list):
        return
    types = [str(condition.get("type")) for condition in conditions if isinstance(condition, dict)]
    if len(set(types)) < len(types):
        raise Invalid("; ".join(duplicates(conditions, ["type"], "status.conditions")))


def _check_secret(document: Document) -> None:
    for key, value in (document.get("data") or {}).items():
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise Invalid(f"data[{key}]: the value is not base64") from None


def _encoded(texts: Document) -> Document:
    if not all(isinstance(value, str) for value in texts.values()):
        raise Invalid("stringData: expected an object of texts")
    return {key: base64.b64encode(value.encode()).decode() for key, value in texts.items()}


def _sentence(message: str) -> str:
    """`Expected `int`, got `str` - at `$.spec.size`` becomes `spec.size: expected int, got str`."""
    problem, separator, path = message.partition(" - at `$")
    text = problem[:1].lower() + problem[1:].replace("`", "")
    return f"{path.strip('`').removeprefix('.')}: {text}" if separator else text
