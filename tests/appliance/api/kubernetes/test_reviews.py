"""Questions about access and tokens over HTTP, by callers of each role."""

import pytest

from appliance.resources.meta import Document
from appliance.resources.service_account import SERVICE_ACCOUNT
from tests.appliance.api.kubernetes.serving import NAMESPACE, Face

AUTHORIZATION = "/apis/authorization.k8s.io/v1"
AUTHENTICATION = "/apis/authentication.k8s.io/v1"
TOKEN = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/robot/token"


async def may(face: Face, role: str, verb: str, resource: str) -> bool:
    attributes = {"verb": verb, "resource": resource, "group": "", "namespace": NAMESPACE}
    review = await face.ask(
        "POST",
        f"{AUTHORIZATION}/selfsubjectaccessreviews",
        {"spec": {"resourceAttributes": attributes}},
        status=201,
        headers={"X-Role": role},
    )
    return bool(review["status"]["allowed"])


async def test_each_role_is_told_what_it_may(face: Face) -> None:
    assert [await may(face, "viewer", verb, "secrets") for verb in ("get", "delete", "*")] == [False] * 3
    assert [await may(face, "operator", verb, "secrets") for verb in ("get", "delete", "*")] == [
        True,
        True,
        False,
    ]
    assert await may(face, "admin", "*", "*")


async def test_paths_are_reviewed_too(face: Face) -> None:
    review = {"spec": {"nonResourceAttributes": {"verb": "get", "path": "/version"}}}

    answer = await face.ask("POST", f"{AUTHORIZATION}/selfsubjectaccessreviews", review, status=201)

    assert answer["status"] == {"allowed": True}
    assert answer["spec"] == review["spec"]


async def test_another_subject_is_reviewed_by_name_and_groups(face: Face) -> None:
    attributes = {"verb": "get", "resource": "secrets", "namespace": NAMESPACE}

    async def allowed(subject: Document, path: str) -> bool:
        specification = {**subject, "resourceAttributes": attributes}
        answer = await face.ask("POST", path, {"spec": specification}, status=201)
        return bool(answer["status"]["allowed"])

    path = f"{AUTHORIZATION}/subjectaccessreviews"
    assert await allowed({"user": "bob", "groups": ["operator"]}, path)
    assert not await allowed({"user": "bob"}, path)
    assert not await allowed(
        {"user": "bob"}, f"{AUTHORIZATION}/namespaces/{NAMESPACE}/localsubjectaccessreviews"
    )


async def test_all_rules_are_listed(face: Face) -> None:
    answer = await face.ask(
        "POST",
        f"{AUTHORIZATION}/selfsubjectrulesreviews",
        {"spec": {"namespace": NAMESPACE}},
        status=201,
        headers={"X-Role": "viewer"},
    )

    named = {resource for rule in answer["status"]["resourceRules"] for resource in rule["resources"]}
    assert {"configmaps", "events"} <= named
    assert "secrets" not in named
    assert answer["status"]["nonResourceRules"][0]["verbs"] == ["get"]


async def test_one_is_told_who_one_is(face: Face) -> None:
    answer = await face.ask("POST", f"{AUTHENTICATION}/selfsubjectreviews", {}, status=201)

    assert answer["status"]["userInfo"] == {
        "username": "someone",
        "groups": ["admin", "system:authenticated"],
    }


async def test_a_token_for_an_account_is_made_and_an_unknown_one_is_not_authenticated(face: Face) -> None:
    document = {"metadata": {"name": "robot", "namespace": NAMESPACE}}
    await face.store.create(SERVICE_ACCOUNT, document)

    made = await face.ask("POST", TOKEN, {"spec": {"expirationSeconds": 900}}, status=201)
    review = await face.ask(
        "POST", f"{AUTHENTICATION}/tokenreviews", {"spec": {"token": "wrong"}}, status=201
    )

    assert made["status"]["token"].startswith("sks1.")
    assert made["spec"]["expirationSeconds"] == 900
    assert "authenticated" not in review["status"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", f"{AUTHORIZATION}/selfsubjectaccessreviews", None, 405),
        ("POST", f"{AUTHORIZATION}/selfsubjectaccessreviews/x", {}, 405),
        ("POST", f"{AUTHORIZATION}/localsubjectaccessreviews", {}, 405),
        ("POST", f"{AUTHORIZATION}/nothings", {}, 404),
        ("POST", f"{AUTHORIZATION}/selfsubjectaccessreviews", {}, 422),
        ("POST", f"{AUTHORIZATION}/selfsubjectaccessreviews", {"spec": []}, 422),
        ("POST", f"{AUTHORIZATION}/selfsubjectaccessreviews", {"spec": "x"}, 400),
        (
            "POST",
            f"{AUTHORIZATION}/selfsubjectaccessreviews",
            {"spec": {"resourceAttributes": {"verb": 7}}},
            400,
        ),
        (
            "POST",
            f"{AUTHORIZATION}/selfsubjectaccessreviews",
            {"spec": {"resourceAttributes": {}, "nonResourceAttributes": {}}},
            422,
        ),
        ("POST", f"{AUTHORIZATION}/subjectaccessreviews", {"spec": {"resourceAttributes": {}}}, 422),
        (
            "POST",
            f"{AUTHORIZATION}/subjectaccessreviews",
            {"spec": {"resourceAttributes": {}, "user": "a", "groups": [1]}},
            400,
        ),
        ("POST", f"{AUTHORIZATION}/selfsubjectrulesreviews", {"spec": {}}, 400),
        ("POST", f"{AUTHENTICATION}/tokenreviews", {"spec": {}}, 400),
        ("POST", TOKEN, {"spec": {}}, 404),
        ("POST", TOKEN, {"spec": {"expirationSeconds": "long"}}, 422),
        ("POST", TOKEN, {"spec": {"expirationSeconds": 2**40}}, 422),
        ("GET", TOKEN, None, 405),
        ("POST", TOKEN.replace("serviceaccounts", "configmaps"), {}, 404),
    ],
)
async def test_bad_reviews_are_refused_as_status(
    face: Face, method: str, path: str, body: Document | None, status: int
) -> None:
    refused = await face.ask(method, path, body, status=status)

    assert (refused["kind"], refused["code"]) == ("Status", status)
