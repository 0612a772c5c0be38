"""RBAC's matching, as a table; what the built-in roles may; what Roles and RoleBindings add."""

import pytest

from appliance.access.bindings import bound_grants
from appliance.access.roles import CONTROL_GROUP, HOSTS, standing_grants
from appliance.access.rules import AUTHENTICATED, Asked, Caller, Grant, is_granted, rule_allows
from appliance.resources.meta import ObjectMeta
from appliance.resources.rbac import PolicyRule, Role, RoleBinding, RoleReference, Subject

ELEMENTAL = "elemental.cattle.io"
READ_PLAN = PolicyRule(
    verbs=["get", "watch"], api_groups=[""], resources=["secrets", "pods/log"], resource_names=["own"]
)


def caller(role: str) -> Caller:
    return Caller("alice", (role, AUTHENTICATED))


@pytest.mark.parametrize(
    ("asked", "is_allowed"),
    [
        (Asked("get", resource="secrets", name="own", namespace="n"), True),
        (Asked("get", resource="secrets", name="other", namespace="n"), False),
        (Asked("get", resource="secrets", namespace="n"), False),
        (Asked("list", resource="secrets", name="own", namespace="n"), False),
        (Asked("get", "apps", "secrets", name="own", namespace="n"), False),
        (Asked("get", resource="secrets", subresource="status", name="own", namespace="n"), False),
        (Asked("get", resource="pods", subresource="log", name="own", namespace="n"), True),
        (Asked("get", resource="pods", name="own", namespace="n"), False),
        (Asked("get", path="/version"), False),
    ],
    ids=str,
)
def test_a_rule_allows_what_all_its_parts_name(asked: Asked, is_allowed: bool) -> None:
    assert rule_allows(READ_PLAN, asked) is is_allowed


@pytest.mark.parametrize(
    ("pattern", "path", "is_allowed"),
    [
        ("*", "/anything", True),
        ("/apis/*", "/apis/x/v1", True),
        ("/apis/*", "/apis", False),
        ("/apis", "/apis/x", False),
    ],
)
def test_paths_match_whole_or_by_their_beginning(pattern: str, path: str, is_allowed: bool) -> None:
    rule = PolicyRule(verbs=["get"], non_resource_urls=[pattern])

    assert rule_allows(rule, Asked("get", path=path)) is is_allowed
    assert not rule_allows(rule, Asked("post", path=path))


@pytest.mark.parametrize(
    ("asked", "roles"),
    [
        (Asked("list", ELEMENTAL, "machineinventories"), "viewer operator admin"),
        (Asked("watch", resource="events", namespace="n"), "viewer operator admin"),
        (Asked("get", path="/apis/x"), "viewer operator admin"),
        (Asked("list", CONTROL_GROUP, "hosts"), "viewer operator admin"),
        (Asked("get", resource="secrets", namespace="n", name="s"), "operator admin"),
        (Asked("patch", ELEMENTAL, "machineinventories", "status", "n", "m"), "operator admin"),
        (Asked("delete", "skerry.dev", "rollouts", namespace="n", name="r"), "operator admin"),
        (Asked("update", CONTROL_GROUP, "hosts", namespace="n", name="m"), "operator admin"),
        (Asked("create", CONTROL_GROUP, "operations"), "operator admin"),
        (Asked("create", "rbac.authorization.k8s.io", "rolebindings", namespace="n"), "admin"),
        (Asked("create", resource="serviceaccounts", subresource="token", namespace="n", name="a"), "admin"),
        (Asked("delete", resource="namespaces", name="n"), "admin"),
        (Asked("impersonate", resource="users", name="bob"), "admin"),
        (Asked("list", CONTROL_GROUP, "access"), "admin"),
        (Asked("list", CONTROL_GROUP, "users"), "admin"),
        (Asked("create", CONTROL_GROUP, "trust"), "admin"),
        (Asked("create", CONTROL_GROUP, "what-comes-next-year"), "admin"),
    ],
    ids=str,
)
def test_the_built_in_roles(asked: Asked, roles: str) -> None:
    allowed = [
        role for role in ("viewer", "operator", "admin") if is_granted(standing_grants(caller(role)), asked)
    ]

    assert allowed == roles.split()


