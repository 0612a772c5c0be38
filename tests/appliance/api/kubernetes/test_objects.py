"""Objects over HTTP: verbs, bodies, options, and the Status that a refusal is."""

import json
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from appliance.access.rules import Asked
from appliance.api.kubernetes import Forbidden, Verb
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from tests.appliance.api.kubernetes.serving import (
    MACHINES,
    MERGE,
    NAMESPACE,
    RANCHER,
    SECRETS,
    Face,
    machine,
    serve,
)

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


async def test_an_object_lives_through_all_verbs(face: Face) -> None:
    created = await face.ask("POST", MACHINES, machine("press-1"), status=201)
    assert created["metadata"]["namespace"] == "fleet-default"
    assert await face.ask("GET", f"{MACHINES}/press-1") == created

    replaced = await face.ask("PUT", f"{MACHINES}/press-1", {**created, "spec": {"tpmHash": "cd"}})
    assert replaced["metadata"]["generation"] == 2

    patched = await face.ask(
        "PATCH", f"{MACHINES}/press-1", {"spec": {"machineHash": "1"}}, headers={"Content-Type": MERGE}
    )
    assert patched["spec"] == {"tpmHash": "cd", "machineHash": "1"}

    gone = await face.ask("DELETE", f"{MACHINES}/press-1")
    assert (gone["status"], gone["details"]["uid"]) == ("Success", created["metadata"]["uid"])
    missing = await face.ask("GET", f"{MACHINES}/press-1", status=404)
    assert (missing["kind"], missing["reason"], missing["code"]) == ("Status", "NotFound", 404)


async def test_hosts_reach_the_same_objects_below_the_path_they_were_given(face: Face) -> None:
    await face.ask(
        "POST", SECRETS, {"metadata": {"name": "press-1"}, "stringData": {"plan": "{}"}}, status=201
    )

    patched = await face.ask(
        "PATCH",
        f"{RANCHER}{SECRETS}/press-1",
        {"data": {"applied-checksum": "YWI="}},
        headers={"Content-Type": MERGE},
    )

    assert patched["data"] == {"plan": "e30=", "applied-checksum": "YWI="}


async def test_status_has_its_own_path(face: Face) -> None:
    created = await face.ask("POST", MACHINES, machine("press-1"), status=201)
    both = {**created, "spec": {"tpmHash": "no"}, "status": {"plan": {"state": "Applied"}}}

    updated = await face.ask("PUT", f"{MACHINES}/press-1/status", both)

    assert (updated["spec"]["tpmHash"], updated["status"]["plan"]["state"]) == ("ab12", "Applied")
    assert await face.ask("GET", f"{MACHINES}/press-1/status") == updated
    await face.ask("GET", f"{SECRETS}/x/status", status=404)


async def test_yaml_is_read_and_applied(face: Face) -> None:
    await face.ask(
        "POST",
        MACHINES,
        yaml.dump(machine("press-1")),
        status=201,
        headers={"Content-Type": "application/yaml"},
    )
    intent = (
        "apiVersion: elemental.cattle.io/v1beta1\nkind: MachineInventory\nspec: {machineHash: '2026-01-01'}\n"
    )
    applying = {"Content-Type": "application/apply-patch+yaml"}

    for name, status in (("press-1", 200), ("press-2", 201), ("press-2", 200)):
        body = f"{intent}metadata: {{name: {name}}}\n"
        path = f"{MACHINES}/{name}?fieldManager=me&force=true"
        applied = await face.ask("PATCH", path, body, status=status, headers=applying)
        assert applied["spec"]["machineHash"] == "2026-01-01"


async def test_dates_and_numbers_for_keys_in_yaml_are_texts(face: Face) -> None:
    body = "metadata: {name: c}\ndata: {1: 2026-01-01, true: x}\n"

    created = await face.ask(
        "POST",
        "/api/v1/namespaces/n/configmaps",
        body,
        status=201,
        headers={"Content-Type": "application/yaml"},
    )

    assert created["data"] == {"1": "2026-01-01", "true": "x"}


async def test_a_strategic_patch_is_for_kubernetes_own_kinds(face: Face) -> None:
    strategic = {"Content-Type": "application/strategic-merge-patch+json"}
    await face.ask("POST", SECRETS, {"metadata": {"name": "s"}, "data": {"a": "YQ=="}}, status=201)
    await face.ask("POST", MACHINES, machine("m"), status=201)

    body = {"data": {"$retainKeys": ["b"], "b": "Yg=="}}
    assert (await face.ask("PATCH", f"{SECRETS}/s", body, headers=strategic))["data"] == {"b": "Yg=="}
    unread = {"data": {"$patch": "mince"}}
    refused = await face.ask("PATCH", f"{SECRETS}/s", unread, status=400, headers=strategic)
    assert "$patch" in refused["message"]
    refused = await face.ask("PATCH", f"{MACHINES}/m", {}, status=415, headers=strategic)
    assert refused["reason"] == "UnsupportedMediaType"


