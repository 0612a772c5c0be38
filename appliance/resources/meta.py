"""What every resource has in common: metadata, conditions, and the description of a kind.

A resource travels through the store as a `Document`, the plain JSON object a client sent, so that fields
we do not know survive. `decode` turns one into the kind's struct for code that reads it; nothing ever
encodes a struct back over a stored document: writers send patches of the fields they own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

# The one deliberate `Any` outside a library's door: a JSON object as a client sent it.
Document: TypeAlias = dict[str, Any]

ConditionStatus = Literal["True", "False", "Unknown"]

_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_CONDITION_TYPE = rf"^({_SUBDOMAIN}/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])\Z"
_REASON = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?\Z"


class OwnerReference(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """metav1.OwnerReference.

    api_version: Group and version of the owner.
    kind: Kind of the owner.
    name: Name of the owner, in the same namespace.
    uid: Which object of that name is meant.
    controller: Whether the owner is the one that keeps this object up to date.
    block_owner_deletion: Whether the owner waits for this object when it is deleted in the foreground.
    """

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """metav1.ObjectMeta: the part that we read. Times are RFC 3339 text, UTC.

    name: Unique within kind and namespace; never changes.
    generate_name: Beginning of a name that the server completes.
    namespace: Where the object lives.
    uid: Tells this object from an earlier one of the same name.
    resource_version: Changes with every write; for conflicts and watches.
    generation: Counts the changes of what is wanted.
    creation_timestamp: When it was made.
    deletion_timestamp: When its deletion was asked for.
    labels: Short texts to select by.
    annotations: Texts that nobody selects by.
    finalizers: Who must still clean up before it can go.
    owner_references: Objects it goes together with.
    """

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
    """metav1.Condition: one aspect of the state.

    type: Name of the aspect.
    status: True, False or Unknown.
    reason: The cause in one word, for programs.
    message: The cause in a sentence, for people.
    last_transition_time: When the status last changed.
    observed_generation: The generation that this was found for.
    """

    type: Annotated[str, Meta(max_length=316, pattern=_CONDITION_TYPE)]
    status: ConditionStatus
    reason: Annotated[str, Meta(min_length=1, max_length=1024, pattern=_REASON)]
    message: Annotated[str, Meta(max_length=32768)] = ""
    last_transition_time: str = ""
    observed_generation: Annotated[int, Meta(ge=0)] = 0


class ObjectReference(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """core/v1 ObjectReference: the fields that Elemental fills.

    api_version: Group and version of what is meant.
    kind: Kind of what is meant.
    namespace: Namespace of what is meant.
    name: Name of what is meant.
    uid: Which object of that name is meant.
    resource_version: Which version of it is meant.
    field_path: Which part of it is meant.
    """

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    resource_version: str = ""
    field_path: str = ""


class LabelSelectorRequirement(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One requirement on a label.

    key: The label.
    operator: In, NotIn, Exists or DoesNotExist.
    values: The values that In and NotIn compare with.
    """

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[str] = msgspec.field(default_factory=list)


class LabelSelector(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """metav1.LabelSelector. An empty selector matches everything.

    match_labels: Labels that must have exactly these values.
    match_expressions: Further requirements; all must hold.
    """

    match_labels: dict[str, str] = msgspec.field(default_factory=dict)
    match_expressions: list[LabelSelectorRequirement] = msgspec.field(default_factory=list)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether `labels` satisfy every requirement."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            _is_met(requirement, labels) for requirement in self.match_expressions
        )


class Resource(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What each kind's struct adds `spec` and `status` to.

    api_version: Group and version of this kind.
    kind: The kind.
    metadata: Name, labels and the like.
    spec: What is wanted.
    status: What the controllers found.
    """

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