def test_who_is_in_no_role_may_only_ask_what_is_served_and_about_themselves() -> None:
    grants = standing_grants(Caller("robot", (AUTHENTICATED,)))

    assert is_granted(grants, Asked("get", path="/version"))
    assert is_granted(grants, Asked("create", "authorization.k8s.io", "selfsubjectaccessreviews"))
    assert not is_granted(grants, Asked("create", "authorization.k8s.io", "subjectaccessreviews"))
    assert not is_granted(grants, Asked("list", ELEMENTAL, "machineinventories", namespace="n"))
    assert standing_grants(Caller("system:anonymous")) == ()


@pytest.mark.parametrize(
    ("asked", "is_allowed"),
    [
        (Asked("get", resource="secrets", namespace="fleet", name="m-1"), True),
        (Asked("watch", resource="secrets", namespace="fleet", name="m-1"), True),
        (Asked("update", resource="secrets", namespace="fleet", name="m-1"), True),
        (Asked("delete", resource="secrets", namespace="fleet", name="m-1"), False),
        (Asked("list", resource="secrets", namespace="fleet"), False),
        (Asked("get", resource="secrets", namespace="fleet", name="m-2"), False),
        (Asked("get", resource="secrets", namespace="other", name="m-1"), False),
        (Asked("get", resource="secrets", name="m-1"), False),
        (Asked("get", ELEMENTAL, "machineinventories", namespace="fleet", name="m-1"), False),
        (Asked("list", CONTROL_GROUP, "hosts"), False),
    ],
    ids=str,
)
def test_a_host_reaches_its_plan_and_nothing_else(asked: Asked, is_allowed: bool) -> None:
    host = Caller("skerry:host:fleet:m-1", (HOSTS, AUTHENTICATED))

    assert is_granted(standing_grants(host), asked) is is_allowed


def test_a_users_name_alone_makes_nobody_a_host() -> None:
    pretender = Caller("skerry:host:fleet:m-1", ("viewer", AUTHENTICATED))

    plan = Asked("get", resource="secrets", namespace="fleet", name="m-1")
    assert not is_granted(standing_grants(pretender), plan)


def binding(role: RoleReference, *subjects: Subject) -> RoleBinding:
    return RoleBinding(metadata=ObjectMeta(name="b", namespace="n"), role_ref=role, subjects=list(subjects))


@pytest.mark.parametrize(
    ("subject", "is_bound"),
    [
        (Subject(kind="User", name="alice"), True),
        (Subject(kind="User", name="bob"), False),
        (Subject(kind="Group", name="line-7"), True),
        (Subject(kind="Group", name="alice"), False),
        (Subject(kind="ServiceAccount", name="alice"), False),
        (Subject(kind="Robot", name="alice"), False),
    ],
    ids=lambda value: f"{value.kind}-{value.name}" if isinstance(value, Subject) else str(value),
)
def test_a_binding_counts_for_those_it_names_and_in_its_namespace(subject: Subject, is_bound: bool) -> None:
    role = Role(metadata=ObjectMeta(name="r"), rules=[READ_PLAN])
    alice = Caller("alice", ("line-7",))

    grants = bound_grants(
        alice, "n", roles=[role], bindings=[binding(RoleReference(kind="Role", name="r"), subject)]
    )

    own = Asked("get", resource="secrets", namespace="n", name="own")
    assert is_granted(grants, own) is is_bound
    elsewhere = Asked("get", resource="secrets", namespace="other", name="own")
    assert not is_granted(grants, elsewhere)


def test_a_service_account_is_found_in_the_bindings_namespace_unless_it_says_another() -> None:
    reference = RoleReference(kind="ClusterRole", name="viewer")
    here = binding(reference, Subject(kind="ServiceAccount", name="robot"))
    there = binding(reference, Subject(kind="ServiceAccount", name="robot", namespace="other"))
    robot = Caller("system:serviceaccount:n:robot")

    assert [len(bound_grants(robot, "n", roles=[], bindings=[each])) for each in (here, there)] == [1, 0]


def test_a_binding_to_a_role_that_is_not_there_gives_nothing() -> None:
    alice = Subject(kind="User", name="alice")
    missing = [
        binding(RoleReference(kind=kind, name="cluster-admin"), alice)
        for kind in ("Role", "ClusterRole", "X")
    ]

    assert bound_grants(Caller("alice"), "n", roles=[], bindings=missing) == []


def test_a_grant_of_one_namespace_opens_no_path() -> None:
    everything = PolicyRule(verbs=["*"], api_groups=["*"], resources=["*"], non_resource_urls=["*"])

    assert not Grant((everything,), "n").allows(Asked("get", path="/version"))
    assert Grant((everything,)).allows(Asked("get", path="/version"))
