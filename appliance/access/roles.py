"""The built-in roles as lists of PolicyRule, and what comes with being a host. Pure.

Control resources are the routes of `/skerry/v1` under a group of their own, so that one kind of rule covers
both APIs; what a role does not name stays the administrator's. Only the administrator writes Roles and
RoleBindings: who writes roles can give away more than they have.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

from appliance.access.rules import AUTHENTICATED, Caller, Grant
from appliance.resources.rbac import GROUP as RBAC
from appliance.resources.rbac import PolicyRule

RoleName = Literal["viewer", "operator", "admin"]
CONTROL_GROUP = "control.skerry.dev"
HOSTS = "skerry:hosts"
HOST_PREFIX = "skerry:host:"

_READ = ["get", "list", "watch"]
_WRITE = ["create", "update", "patch", "delete", "deletecollection"]
_DECLARED = ["elemental.cattle.io", "skerry.dev", "ipam.cluster.x-k8s.io", "cluster.x-k8s.io"]

_EVERYBODY = (
    PolicyRule(
        verbs=["get"],
        non_resource_urls=["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", "/version"],
    ),
    PolicyRule(
        verbs=["create"],
        api_groups=["authorization.k8s.io"],
        resources=["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
    ),
    PolicyRule(verbs=["create"], api_groups=["authentication.k8s.io"], resources=["selfsubjectreviews"]),
)
_VIEWER = (
    PolicyRule(verbs=_READ, api_groups=_DECLARED, resources=["*"]),
    PolicyRule(
        verbs=_READ,
        api_groups=[""],
        resources=["namespaces", "configmaps", "events", "serviceaccounts", "services"],
    ),
    PolicyRule(verbs=_READ, api_groups=[RBAC], resources=["roles", "rolebindings"]),
    PolicyRule(
        verbs=_READ,
        api_groups=[CONTROL_GROUP],
        resources=[
            "version",
            "hosts",
            "inbox",
            "bundles",
            "trust",
            "devices",
            "operations",
            "watch",
            "inventory",
        ],
    ),
)
_OPERATOR = (
    *_VIEWER,
    PolicyRule(verbs=_WRITE, api_groups=_DECLARED, resources=["*"]),
    PolicyRule(verbs=[*_READ, *_WRITE], api_groups=[""], resources=["secrets", "configmaps", "events"]),
    PolicyRule(
        verbs=["create", "update"],
        api_groups=[CONTROL_GROUP],
        resources=["hosts", "inbox", "operations", "inventory"],
    ),
)
_ADMIN = (
    PolicyRule(verbs=["*"], api_groups=["*"], resources=["*"]),
    PolicyRule(verbs=["*"], non_resource_urls=["*"]),
)

ROLES: Mapping[str, tuple[PolicyRule, ...]] = {"viewer": _VIEWER, "operator": _OPERATOR, "admin": _ADMIN}


@lru_cache(maxsize=4096)
def standing_grants(caller: Caller) -> tuple[Grant, ...]:
    """What a caller may by being who they are, whatever Roles are declared."""
    grants = [Grant(_EVERYBODY)] if AUTHENTICATED in caller.groups else []
    grants += [Grant(rules) for role, rules in ROLES.items() if role in caller.groups]
    if HOSTS in caller.groups:
        namespace, _, name = caller.name.removeprefix(HOST_PREFIX).partition(":")
        grants.append(Grant((_plan_of(name),), namespace))
    return tuple(grants)


def _plan_of(host: str) -> PolicyRule:
    """A host's own plan Secret: listed and watched by that name only, and written back whole."""
    return PolicyRule(
        verbs=[*_READ, "patch", "update"], api_groups=[""], resources=["secrets"], resource_names=[host]
    )
