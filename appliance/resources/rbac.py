"""rbac.authorization.k8s.io/v1: Role and RoleBinding, which say who may do what in a namespace."""

import msgspec

from appliance.resources.meta import Column, Kind, Resource

GROUP = "rbac.authorization.k8s.io"
VERSION = "v1"


class PolicyRule(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is allowed. `*` stands for all; no resource names means any name."""

    verbs: list[str] = msgspec.field(default_factory=list)
    api_groups: list[str] = msgspec.field(default_factory=list)
    resources: list[str] = msgspec.field(default_factory=list)
    resource_names: list[str] = msgspec.field(default_factory=list)
    non_resource_urls: list[str] = msgspec.field(name="nonResourceURLs", default_factory=list)


class Role(Resource, frozen=True, kw_only=True):
    rules: list[PolicyRule] = msgspec.field(default_factory=list)


class RoleReference(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    kind: str
    name: str
    api_group: str = GROUP


class Subject(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """`kind` is User, Group or ServiceAccount; only the last has a namespace."""

    kind: str
    name: str
    namespace: str = ""
    api_group: str = ""


class RoleBinding(Resource, frozen=True, kw_only=True, rename="camel"):
    role_ref: RoleReference
    subjects: list[Subject] = msgspec.field(default_factory=list)


ROLE = Kind(
    group=GROUP,
    version=VERSION,
    kind="Role",
    plural="roles",
    struct=Role,
    is_partial=True,
    has_status=False,
    columns=(Column("AGE", "metadata.creationTimestamp", type="date"),),
)
ROLE_BINDING = Kind(
    group=GROUP,
    version=VERSION,
    kind="RoleBinding",
    plural="rolebindings",
    struct=RoleBinding,
    is_partial=True,
    has_status=False,
    columns=(
        Column("ROLE", "roleRef.name"),
        Column("AGE", "metadata.creationTimestamp", type="date"),
    ),
)
