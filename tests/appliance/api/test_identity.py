"""Who may do what over TLS and over the socket, asked of a running appliance."""

import json

import pytest

from appliance.api.contract import DEFAULT_NAMESPACE
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.meta import Document
from tests.appliance.fleet import add_machine, add_secret, ask, delete_and_wait, host_token
from tests.appliance.running import Appliance

# The token of a scheme, of nobody, of no shape, or none.
STRANGE = [
    *("", "Bearer wrong", "Bearer ", "Bearer \udcff", "Basic YWRtaW46YWRtaW4=", "skh1.x.y"),
    *("Bearer sku1.x", "Bearer sks1.W10.x"),
]
SECRETS = f"/k8s/clusters/local/api/v1/namespaces/{DEFAULT_NAMESPACE}/secrets"


@pytest.fixture(scope="module")
def machine(appliance: Appliance) -> Document:
    add_machine(appliance.client(), "identity-other")
    add_secret(appliance.client(), "identity-other")
    machine = add_machine(appliance.client(), "identity-own")
    add_secret(appliance.client(), "identity-own")
    return machine


@pytest.fixture(scope="module")
def bearer(appliance: Appliance, machine: Document) -> str:
    return f"Bearer {host_token(appliance, machine)}"


@pytest.mark.parametrize(
    "path",
    [
        "/skerry/v1/version",
        "/skerry/v1/access",
        "/skerry/v1/hosts",
        "/skerry/v1/openapi.json",
        "/skerry/v1/users",
        "/skerry/v1/nothing-here",
    ],
)
@pytest.mark.parametrize("authorization", STRANGE)
def test_strangers_get_401_and_a_problem(appliance: Appliance, path: str, authorization: str) -> None:
    header = authorization.encode("utf-8", "surrogateescape").decode("latin-1")

    status, kind, problem = ask(appliance, "GET", path, authorization=header)

    assert (status, kind) == (401, "application/problem+json")
    assert problem["reason"] == "Unauthorized"
    assert problem["detail"]


@pytest.mark.parametrize(
    "path", ["/api/v1/secrets", f"{SECRETS}/identity-own", "/apis", "/version", "/nothing", "/"]
)
@pytest.mark.parametrize("authorization", STRANGE)
def test_strangers_get_401_and_a_status_where_kubernetes_clients_look(
    appliance: Appliance, path: str, authorization: str
) -> None:
    header = authorization.encode("utf-8", "surrogateescape").decode("latin-1")

    answer, kind, status = ask(appliance, "GET", path, authorization=header)

    assert (answer, kind) == (401, "application/json")
    assert (status["kind"], status["reason"], status["code"]) == ("Status", "Unauthorized", 401)
    assert status["message"]


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/metrics"])
def test_health_is_public(appliance: Appliance, path: str) -> None:
    assert ask(appliance, "GET", path)[0] == 200


def test_the_admin_token_opens_everything(appliance: Appliance) -> None:
    for path in ("/skerry/v1/version", "/skerry/v1/access", "/api/v1/secrets", "/apis"):
        assert ask(appliance, "GET", path, authorization=f"Bearer {appliance.token}")[0] == 200


def test_a_host_reads_and_patches_its_own_plan(appliance: Appliance, bearer: str) -> None:
    read, _, secret = ask(appliance, "GET", f"{SECRETS}/identity-own", authorization=bearer)
    body = json.dumps({"data": {"applied-checksum": "YWJj"}}).encode()

    patched, _, changed = ask(
        appliance,
        "PATCH",
        f"{SECRETS}/identity-own",
        authorization=bearer,
        body=body,
        content_type="application/merge-patch+json",
    )

    assert (read, patched) == (200, 200)
    assert secret["metadata"]["name"] == "identity-own"
    assert changed["data"]["applied-checksum"] == "YWJj"


def test_a_host_writes_its_own_plan_back_whole_as_elementals_agent_does(
    appliance: Appliance, bearer: str
) -> None:
    _, _, secret = ask(appliance, "GET", f"{SECRETS}/identity-own", authorization=bearer)
    secret["data"]["success-count"] = "MQ=="

    written, _, changed = ask(
        appliance, "PUT", f"{SECRETS}/identity-own", authorization=bearer, body=json.dumps(secret).encode()
    )

    assert written == 200
    assert changed["data"]["success-count"] == "MQ=="