async def test_a_list_comes_in_pages_selected_by_labels(face: Face) -> None:
    for index in range(5):
        document = machine(f"press-{index}")
        document["metadata"]["labels"] = {"site": "north" if index else "south"}
        await face.ask("POST", MACHINES, document, status=201)

    first = await face.ask("GET", f"{MACHINES}?limit=3&labelSelector=site%3Dnorth")
    rest = await face.ask(
        "GET", f"{MACHINES}?limit=3&labelSelector=site%3Dnorth&continue={first['metadata']['continue']}"
    )
    everywhere = await face.ask("GET", "/apis/elemental.cattle.io/v1beta1/machineinventories?limit=4")

    names = [item["metadata"]["name"] for item in first["items"] + rest["items"]]
    assert names == ["press-1", "press-2", "press-3", "press-4"]
    assert (first["kind"], everywhere["metadata"]["remainingItemCount"]) == ("MachineInventoryList", 1)


async def test_deleting_a_collection_takes_what_is_selected(face: Face) -> None:
    for name in ("press-1", "press-2", "press-3"):
        await face.ask("POST", MACHINES, machine(name), status=201)

    await face.ask("DELETE", f"{MACHINES}?fieldSelector=metadata.name%21%3Dpress-2")

    left = await face.ask("GET", MACHINES)
    assert [item["metadata"]["name"] for item in left["items"]] == ["press-2"]


async def test_a_dry_run_is_not_done(face: Face) -> None:
    await face.ask("POST", f"{MACHINES}?dryRun=All", machine("press-1"), status=201)
    await face.ask("GET", f"{MACHINES}/press-1", status=404)

    await face.ask("POST", MACHINES, machine("press-1"), status=201)
    await face.ask("DELETE", f"{MACHINES}/press-1", {"dryRun": ["All"]})
    await face.ask("PATCH", f"{MACHINES}/press-1?dryRun=All", {"spec": {}}, headers={"Content-Type": MERGE})
    assert (await face.ask("GET", f"{MACHINES}/press-1"))["metadata"]["generation"] == 1


async def test_a_table_has_the_columns_of_the_kind(face: Face) -> None:
    await face.ask("POST", MACHINES, machine("press-1"), status=201)
    conditions = [{"type": "Ready", "status": "True", "reason": "Fine"}]
    await face.ask(
        "PATCH",
        f"{MACHINES}/press-1/status",
        {"status": {"conditions": conditions}},
        headers={"Content-Type": MERGE},
    )

    table = await face.ask("GET", MACHINES, headers=TABLE)

    assert table["kind"] == "Table"
    assert [column["name"] for column in table["columnDefinitions"]][:3] == ["Name", "READY", "APPROVED"]
    (row,) = table["rows"]
    assert row["cells"][:4] == ["press-1", "True", None, "Fine"]
    assert (row["object"]["kind"], row["object"]["metadata"]["name"]) == ("PartialObjectMetadata", "press-1")


async def test_an_update_of_an_old_version_is_a_conflict(face: Face) -> None:
    created = await face.ask("POST", MACHINES, machine("press-1"), status=201)
    await face.ask("PUT", f"{MACHINES}/press-1", {**created, "spec": {"tpmHash": "1"}})

    conflict = await face.ask("PUT", f"{MACHINES}/press-1", {**created, "spec": {"tpmHash": "2"}}, status=409)
    taken = await face.ask("POST", MACHINES, machine("press-1"), status=409)

    assert (conflict["reason"], taken["reason"]) == ("Conflict", "AlreadyExists")


async def test_delete_options_are_obeyed(face: Face) -> None:
    await face.ask("POST", MACHINES, machine("press-1"), status=201)

    await face.ask("DELETE", f"{MACHINES}/press-1", {"preconditions": {"uid": "another"}}, status=409)
    await face.ask("DELETE", f"{MACHINES}/press-1", {"propagationPolicy": "Sideways"}, status=422)
    await face.ask("DELETE", f"{MACHINES}/press-1", {"propagationPolicy": "Foreground"})


async def test_what_is_held_by_a_finalizer_is_answered_whole(face: Face) -> None:
    document = machine("press-1")
    document["metadata"]["finalizers"] = ["a/b"]
    await face.ask("POST", MACHINES, document, status=201)

    held = await face.ask("DELETE", f"{MACHINES}/press-1")

    assert held["metadata"]["deletionTimestamp"]


