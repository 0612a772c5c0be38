"""Label and field selectors in Kubernetes' text form: parsed once, matched against many objects.

Pure. Which fields of a kind can be selected is decided here too; anything else is refused by name, as
Kubernetes does, rather than matching nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from appliance.resources.meta import Document, Kind
from appliance.store.base import Malformed

MAX_SELECTOR_LENGTH = 16 * 1024

Operator = Literal["in", "notin", "exists", "absent", "gt", "lt"]

_KEY = r"(?P<key>(?:[A-Za-z0-9][-A-Za-z0-9.]{0,252}/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)"
_VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
_EXISTS = re.compile(rf"(?P<absent>!?)\s*{_KEY}")
_EQUALS = re.compile(rf"{_KEY}\s*(?P<operator>==|=|!=)\s*(?P<value>{_VALUE})")
_IN_SET = re.compile(rf"{_KEY}\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)")
_COMPARE = re.compile(rf"{_KEY}\s*(?P<operator>[<>])\s*(?P<value>-?[0-9]{{1,18}})")
_PARTS = re.compile(r",(?![^()]*\))")  # commas that are not inside a set

_COMMON_FIELDS = ("metadata.name", "metadata.namespace")
_OWN_FIELDS: Mapping[str, tuple[str, ...]] = {
    "Secret": ("type",),
    "Event": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "reason",
        "type",
    ),
}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term of a selector; every term must be met."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def is_met(self, values: Mapping[str, str]) -> bool:
        """A key that is absent meets `notin`, and never `gt` or `lt`."""
        match self.operator:
            case "in":
                return values.get(self.key) in self.values
            case "notin":
                return values.get(self.key) not in self.values
            case "exists":
                return self.key in values
            case "absent":
                return self.key not in values
            case "gt" | "lt":
                return _compares(self.operator, values.get(self.key), int(self.values[0]))


@dataclass(frozen=True, slots=True)
class Selector:
    """A parsed selector. Without requirements it matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.requirements)

    def matches(self, values: Mapping[str, str]) -> bool:
        """Say whether the labels (or the selectable fields) meet every requirement."""
        return all(requirement.is_met(values) for requirement in self.requirements)

    @property
    def labels(self) -> tuple[str, ...]:
        """As `key=value`, labels of which everything selected carries one; empty when there are none such."""
        choices = [requirement for requirement in self.requirements if requirement.operator == "in"]
        if not choices:
            return ()
        narrowest = min(choices, key=lambda requirement: len(requirement.values))
        return tuple(f"{narrowest.key}={value}" for value in dict.fromkeys(narrowest.values))

    def pinned(self, key: str) -> str | None:
        """The single value that `key` must have, when the selector says so."""
        for requirement in self.requirements:
            if requirement.key == key and requirement.operator == "in" and len(requirement.values) == 1:
                return requirement.values[0]
        return None


def parse_label_selector(text: str) -> Selector:
    """Parse `a=b,c!=d,e in (x,y),f notin (z),g,!h,i>3`. Raises Malformed."""
    return Selector(tuple(_parse_label_term(term) for term in _split(text)))


def parse_field_selector(text: str, kind: Kind) -> Selector:
    """Parse `metadata.name=x,type!=y`. Raises Malformed, also for a field the kind cannot be selected by."""
    return Selector(tuple(_parse_field_term(term, kind) for term in _split(text)))


def selectable_fields(kind: Kind, document: Document) -> dict[str, str]:
    """The fields of `document` that a field selector may name."""
    return {path: _value_at(document, path) for path in _fields_of(kind)}


def _split(text: str) -> list[str]:
    if len(text) > MAX_SELECTOR_LENGTH:
        raise Malformed(f"the selector is longer than {MAX_SELECTOR_LENGTH} characters")
    return [term.strip() for term in _PARTS.split(text)] if text.strip() else []


def _parse_label_term(term: str) -> Requirement:
    if found := _EQUALS.fullmatch(term):
        operator: Operator = "notin" if found["operator"] == "!=" else "in"
        return Requirement(found["key"], operator, (found["value"],))
    if found := _IN_SET.fullmatch(term):
        values = tuple(value.strip() for value in found["values"].split(","))
        if all(re.fullmatch(_VALUE, value) for value in values):
            return Requirement(found["key"], "in" if found["operator"] == "in" else "notin", values)
    elif found := _COMPARE.fullmatch(term):
        return Requirement(found["key"], "gt" if found["operator"] == ">" else "lt", (found["value"],))
    elif found := _EXISTS.fullmatch(term):
        return Requirement(found["key"], "absent" if found["absent"] else "exists")
    raise Malformed(
        f"the label selector term {term!r} cannot be read",
        hint="terms look like a=b, a!=b, a in (b,c), a notin (b,c), a, !a; commas between them",
    )


def _parse_field_term(term: str, kind: Kind) -> Requirement:
    found = re.fullmatch(r"(?P<path>[A-Za-z.]+)\s*(?P<operator>==|=|!=)\s*(?P<value>.*)", term)
    if found is None:
        raise Malformed(f"the field selector term {term!r} cannot be read", hint="terms look like path=value")
    if found["path"] not in _fields_of(kind):
        raise Malformed(
            f"{kind.plural} cannot be selected by the field {found['path']!r}",
            hint=f"these can: {', '.join(_fields_of(kind))}",
        )
    value = re.sub(r"\\([\\,=])", r"\1", found["value"])
    return Requirement(found["path"], "notin" if found["operator"] == "!=" else "in", (value,))


def _fields_of(kind: Kind) -> tuple[str, ...]:
    return (*_COMMON_FIELDS, *(_OWN_FIELDS.get(kind.kind, ()) if not kind.group else ()))


def _value_at(document: Document, path: str) -> str:
    value: object = document
    for step in path.split("."):
        value = value.get(step, "") if isinstance(value, dict) else ""
    return value if isinstance(value, str) else ""


def _compares(operator: Literal["gt", "lt"], value: str | None, limit: int) -> bool:
    if value is None or not re.fullmatch(r"-?[0-9]{1,18}", value):
        return False
    return int(value) > limit if operator == "gt" else int(value) < limit
