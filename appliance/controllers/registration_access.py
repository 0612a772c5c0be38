"""The children of a MachineRegistration: an account that reaches the plans of its own hosts, and no other.

Pure. Names, types and labels are upstream's. The Role is narrower (D03): it names the plan Secrets of the
hosts that registered through this registration, and does not allow `list`. Hosts do not use the account,
each has a token of its own; it is there for what expects upstream's objects. In the embedded mode nobody
fills the `-token` Secret: `kubectl create token` makes tokens that expire.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.controllers.owners import render_owner
from appliance.resources.core import MANAGED, SECRET
from appliance.resources.machine_inventory import REGISTERED_WITH
from appliance.resources.machine_registration import MACHINE_REGISTRATION
from appliance.resources.meta import Document, Kind, ObjectMeta
from appliance.resources.rbac import GROUP as RBAC_GROUP
from appliance.resources.rbac import ROLE, ROLE_BINDING
from appliance.resources.service_account import SERVICE_ACCOUNT

ACCOUNT_TOKEN_TYPE = "kubernetes.io/service-account-token"  # noqa: S105 - a type name, not a secret
ACCOUNT_NAME = "kubernetes.io/service-account.name"
PLAN_VERBS = ("get", "watch", "update", "patch")


@dataclass(frozen=True, slots=True)
class Child:
    """One child as it should be; `owned` is the part that is kept so when it exists already."""

    kind: Kind
    name: str
    owned: Document
    immutable: Document


def render_children(registration: ObjectMeta, plans: Sequence[str]) -> list[Child]:
    """The account, its Role over these plan Secrets, its token's Secret and the binding, in that order."""
    name, managed = registration.name, {"labels": {MANAGED: "true"}}
    # No resource names would mean every Secret: without hosts there is no rule at all.
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": list(plans), "verbs": [*PLAN_VERBS]}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": registration.namespace}
    return [
        Child(SERVICE_ACCOUNT, name, {"metadata": managed}, {}),
        Child(ROLE, name, {"metadata": managed, "rules": [rule] if plans else []}, {}),
        Child(
            SECRET,
            f"{name}-token",
            {"metadata": {"annotations": {ACCOUNT_NAME: name}}},
            {"type": ACCOUNT_TOKEN_TYPE},
        ),
        Child(
            ROLE_BINDING,
            name,
            {"metadata": managed, "subjects": [subject]},
            {"roleRef": {"apiGroup": RBAC_GROUP, "kind": "Role", "name": name}},
        ),
    ]


def render_new(child: Child, registration: ObjectMeta) -> Document:
    """The whole document of a child that does not exist."""
    metadata = {
        "name": child.name,
        "namespace": registration.namespace,
        "ownerReferences": [render_owner(MACHINE_REGISTRATION, registration)],
        **child.owned["metadata"],
    }
    identity = {"apiVersion": child.kind.api_version, "kind": child.kind.kind}
    return {**identity, **child.owned, **child.immutable, "metadata": metadata}


def choose_plans(registration: str, machines: Sequence[Document]) -> list[str]:
    """The plan Secrets of the registration's hosts.

    A host counts once its own controller has found the Secret to be its own: a machine that only took
    the name of somebody's Secret gives nobody access to that.
    """
    return sorted(
        machine["metadata"]["name"]
        for machine in machines
        if find_registration(machine) == registration and has_plan(machine)
    )


def find_registration(machine: Document) -> str:
    """The registration that a machine's record names; empty if none."""
    name: str = (machine["metadata"].get("annotations") or {}).get(REGISTERED_WITH) or ""
    return name


def has_plan(machine: Document) -> bool:
    """Say whether the machine's status names a plan Secret."""
    plan = (machine.get("status") or {}).get("plan") or {}
    return bool(plan.get("secretRef"))
