"""Routes as verbs on resources, which is how roles know them."""

import pytest

from appliance.access.roles import CONTROL_GROUP, ROLES, standing_grants
from appliance.access.rules import AUTHENTICATED, Asked, Caller, is_granted
from appliance.api.openapi import DOCUMENTED
from appliance.api.routes import ROUTES, Route


def may(role: str, route: Route) -> bool:
    grants = standing_grants(Caller("someone", (role, AUTHENTICATED)))
    return is_granted(grants, Asked(route.verb, CONTROL_GROUP, route.resource))


@pytest.mark.parametrize(
    ("name", "verb", "resource"),
    [
        ("list_hosts", "list", "hosts"),
        ("show_host", "get", "hosts"),
        ("approve_host", "update", "hosts"),
        ("start_operation", "create", "operations"),
        ("cancel_operation", "update", "operations"),
        ("follow_operation", "watch", "operations"),
        ("watch", "watch", "watch"),
        ("revoke_user", "update", "users"),
    ],
)
def test_a_route_is_a_verb_on_a_resource(name: str, verb: str, resource: str) -> None:
    route = next(route for route in ROUTES if route.name == name)

    assert (route.verb, route.resource) == (verb, resource)


def test_a_viewer_changes_nothing_and_is_told_no_secret() -> None:
    allowed = {route.name for route in ROUTES if may("viewer", route)}

    assert {"list_hosts", "watch", "follow_operation"} <= allowed
    assert all(route.method == "GET" for route in ROUTES if route.name in allowed)
    assert not allowed & {"show_access", "list_users"}


def test_an_operator_runs_the_floor_and_lets_nobody_in() -> None:
    allowed = {route.name for route in ROUTES if may("operator", route)}

    assert {"approve_host", "reject_host", "start_operation", "cancel_operation"} <= allowed
    assert not allowed & {"show_access", "list_users", "issue_user", "revoke_user", "trust_key"}


def test_only_what_is_served_is_given_away() -> None:
    """A role that names a resource that is gone, or misspells one, would be a promise nobody keeps."""
    served = {route.resource for route in DOCUMENTED}

    named = {
        resource
        for rules in ROLES.values()
        for rule in rules
        if CONTROL_GROUP in rule.api_groups
        for resource in rule.resources
    }
    assert named <= served
