"""Our face beside a real kube-apiserver: the same request, the same status, reason and shape of answer.

What is compared is what clients act on. Sentences are ours, and so are values that are made (versions, uids,
times, tokens) and the owners of fields.
"""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest

from appliance.resources.meta import Document
from tests.appliance.api.kubernetes.requests_to_both import (
    CASES,
    CONFIGS,
    MACHINES,
    NAMESPACE,
    SECRETS,
    Case,
    config,
    machine,
    secret,
)
from tests.appliance.api.kubernetes.serving import Face
from tests.kube_cluster import KubeCluster

pytestmark = pytest.mark.interop

MADE = frozenset(
    (
        "resourceVersion",
        "uid",
        "creationTimestamp",
        "managedFields",
        "generation",
        "token",
        "expirationTimestamp",
    )
)
# Not Kubernetes' own: the user that asks differs, and so does what they may.
OURS = frozenset(
    (
        "managedFields",
        "userInfo",
        "resourceRules",
        "nonResourceRules",
        "columnDefinitions",
        "cells",
        "reason",
        "error",
    )
)


# Where we differ and mean to.
KNOWN = {
    **dict.fromkeys(
        ("create-with-version", "put-bad-version", "strategic-bad", "watch-bad-version"),
        "upstream calls this its own failure, 500; the client made the mistake",
    ),
    **dict.fromkeys(
        ("get-unknown-group", "get-unknown-version"), "upstream answers in plain text; here all is a Status"
    ),
    **dict.fromkeys(
        (
            *("json-test", "json-bad-op", "put-without-version", "token-too-short"),
            *("get-unknown-subresource", "review-of-nothing"),
        ),
        "upstream's details name the subject here and not there; ours always do, or never",
    ),
    **dict.fromkeys(("review-self", "token"), "what is not kept gets no uid, time or binding"),
    "apply-conflict": "ours names the object",
    "apply-other-name": "upstream calls another name a conflict",
    "create-wrong-type-core": "upstream reads core kinds into structs before it checks them",
    "create-at-name": "upstream makes custom objects also at the path of one",
    "json-no-place": "upstream's replace adds what is not there; RFC 6902 forbids that",
}


@dataclass
class Answer:
    status: int
    shape: object
    warnings: int


@asynccontextmanager
async def real(cluster: KubeCluster) -> AsyncIterator[aiohttp.ClientSession]:
    context = ssl.create_default_context(cafile=str(cluster.folder / "pki" / "ca.crt"))
    context.load_cert_chain(cluster.kubeconfig.with_suffix(".crt"), cluster.kubeconfig.with_suffix(".key"))
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(cluster.url, connector=connector) as session:
        yield session


async def names_by_pages(session: aiohttp.ClientSession, limit: int) -> list[list[str]]:
    pages, token = [], ""
    while True:
        query = {"limit": str(limit), "labelSelector": "paged", "continue": token}
        async with session.get(SECRETS, params=query) as response:
            page = await response.json()
        assert response.status == 200, page
        pages.append([item["metadata"]["name"] for item in page["items"]])
        token = page["metadata"].get("continue", "")
        if not token:
            return [names for names in pages if names]  # upstream does not know that no more will match


async def prepare(session: aiohttp.ClientSession, case: Case) -> None:
    """The namespace, an account, and the three objects of the case, with nothing left of an earlier one."""
    for path in (MACHINES, CONFIGS, SECRETS):
        for name in (case.name, f"{case.name}-new"):
            async with session.delete(f"{path}/{name}", json={"propagationPolicy": "Background"}) as response:
                assert response.status in (200, 404), await response.text()
    for path, document in (
        ("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}}),
        (f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", {"metadata": {"name": "robot"}}),
        (MACHINES, machine(case.name)),
        (CONFIGS, config(case.name)),
        (SECRETS, secret(case.name)),
    ):
        async with session.post(path, json=document) as response:
            assert response.status in (201, 409), await response.text()


async def ask(session: aiohttp.ClientSession, case: Case) -> Answer:
    await prepare(session, case)
    headers = {"Content-Type": case.type, **case.headers}
    async with session.request(case.method, case.target(), data=case.content(), headers=headers) as response:
        lines = (await response.text()).splitlines() if "watch=1" in case.path else [await response.text()]
        warnings = response.headers.getall("Warning", [])
        return Answer(response.status, [shape_of(line) for line in lines], len(warnings))


def shape_of(text: str) -> object:
    try:
        document = json.loads(text)
    except ValueError:
        return "no JSON"
    return _status(document) if document.get("kind") == "Status" else _shape(document)


def _status(document: Document) -> object:
    """What clients act on; a conflict's kind is now the resource, now the kind, upstream itself."""
    details = document.get("details") or {}
    about = [details.get(name) for name in ("name", "group", "kind")]
    return {
        "kind": "Status",
        "apiVersion": document.get("apiVersion"),
        "status": document.get("status"),
        "reason": document.get("reason"),
        "code": document.get("code"),
        "about": about[:2] if document.get("reason") == "Conflict" else about,
    }


def _shape(value: object, name: str = "") -> object:
    """The value with what is made by each server replaced by a mark.

    What upstream writes for some kinds and leaves out for others is left out: nothing (an empty text or
    object), and what the items of a list are, which the list says.
    """
    if name in MADE:
        return "made" if value else value
    if isinstance(value, dict):
        if value.get("kind") == "Status":
            return _status(value)
        shapes = {key: _shape(child, key) for key, child in sorted(value.items()) if key not in OURS}
        return {key: shape for key, shape in shapes.items() if shape not in ("", {})}
    if isinstance(value, list):
        shapes_of_items = [_shape(child) for child in value]
        return [_untyped(shape) for shape in shapes_of_items] if name == "items" else shapes_of_items
    return value


def _untyped(shape: object) -> object:
    if not isinstance(shape, dict):
        return shape
    return {key: value for key, value in shape.items() if key not in ("apiVersion", "kind")}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_both_answer_alike(face: Face, kube_cluster: KubeCluster, case: Case) -> None:
    async with AsyncExitStack() as stack:
        theirs = await ask(await stack.enter_async_context(real(kube_cluster)), case)
        ours = await ask(face.session, case)

    # A difference that is gone leaves the table, too.
    assert (ours != theirs) if case.name in KNOWN else (ours == theirs)


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
async def test_pages_follow_one_another_alike(face: Face, kube_cluster: KubeCluster, limit: int) -> None:
    case = Case("paged", "GET", "{secrets}")
    async with AsyncExitStack() as stack:
        theirs = await stack.enter_async_context(real(kube_cluster))
        for session in (theirs, face.session):
            await prepare(session, case)
            for name in ("b", "a", "c"):
                document = secret(f"paged-{name}")
                document["metadata"] = {"name": f"paged-{name}", "labels": {"paged": ""}}
                async with session.post(SECRETS, json=document) as response:
                    assert response.status in (201, 409)

        assert await names_by_pages(face.session, limit) == await names_by_pages(theirs, limit)
