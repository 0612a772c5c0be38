"""The commands of kubectl one by one, by two of them: what works, and how the rest is refused."""

import json
from pathlib import Path
from typing import Literal

import pytest
import yaml

from appliance.cli.kubeconfig import render_kubeconfig, secret_of
from tests.appliance.api.kubernetes.kubectls import KUBECTLS, Kubectl, find_kubectl
from tests.appliance.api.kubernetes.serving import NAMESPACE, SECRETS, Face
from tests.appliance.fleet import add_machine
from tests.appliance.running import Appliance

pytestmark = pytest.mark.interop

MANIFEST = """\
apiVersion: elemental.cattle.io/v1beta1
kind: MachineRegistration
metadata: {name: plant, labels: {site: north}}
spec: {machineName: m-1}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: notes}
data: {owner: line 7}
"""


@pytest.fixture(params=KUBECTLS)
def kubectl(request: pytest.FixtureRequest, face: Face, tmp_path: Path) -> Kubectl:
    return Kubectl(find_kubectl(request.param), tmp_path, "--server", face.url, "-n", NAMESPACE)


@pytest.fixture
async def manifest(kubectl: Kubectl, tmp_path: Path) -> str:
    """A file with a custom object and one of Kubernetes' own, applied once."""
    path = tmp_path / "plant.yaml"
    path.write_text(MANIFEST)
    await kubectl("apply", "-f", str(path))
    return str(path)


async def get(kubectl: Kubectl, what: str, path: str) -> str:
    return await kubectl("get", *what.split(), "-o", f"jsonpath={{{path}}}")


async def test_it_finds_out_what_there_is(kubectl: Kubectl) -> None:
    resources = await kubectl("api-resources", "-o", "name")
    assert {"secrets", "rollouts.skerry.dev", "tokenreviews.authentication.k8s.io"} <= set(resources.split())
    assert "elemental.cattle.io/v1beta1" in (await kubectl("api-versions")).splitlines()
    assert "is running at" in await kubectl("cluster-info")
    assert "+skerry-" in await kubectl("version", "-o", "json")


async def test_explain_knows_every_field(kubectl: Kubectl) -> None:
    whole = await kubectl("explain", "mr.spec", "--recursive")
    assert {"cloud-config", "device-selector", "machineName"} <= set(whole.replace("\t", " ").split())
    assert "stringData" in await kubectl("explain", "secret")
    assert "string" in await kubectl("explain", "mi.metadata.labels")


async def test_dry_runs_and_diffs_change_nothing(kubectl: Kubectl, manifest: str) -> None:
    assert (await kubectl("apply", "-f", manifest, "--dry-run=server")).count("unchanged") == 2
    assert await kubectl("diff", "-f", manifest) == ""
    path = Path(manifest)
    path.write_text(MANIFEST.replace("line 7", "line 8").replace("north", "south"))

    said = await kubectl("diff", "-f", manifest, code=1)

    assert "+  owner: line 8" in said
    assert "+    site: south" in said
    assert await get(kubectl, "cm notes", ".data.owner") == "line 7"


async def test_two_managers_of_one_field_collide_until_one_forces_it(kubectl: Kubectl, manifest: str) -> None:
    await kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=one", "-f", manifest)
    Path(manifest).write_text(MANIFEST.replace("line 7", "line 8"))
    apply = ("apply", "--server-side", "--field-manager=two", "-f", manifest)

    refused = await kubectl(*apply, code=1)
    assert "conflict" in refused
    assert "data.owner" in refused
    assert "serverside-applied" in await kubectl(*apply, "--force-conflicts")
    assert await get(kubectl, "cm notes", ".data.owner") == "line 8"


async def test_patches_of_each_type_and_the_one_that_custom_kinds_lack(
    kubectl: Kubectl, manifest: str
) -> None:
    await kubectl("patch", "cm", "notes", "-p", '{"data": {"shift": "2"}}')
    await kubectl("patch", "cm", "notes", "--type=merge", "-p", '{"data": {"owner": null}}')
    await kubectl(
        "patch", "mr", "plant", "--type=json", "-p", '[{"op": "remove", "path": "/metadata/labels"}]'
    )

    assert json.loads(await get(kubectl, "cm notes", ".data")) == {"shift": "2"}
    assert await get(kubectl, "mr plant", ".metadata.labels") == ""
    refused = await kubectl("patch", "mr", "plant", "--type=strategic", "-p", "{}", code=1)
    assert "patch" in refused


async def test_edit_label_annotate_and_replace(kubectl: Kubectl, manifest: str) -> None:
    assert "edited" in await kubectl("edit", "mr", "plant", editor="sed -i s/north/south/")
    assert "edited" in await kubectl("edit", "cm", "notes", editor="sed -i s/owner/keeper/")
    await kubectl("label", "mr", "plant", "line=7")
    await kubectl("annotate", "cm", "notes", "seen=yes")
    assert await get(kubectl, "mr -l site=south,line", ".items[*].metadata.name") == "plant"
    assert await get(kubectl, "cm notes", ".data.keeper") == "line 7"

    assert (await kubectl("replace", "-f", manifest)).count("replaced") == 2
    assert await get(kubectl, "mr plant", ".metadata.labels.site") == "north"


