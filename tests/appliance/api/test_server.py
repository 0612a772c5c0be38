"""The routes of the control API: limits, problems, the OpenAPI document, metrics."""

import json
import re

import pytest

from appliance.api.contract import FINAL_STATES, HostPhase
from appliance.api.openapi import DOCUMENTED, render_openapi
from appliance.api.problems import TABLE, describe_problem
from appliance.api.routes import ROUTES
from appliance.api.server import MAX_REQUEST_BYTES, ControlApi
from appliance.resources.machine_inventory import APPROVAL, APPROVED_BY, MACHINE_INVENTORY
from tests.appliance.fleet import add_machine, ask
from tests.appliance.running import Appliance


@pytest.fixture(scope="module")
def admin(appliance: Appliance) -> str:
    return f"Bearer {appliance.token}"


@pytest.mark.parametrize(
    ("path", "body", "status", "reason"),
    [
        ("/operations", b"", 400, "BadRequest"),
        ("/operations", b"not json", 400, "BadRequest"),
        ("/operations", b"\xff", 400, "BadRequest"),
        ("/operations", b"[]", 400, "BadRequest"),
        ("/operations", b'{"kind":"load-bundle","surprise":1}', 400, "BadRequest"),
        ("/operations", b"[" * 10_000, 400, "BadRequest"),
        ("/operations", b'{"kind":"nothing-like-it"}', 400, "BadRequest"),
        ("/operations", b'{"kind":"load-bundle","params":{"path":7}}', 422, "Invalid"),
        (
            "/operations",
            b'{"kind":"x","params":{"p":"' + b"x" * MAX_REQUEST_BYTES + b'"}}',
            413,
            "RequestEntityTooLarge",
        ),
        ("/operations", b"x" * (5 * 1024 * 1024), 413, "RequestEntityTooLarge"),
        ("/trust", b'{"name":"x","publicKey":"no"}', 422, "Invalid"),
        ("/namespaces/fleet-default/hosts/nobody/approve", b"{}", 404, "NotFound"),
        ("/namespaces/fleet-default/hosts/..%2F..%2Fx/approve", b"{}", 404, "NotFound"),
        ("/operations/none/cancel", b"", 404, "NotFound"),
        ("/nothing", b"{}", 404, "NotFound"),
    ],
)
def test_a_bad_request_is_a_problem_document(
    appliance: Appliance, admin: str, path: str, body: bytes, status: int, reason: str
) -> None:
    answered, kind, problem = ask(appliance, "POST", f"/skerry/v1{path}", authorization=admin, body=body)

    assert (answered, kind) == (status, "application/problem+json")
    assert (problem["status"], problem["reason"]) == (status, reason)
    assert problem["detail"]
    assert problem["title"]


def test_a_method_that_a_path_does_not_have_is_405(appliance: Appliance, admin: str) -> None:
    status, kind, problem = ask(appliance, "DELETE", "/skerry/v1/hosts", authorization=admin)

    assert (status, kind, problem["reason"]) == (405, "application/problem+json", "MethodNotAllowed")


def test_a_body_without_a_length_is_bounded_too(appliance: Appliance, admin: str) -> None:
    import ssl
    from http.client import HTTPSConnection
    from urllib.parse import urlsplit

    parts = urlsplit(appliance.url)
    context = ssl.create_default_context(cafile=appliance.ca_file)
    connection = HTTPSConnection(parts.hostname or "", parts.port, context=context, timeout=30)
    chunks = iter([b"x" * 60_000] * 3)
    connection.request(
        "POST", "/skerry/v1/operations", body=chunks, headers={"Authorization": admin}, encode_chunked=True
    )
    response = connection.getresponse()
    problem = json.loads(response.read())
    connection.close()

    assert (response.status, problem["reason"]) == (413, "RequestEntityTooLarge")


def test_every_route_has_its_handler() -> None:
    missing = [route.name for route in ROUTES if not callable(getattr(ControlApi, route.name, None))]

    assert missing == []


def test_the_openapi_document_covers_every_route_and_every_reference_resolves(
    appliance: Appliance, admin: str
) -> None:
    served = ask(appliance, "GET", "/skerry/v1/openapi.json", authorization=admin)[2]

    assert served == json.loads(json.dumps(render_openapi(served["info"]["version"])))
    assert served["openapi"].startswith("3.1")
    paths = {
        (method.upper(), path.removeprefix("/skerry/v1"))
        for path, item in served["paths"].items()
        for method in item
    }
    assert paths == {(route.method, route.path) for route in DOCUMENTED}
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(served)))
    assert references <= set(served["components"]["schemas"])
    phases = served["components"]["schemas"]["HostView"]["properties"]["phase"]["enum"]
    assert set(phases) == set(HostPhase.__args__)  # type: ignore[attr-defined]


def test_metrics_count_and_name_nobody(appliance: Appliance) -> None:
    import ssl
    import urllib.request

    add_machine(appliance.client(), "metrics-secret-name", approval="pending")
    context = ssl.create_default_context(cafile=appliance.ca_file)
    with urllib.request.urlopen(f"{appliance.url}/metrics", context=context, timeout=30) as response:
        text = response.read().decode()

    assert "metrics-secret-name" not in text
    assert re.search(r'^skerry_hosts\{phase="Pending approval"\} [1-9]', text, re.MULTILINE)
    assert "\nskerry_ready 1\n" in text
    names = set(re.findall(r"^# TYPE (\w+) gauge$", text, re.MULTILINE))
    assert names == {line.split("{")[0].split()[0] for line in text.splitlines() if not line.startswith("#")}


def test_a_defect_shows_its_kind_and_nothing_of_its_content() -> None:
    problem = describe_problem(KeyError("the admin token"))

    assert (problem.status, problem.reason) == (500, "InternalError")
    assert "token" not in problem.detail


def test_children_stand_above_their_parents_in_the_table() -> None:
    shadowed = [
        (child.__name__, parent.__name__)
        for index, (parent, _) in enumerate(TABLE)
        for child, _ in TABLE[index + 1 :]
        if issubclass(child, parent)
    ]

    assert shadowed == []


def test_an_operation_can_be_cancelled_and_followed_over_the_api(appliance: Appliance) -> None:
    client = appliance.client()

    started = client.start_operation("load-bundle", {"path": "/nowhere"})
    ended = list(client.follow_operation(started.id))[-1]
    cancelled = client.cancel_operation(started.id)

    assert ended.state == "failed"
    assert ended.error is not None
    assert cancelled.state in FINAL_STATES
    assert started.id in [operation.id for operation in client.operations()]


@pytest.mark.parametrize(
    ("role", "recorded"), [("", "ana@desk"), ("operator", "bert")], ids=["admin", "user"]
)
def test_only_the_administrator_may_say_whose_hand_approved(
    appliance: Appliance, role: str, recorded: str
) -> None:
    name = f"press-{role or 'admin'}"
    appliance.client().apply_object(
        {
            "apiVersion": MACHINE_INVENTORY.api_version,
            "kind": MACHINE_INVENTORY.kind,
            "metadata": {
                "name": name,
                "namespace": "fleet-default",
                "annotations": {APPROVAL: "pending"},
            },
        }
    )
    client = appliance.client()
    if role:
        issued = client.issue_user("bert", role, method="token", lifetime_seconds=600)
        client = appliance.remote(token=issued.token)

    client.approve(name, "fleet-default", by="ana@desk")

    found = appliance.client().get_object(MACHINE_INVENTORY, name, "fleet-default")
    assert found["metadata"]["annotations"][APPROVED_BY] == recorded