def test_a_host_lists_its_own_plan_by_name_only(appliance: Appliance, bearer: str) -> None:
    own = ask(appliance, "GET", f"{SECRETS}?fieldSelector=metadata.name%3Didentity-own", authorization=bearer)

    assert own[0] == 200
    assert [item["metadata"]["name"] for item in own[2]["items"]] == ["identity-own"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{SECRETS}/identity-other"),
        ("GET", SECRETS),
        ("GET", f"{SECRETS}?watch=1"),
        ("GET", f"{SECRETS}?fieldSelector=metadata.name%3Didentity-other"),
        ("GET", f"{SECRETS}?fieldSelector=type%3DOpaque"),
        ("DELETE", f"{SECRETS}?fieldSelector=metadata.name%3Didentity-own"),
        ("GET", f"{SECRETS}?fieldSelector=metadata.name!%3Didentity-other"),
        ("GET", "/api/v1/secrets?fieldSelector=metadata.name%3Didentity-own"),
        ("GET", "/api/v1/namespaces/other/secrets/identity-own"),
        ("DELETE", f"{SECRETS}/identity-own"),
        ("PUT", f"{SECRETS}/identity-other"),
        ("PATCH", f"{SECRETS}/identity-other"),
        ("POST", SECRETS),
        (
            "GET",
            f"/apis/elemental.cattle.io/v1beta1/namespaces/{DEFAULT_NAMESPACE}/machineinventories/identity-own",
        ),
        ("GET", "/skerry/v1/hosts"),
        ("GET", "/skerry/v1/access"),
        ("GET", "/skerry/v1/openapi.json"),
        ("GET", "/skerry/v1/watch?kinds=hosts"),
        ("POST", "/skerry/v1/operations"),
        ("POST", f"/skerry/v1/namespaces/{DEFAULT_NAMESPACE}/hosts/identity-own/approve"),
    ],
)
def test_a_host_reaches_nothing_else(appliance: Appliance, bearer: str, method: str, path: str) -> None:
    body = b"{}" if method in ("POST", "PUT", "PATCH") else None
    content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"

    status, _, answer = ask(
        appliance, method, path, authorization=bearer, body=body, content_type=content_type
    )

    assert status == 403
    assert answer["reason"] == "Forbidden"


def test_a_host_reports_only_for_itself(appliance: Appliance, bearer: str) -> None:
    report = json.dumps({"agentVersion": "1", "bootId": "b", "mode": "active"}).encode()

    def post(name: str, authorization: str) -> int:
        path = f"/skerry/v1/namespaces/{DEFAULT_NAMESPACE}/hosts/{name}/report"
        return ask(appliance, "POST", path, authorization=authorization, body=report)[0]

    assert post("identity-own", bearer) == 204
    assert post("identity-other", bearer) == 403
    assert post("identity-own", "") == 401


def test_a_token_dies_with_its_machine_and_a_namesake_does_not_inherit_it(appliance: Appliance) -> None:
    client = appliance.client()
    first = add_machine(client, "identity-gone")
    add_secret(client, "identity-gone")
    bearer = f"Bearer {host_token(appliance, first)}"
    path = f"{SECRETS}/identity-gone"
    assert ask(appliance, "GET", path, authorization=bearer)[0] == 200

    # Until the controllers have let it go, a machine that is being reset still needs its plan.
    delete_and_wait(client, MACHINE_INVENTORY, "identity-gone")
    after_deletion = ask(appliance, "GET", path, authorization=bearer)[0]
    add_machine(client, "identity-gone")
    for_a_namesake = ask(appliance, "GET", path, authorization=bearer)[0]

    assert (after_deletion, for_a_namesake) == (401, 401)


def test_a_token_stops_working_when_its_machine_is_rejected(appliance: Appliance) -> None:
    client = appliance.client()
    machine = add_machine(client, "identity-rejected")
    add_secret(client, "identity-rejected")
    bearer = f"Bearer {host_token(appliance, machine)}"

    client.reject("identity-rejected", reason="stolen")

    assert ask(appliance, "GET", f"{SECRETS}/identity-rejected", authorization=bearer)[0] == 401


def test_the_socket_is_its_owners_alone_and_needs_no_token(appliance: Appliance) -> None:
    assert appliance.socket.stat().st_mode & 0o777 == 0o600
    assert appliance.client().version().url == appliance.url


def test_a_wrong_token_is_refused_also_over_the_socket(appliance: Appliance) -> None:
    from appliance.api.client import ApplianceError, Client

    with pytest.raises(ApplianceError) as refused:
        Client(appliance.server, token="wrong").version()

    assert (refused.value.status, refused.value.reason) == (401, "Unauthorized")