async def test_lists_in_all_forms(kubectl: Kubectl, manifest: str) -> None:
    await kubectl("create", "configmap", "other", "--from-literal=a=b")

    assert (await kubectl("get", "cm", "--chunk-size=1", "-o", "name")).split() == [
        "configmap/notes",
        "configmap/other",
    ]
    selected = ("get", "cm", "--field-selector", "metadata.name!=other")
    columns = await kubectl(*selected, "-o", "custom-columns=N:.metadata.name,O:.data.owner")
    assert [line.split(maxsplit=1) for line in columns.splitlines()] == [["N", "O"], ["notes", "line 7"]]
    watched = await kubectl("get", "cm", "notes", "-w", "--request-timeout=1s", "--no-headers")
    assert watched.split()[0] == "notes"


async def test_secrets_of_every_sort(kubectl: Kubectl, face: Face, tmp_path: Path) -> None:
    await kubectl("create", "secret", "generic", "plain", "--from-literal=a=b")
    registry = ("--docker-server=r", "--docker-username=u", "--docker-password=p")
    await kubectl("create", "secret", "docker-registry", "pull", *registry)
    dry = await kubectl("create", "secret", "generic", "dry", "--from-literal=a=b", "--dry-run=server")

    assert "created (server dry run)" in dry
    found = await face.ask("GET", SECRETS)
    types = {each["metadata"]["name"]: each["type"] for each in found["items"]}
    assert types == {"plain": "Opaque", "pull": "kubernetes.io/dockerconfigjson"}


async def test_roles_accounts_and_what_they_may(kubectl: Kubectl) -> None:
    await kubectl("create", "serviceaccount", "robot")
    await kubectl("create", "role", "reader", "--verb=get", "--resource=secrets", "--resource-name=plan")
    await kubectl("create", "rolebinding", "robot", "--role=reader", f"--serviceaccount={NAMESPACE}:robot")

    assert (await kubectl("auth", "can-i", "delete", "secrets")).strip() == "yes"
    assert "[*]" in await kubectl("auth", "can-i", "--list")


async def test_describe_tells_the_events(kubectl: Kubectl, face: Face, manifest: str) -> None:
    uid = await get(kubectl, "mr plant", ".metadata.uid")
    reference = {"kind": "MachineRegistration", "name": "plant", "namespace": NAMESPACE, "uid": uid}
    event = {
        "metadata": {"name": "plant.1"},
        "involvedObject": {**reference, "apiVersion": "elemental.cattle.io/v1beta1"},
        "reason": "Opened",
        "message": "the gate is open",
        "type": "Normal",
    }
    await face.ask("POST", f"/api/v1/namespaces/{NAMESPACE}/events", event, status=201)

    assert "the gate is open" in await kubectl("describe", "mr", "plant")
    assert "the gate is open" in await kubectl("get", "events")


async def test_delete_waits_cascades_and_forgives(kubectl: Kubectl, manifest: str) -> None:
    hold = '{"metadata": {"finalizers": ["example.com/hold"]}}'
    await kubectl("patch", "mr", "plant", "--type=merge", "-p", hold)
    await kubectl("delete", "mr", "plant", "--cascade=foreground", "--grace-period=0", "--wait=false")
    assert "timed out" in await kubectl("wait", "--for=delete", "mr/plant", "--timeout=1s", code=1)

    await kubectl("patch", "mr", "plant", "--type=merge", "-p", hold.replace('"example.com/hold"', ""))

    assert "NotFound" in await kubectl("delete", "mr", "plant", code=1)
    assert await kubectl("delete", "mr", "plant", "--ignore-not-found") == ""
    assert "deleted" in await kubectl("delete", "cm", "--all")


@pytest.mark.parametrize(
    "arguments",
    [
        "scale mr/plant --replicas=2",
        "rollout status mr/plant",
        "rollout restart mr/plant",
        "logs plant",
        "exec plant -- true",
        "port-forward plant 80",
        "top nodes",
        "drain plant",
        "get pods",
        "create deployment x --image=y",
        "expose mr plant --port=80",
        "get --raw /nothing",
        "get --raw /api/v1/namespaces/x/pods/y/log",
    ],
)
async def test_what_is_not_here_is_refused_at_once(kubectl: Kubectl, manifest: str, arguments: str) -> None:
    refused = await kubectl(*arguments.split(), code=1)

    assert refused.lower().startswith(("error", "warning")), refused


@pytest.mark.parametrize("which", KUBECTLS)
@pytest.mark.parametrize("method", ["token", "certificate"])
async def test_a_kubeconfig_of_ours_lets_in_as_its_role(
    appliance: Appliance, tmp_path: Path, which: str, method: Literal["token", "certificate"]
) -> None:
    client = appliance.client()
    user = f"{which}-{method}"
    add_machine(client, f"seen-{user}")
    issued = client.issue_user(user, "viewer", method=method, lifetime_seconds=600)
    path = tmp_path / "viewer.kubeconfig"
    path.write_text(yaml.safe_dump(render_kubeconfig(client.access(), user, secret_of(issued))))
    kubectl = Kubectl(find_kubectl(which), tmp_path, "--kubeconfig", str(path))

    assert f"seen-{user}" in await kubectl("get", "mi")
    assert f'User "{user}" cannot list resource "secrets"' in await kubectl("get", "secrets", code=1)
    assert (await kubectl("auth", "can-i", "delete", "mi", code=1)).startswith("no")
    client.revoke_user(user)
    assert "must be logged in" in await kubectl("get", "mi", code=1)