async def test_unknown_fields_are_refused_or_warned_of_as_asked(face: Face) -> None:
    document = machine("press-1", tpmHsh="x")

    refused = await face.ask("POST", f"{MACHINES}?fieldValidation=Strict", document, status=400)
    assert refused["message"] == 'strict decoding error: unknown field "spec.tpmHsh"'
    async with face.session.post(MACHINES, json=document) as response:
        assert response.headers["Warning"] == "299 - \"unknown field 'spec.tpmHsh'\""
    async with face.session.post(f"{MACHINES}?fieldValidation=Ignore", json=machine("two", a=1)) as response:
        assert "Warning" not in response.headers


@pytest.mark.parametrize(
    ("method", "path", "body", "content_type", "status", "reason"),
    [
        ("POST", MACHINES, "{", "application/json", 400, "BadRequest"),
        ("POST", MACHINES, "[]", "application/json", 400, "BadRequest"),
        ("POST", MACHINES, "null", "application/json", 400, "BadRequest"),
        ("POST", MACHINES, "[" * 100_000, "application/json", 400, "BadRequest"),
        ("POST", MACHINES, "\xff", "application/json", 400, "BadRequest"),
        ("POST", MACHINES, "a: &a [1]\nb: *a", "application/yaml", 400, "BadRequest"),
        ("POST", MACHINES, "a: !!python/object:os.system x", "application/yaml", 400, "BadRequest"),
        ("POST", MACHINES, "a: [", "application/yaml", 400, "BadRequest"),
        ("POST", MACHINES, "a: 1\na: 2", "application/yaml", 400, "BadRequest"),
        ("POST", MACHINES, "[a]: 1", "application/yaml", 400, "BadRequest"),
        ("POST", MACHINES, "a: .nan", "application/yaml", 400, "BadRequest"),
        ("POST", MACHINES, "<a/>", "text/xml", 415, "UnsupportedMediaType"),
        ("POST", MACHINES, "k8s\x00junk", "application/vnd.kubernetes.protobuf", 400, "BadRequest"),
        ("POST", MACHINES, "x" * (3 * 1024 * 1024 + 1), "application/json", 413, "RequestEntityTooLarge"),
        ("POST", MACHINES, '{"metadata": 3}', "application/json", 400, "BadRequest"),
        (
            "POST",
            MACHINES,
            '{"metadata": {"name": "a", "namespace": "b"}}',
            "application/json",
            400,
            "BadRequest",
        ),
        ("POST", MACHINES, json.dumps(machine("A")), "application/json", 422, "Invalid"),
        (
            "POST",
            MACHINES,
            '{"kind": "Secret", "metadata": {"name": "a"}}',
            "application/json",
            400,
            "BadRequest",
        ),
        ("POST", f"{MACHINES}/x", "{}", "application/json", 405, "MethodNotAllowed"),
        ("PUT", MACHINES, "{}", "application/json", 405, "MethodNotAllowed"),
        ("PUT", f"{MACHINES}/x", '{"metadata": {"name": "y"}}', "application/json", 400, "BadRequest"),
        ("PUT", f"{MACHINES}/x", "{}", "application/json", 400, "BadRequest"),
        ("PUT", f"{MACHINES}/x", json.dumps(machine("x")), "application/json", 404, "NotFound"),
        ("POST", MACHINES, '{"metadata": {"name": "a"}}', "application/json", 400, "BadRequest"),
        ("PATCH", f"{MACHINES}/x", "{}", MERGE, 404, "NotFound"),
        ("PATCH", f"{MACHINES}/x", "{}", "application/json", 415, "UnsupportedMediaType"),
        ("PATCH", f"{MACHINES}/x", "[]", MERGE, 400, "BadRequest"),
        ("PATCH", f"{MACHINES}/x", "[1]", "application/json-patch+json", 400, "BadRequest"),
        ("PATCH", f"{MACHINES}/x", "a: b", "application/apply-patch+yaml", 422, "Invalid"),
        ("DELETE", f"{MACHINES}/x", "[]", "application/json", 400, "BadRequest"),
        ("GET", f"{MACHINES}?labelSelector=a%3Db%3Dc", None, "", 400, "BadRequest"),
        ("GET", f"{MACHINES}?fieldSelector=spec.x%3D1", None, "", 400, "BadRequest"),
        ("GET", f"{MACHINES}?limit=-1", None, "", 400, "BadRequest"),
        ("GET", f"{MACHINES}?limit=ten", None, "", 400, "BadRequest"),
        ("GET", f"{MACHINES}?continue=nonsense", None, "", 400, "BadRequest"),
        ("GET", f"{MACHINES}?watch=perhaps", None, "", 400, "BadRequest"),
        ("GET", f"{MACHINES}?resourceVersionMatch=Exact", None, "", 422, "Invalid"),
        ("GET", f"{MACHINES}?resourceVersionMatch=Exact&resourceVersion=1", None, "", 410, "Expired"),
        ("GET", f"{MACHINES}?sendInitialEvents=true", None, "", 422, "Invalid"),
        ("GET", "/apis/elemental.cattle.io/v1beta1/widgets", None, "", 404, "NotFound"),
        ("GET", "/apis/elemental.cattle.io/v9/machineinventories", None, "", 404, "NotFound"),
        (
            "GET",
            "/apis/elemental.cattle.io/v1beta1/machineinventories/without-namespace",
            None,
            "",
            404,
            "NotFound",
        ),
        ("PUT", "/version", "{}", "application/json", 405, "MethodNotAllowed"),
        ("DELETE", "/apis", None, "", 405, "MethodNotAllowed"),
        ("GET", "/nothing", None, "", 404, "NotFound"),
        ("GET", "/", None, "", 404, "NotFound"),
        ("GET", "/api/v1/namespaces/a/pods/b/log", None, "", 404, "NotFound"),
        ("POST", "/api/v1/namespaces/a/services", "{}", "application/json", 405, "MethodNotAllowed"),
        ("GET", f"{MACHINES}/x/scale", None, "", 404, "NotFound"),
        ("GET", "/api/v1/namespaces/a/namespaces/b", None, "", 404, "NotFound"),
        ("GET", "/apis/nothing.example", None, "", 404, "NotFound"),
        ("POST", f"{MACHINES}?dryRun=Some", json.dumps(machine("a")), "application/json", 422, "Invalid"),
        (
            "POST",
            f"{MACHINES}?fieldValidation=Maybe",
            json.dumps(machine("a")),
            "application/json",
            422,
            "Invalid",
        ),
    ],
)
async def test_bad_requests_are_refused_as_status(
    face: Face, method: str, path: str, body: str | None, content_type: str, status: int, reason: str
) -> None:
    content = None if body is None else body.encode("latin-1")

    refused = await face.ask(method, path, content, status=status, headers={"Content-Type": content_type})

    assert (refused["kind"], refused["status"], refused["reason"]) == ("Status", "Failure", reason)
    assert refused["code"] == status
    assert refused["message"]


