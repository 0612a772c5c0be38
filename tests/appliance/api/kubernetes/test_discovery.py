"""What clients ask before they ask for objects."""

import pytest

from tests.appliance.api.kubernetes.serving import RANCHER, Face

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList,application/json"


@pytest.mark.parametrize("prefix", ["", RANCHER])
async def test_groups_versions_and_resources_are_found_step_by_step(face: Face, prefix: str) -> None:
    groups = await face.ask("GET", f"{prefix}/apis")
    versions = [group["preferredVersion"]["groupVersion"] for group in groups["groups"]]
    assert versions[:2] == ["elemental.cattle.io/v1beta1", "skerry.dev/v1alpha1"]
    assert (await face.ask("GET", f"{prefix}/apis/skerry.dev"))["name"] == "skerry.dev"

    found = await face.ask("GET", f"{prefix}/apis/elemental.cattle.io/v1beta1")
    resources = {resource["name"]: resource for resource in found["resources"]}
    assert resources["machineinventories"]["shortNames"] == ["mi", "host"]
    assert resources["machineinventories/status"]["verbs"] == ["get", "patch", "update"]

    core = await face.ask("GET", f"{prefix}/api/v1")
    scopes = {resource["name"]: resource["namespaced"] for resource in core["resources"]}
    assert (scopes["namespaces"], scopes["secrets"]) == (False, True)


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
async def test_everything_is_found_at_once_by_clients_that_ask_so(face: Face, version: str) -> None:
    accept = {"Accept": AGGREGATED.format(version=version)}

    async with face.session.get("/apis", headers=accept) as response:
        assert response.headers["Content-Type"] == AGGREGATED.format(version=version).partition(",")[0]
        found = await response.json(content_type=None)
    core = await face.ask("GET", "/api", headers=accept)

    assert [group["metadata"]["name"] for group in found["items"][:2] + core["items"]] == [
        "elemental.cattle.io",
        "skerry.dev",
        "",
    ]
    rollout = found["items"][1]["versions"][0]["resources"]
    assert any(resource["resource"] == "rollouts" and resource["subresources"] for resource in rollout)


async def test_the_version_says_whose_server_it_is(face: Face) -> None:
    assert "+skerry-" in (await face.ask("GET", "/version"))["gitVersion"]


async def test_openapi_tells_kubectl_what_a_patch_may_carry_and_what_fields_mean(face: Face) -> None:
    index = await face.ask("GET", "/openapi/v3")
    path = index["paths"]["apis/elemental.cattle.io/v1beta1"]["serverRelativeURL"]
    document = await face.ask("GET", path)

    item = "/apis/elemental.cattle.io/v1beta1/namespaces/{namespace}/machineregistrations/{name}"
    patch = document["paths"][item]["patch"]
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]
    schema = document["components"]["schemas"]["io.cattle.elemental.v1beta1.MachineRegistration"]
    assert schema["x-kubernetes-group-version-kind"] == [
        {"group": "elemental.cattle.io", "version": "v1beta1", "kind": "MachineRegistration"}
    ]
    assert "machineName" in schema["properties"]["spec"]["properties"]
    await face.ask("GET", "/openapi/v3/apis/nothing/v1", status=404)


async def test_openapi_v2_is_there_for_old_clients_in_both_forms(face: Face) -> None:
    document = await face.ask("GET", "/openapi/v2")
    assert "io.cattle.elemental.v1beta1.MachineInventory" in document["definitions"]

    accept = {"Accept": "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"}
    async with face.session.get("/openapi/v2", headers=accept) as response:
        assert "@" not in response.headers["Content-Type"]
        assert (await response.read()).startswith(b"\x0a\x032.0")
    await face.ask("GET", "/openapi/v2", status=406, headers={"Accept": "text/html"})
