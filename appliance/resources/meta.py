"""What every resource has in common: metadata, conditions, and the description of a kind.

A resource travels through the store as a `Document`, the plain JSON object a client sent, so that fields
we do not know survive. `decode` turns one into the kind's struct for code that reads it; nothing ever
encodes a struct back over a stored document: writers send patches of the fields they own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec

# The one deliberate `Any` outside a library's door: a JSON object as a client sent it.
Document: TypeAlias = dict[str, Any]

ConditionStatus = Literal["True", "False", "Unknown"]


class OwnerReference(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """metav1.OwnerReference."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """metav1.ObjectMeta: the part that we read. Times are RFC 3339 text, UTC."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    finalizers: list[str] = msgspec.field(default_factory=list)
    owner_references: list[OwnerReference] = msgspec.field(default_factory=list)


class Condition(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """metav1.Condition."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""
    last_transition_time: str = ""
    observed_generation: int = 0


class ObjectReference(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """core/v1 ObjectReference: the fields that Elemental fills."""

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class LabelSelectorRequirement(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[str] = msgspec.field(default_factory=list)


class LabelSelector(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """metav1.LabelSelector. An empty selector matches everything."""

    match_labels: dict[str, str] = msgspec.field(default_factory=dict)
    match_expressions: list[LabelSelectorRequirement] = msgspec.field(default_factory=list)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether `labels` satisfy every requirement."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            _is_met(requirement, labels) for requirement in self.match_expressions
        )


class Resource(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What each kind's struct adds `spec` and `status` to."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """Mixed into a struct whose other fields, which we do not read, are kept as they come."""


R = TypeVar("R", bound=Resource)


@dataclass(frozen=True, slots=True)
class Column:
    """A printer column: `path` is a dotted path into the document, `wide` hides it from the narrow table.

    `type` is the Table API's: string, integer, boolean or date. A path step `[Type]` picks the condition
    of that type from a list, e.g. `status.conditions[Ready].status`.
    """

    name: str
    path: str
    type: Literal["string", "integer", "boolean", "date"] = "string"
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind as the API machinery sees it: its names, its struct, its columns.

    `is_partial`: the struct is only the part of a foreign kind that we read; the rest is kept as sent.
    """

    group: str
    version: str
    kind: str
    plural: str
    struct: type[Resource]
    short_names: tuple[str, ...] = ()
    has_status: bool = True
    namespaced: bool = True
    is_partial: bool = False
    columns: tuple[Column, ...] = ()

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def __str__(self) -> str:
        return self.kind


def decode(struct: type[R], document: Document) -> R:
    """Turn a stored document into its struct; unknown fields are ignored. Raises msgspec.ValidationError."""
    return msgspec.convert(document, struct)


def find_condition(conditions: list[Condition], type: str) -> Condition | None:
    """Return the condition of that type, if it was ever set."""
    return next((condition for condition in conditions if condition.type == type), None)


def _is_met(requirement: LabelSelectorRequirement, labels: Mapping[str, str]) -> bool:
    match requirement.operator:
        case "In":
            return labels.get(requirement.key) in requirement.values
        case "NotIn":
            return labels.get(requirement.key) not in requirement.values
        case "Exists":
            return requirement.key in labels
        case "DoesNotExist":
            return requirement.key not in labels