async def test_a_client_that_accepts_nothing_we_write_is_told(face: Face) -> None:
    refused = await face.ask("GET", MACHINES, status=406, headers={"Accept": "application/cbor"})

    assert refused["reason"] == "NotAcceptable"


@pytest.mark.parametrize(
    ("method", "path", "content_type", "verb"),
    [
        ("GET", f"{MACHINES}/a", "", "get"),
        ("GET", f"{MACHINES}/a/status", "", "get"),
        ("GET", f"{MACHINES}/a?watch=1", "", "watch"),
        ("GET", MACHINES, "", "list"),
        ("GET", f"{MACHINES}?watch=1", "", "watch"),
        ("POST", MACHINES, "application/json", "create"),
        ("PUT", f"{MACHINES}/a", "application/json", "update"),
        ("PUT", f"{MACHINES}/a/status", "application/json", "update"),
        ("PATCH", f"{MACHINES}/a", MERGE, "patch"),
        ("PATCH", f"{MACHINES}/a/status", MERGE, "patch"),
        ("PATCH", f"{MACHINES}/a?fieldManager=me", "application/apply-patch+yaml", "patch"),
        ("PATCH", f"{MACHINES}/new?fieldManager=me", "application/apply-patch+yaml", "create"),
        ("DELETE", f"{MACHINES}/a", "application/json", "delete"),
        ("DELETE", MACHINES, "application/json", "deletecollection"),
    ],
)
async def test_who_may_not_is_refused_and_nothing_happens(
    tmp_path: Path, method: str, path: str, content_type: str, verb: Verb
) -> None:
    async def refuse(_: web.Request, asked: Asked) -> None:
        if asked.verb == verb:
            raise Forbidden(f"you may not {asked}")

    async with serve(tmp_path, authorize=refuse) as face:
        document = machine("a")
        document["metadata"]["namespace"] = NAMESPACE
        kept = await face.store.create(MACHINE_INVENTORY, document)
        changed = document | {
            "metadata": {"name": path.rpartition("/")[2].partition("?")[0]},
            "spec": {"tpmHash": "no"},
        }
        body = None if method == "GET" else json.dumps(changed)

        refused = await face.ask(method, path, body, status=403, headers={"Content-Type": content_type})

        assert (refused["reason"], f"may not {verb}" in refused["message"]) == ("Forbidden", True)
        assert (await face.store.list(MACHINE_INVENTORY)).items == [kept]


async def test_an_object_may_be_called_token(face: Face) -> None:
    await face.ask("POST", SECRETS, {"metadata": {"name": "token"}}, status=201)
    await face.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "token"}}, status=201)

    assert (await face.ask("GET", f"{SECRETS}/token"))["metadata"]["name"] == "token"
    assert (await face.ask("GET", "/api/v1/namespaces/token"))["metadata"]["name"] == "token"
    await face.ask("DELETE", f"{SECRETS}/token")
