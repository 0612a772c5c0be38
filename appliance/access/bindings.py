"""What the Roles and RoleBindings of one namespace give a caller. Pure.

A binding may also name a built-in role (as a ClusterRole: viewer, operator or admin), which then counts in
that namespace only. A binding to a role that is not there gives nothing, as in Kubernetes.
"""

from collections.abc import Iterable, Sequence

from appliance.access.roles import ROLES
from appliance.access.rules import ACCOUNT_PREFIX, Caller, Grant
from appliance.resources.rbac import Role, RoleBinding, Subject


def bound_grants(
    caller: Caller, namespace: str, *, roles: Iterable[Role], bindings: Sequence[RoleBinding]
) -> list[Grant]:
    """The grants of all bindings that name the caller."""
    declared = {role.metadata.name: tuple(role.rules) for role in roles}
    grants = []
    for binding in bindings:
        if any(_is_meant(subject, caller, namespace) for subject in binding.subjects):
            reference = binding.role_ref
            known = declared if reference.kind == "Role" else ROLES if reference.kind == "ClusterRole" else {}
            if reference.name in known:
                grants.append(Grant(known[reference.name], namespace))
    return grants


def _is_meant(subject: Subject, caller: Caller, namespace: str) -> bool:
    match subject.kind:
        case "User":
            return subject.name == caller.name
        case "Group":
            return subject.name in caller.groups
        case "ServiceAccount":
            return caller.name == f"{ACCOUNT_PREFIX}{subject.namespace or namespace}:{subject.name}"
    return False
