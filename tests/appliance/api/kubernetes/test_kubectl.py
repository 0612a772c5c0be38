"""A real kubectl, of any age, against the face: what a technician would type."""

import asyncio
from pathlib import Path

import pytest

from tests.appliance.api.kubernetes.kubectls import Kubectl, find_kubectl
from tests.appliance.api.kubernetes.serving import RANCHER, Face

pytestmark = pytest.mark.interop

REGISTRATION = """\
apiVersion: elemental.cattle.io/v1beta1
kind: MachineRegistration
metadata:
  name: plant
  namespace: fleet-default
  labels: {site: north}
spec:
  machineName: "m-${System Information/UUID}"
  config:
    cloud-config:
      users: [{name: root, passwd: root}]
    elemental:
      install: {reboot: true, device: /dev/sda}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: notes, namespace: fleet-default}
data: {owner: line 7}
"""


@pytest.fixture(params=["", RANCHER])
def kubectl(request: pytest.FixtureRequest, face: Face, tmp_path: Path) -> Kubectl:
    return Kubectl(find_kubectl("installed"), tmp_path, "--server", face.url + request.param)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "plant.yaml"
    path.write_text(REGISTRATION)
    return path


async def test_apply_twice_change_and_delete(kubectl: Kubectl, manifest: Path) -> None:
    assert "machineregistration.elemental.cattle.io/plant created" in await kubectl(
        "apply", "-f", str(manifest)
    )
    assert "plant unchanged" in await kubectl("apply", "-f", str(manifest))

    manifest.write_text(REGISTRATION.replace("/dev/sda", "/dev/vda").replace("line 7", "line 8"))
    applied = await kubectl("apply", "-f", str(manifest))
    assert "plant configured" in applied
    assert "notes configured" in applied
    device = ["-o", "jsonpath={.spec.config.elemental.install.device}"]
    assert await kubectl("get", "mr", "plant", "-n", "fleet-default", *device) == "/dev/vda"

    assert '"plant" deleted' in await kubectl("delete", "-f", str(manifest), "--timeout=20s")
    assert "NotFound" in await kubectl("get", "mr", "plant", "-n", "fleet-default", code=1)


async def test_server_side_apply_repeats(kubectl: Kubectl, manifest: Path) -> None:
    for _ in range(2):
        applied = await kubectl("apply", "--server-side", "-f", str(manifest))
        assert applied.count("serverside-applied") == 2


async def test_get_label_patch_and_describe(kubectl: Kubectl, manifest: Path) -> None:
    await kubectl("apply", "-f", str(manifest))
    on = ("mr", "plant", "-n", "fleet-default")

    await kubectl("label", *on, "line=7")
    await kubectl("patch", *on, "--type=merge", "-p", '{"spec": {"labelPrefix": "x"}}')
    await kubectl("patch", *on, "--type=json", "-p", '[{"op": "remove", "path": "/spec/labelPrefix"}]')
    await kubectl("annotate", "configmap", "notes", "-n", "fleet-default", "seen=yes")

    table = await kubectl("get", "mr", "-A", "-l", "line in (7)", "-o", "wide")
    assert {"NAMESPACE", "READY", "URL"} <= set(table.splitlines()[0].split())
    assert "plant" in table
    assert await kubectl("get", "mr", "-A", "-o", "name") == "machineregistration.elemental.cattle.io/plant\n"
    described = await kubectl("describe", *on)
    assert "line=7" in described
    assert "Generation:" in described


async def test_wait_sees_a_condition_come(kubectl: Kubectl, manifest: Path, face: Face) -> None:
    await kubectl("apply", "-f", str(manifest))
    waiting = await kubectl.start(
        "wait", "mr/plant", "-n", "fleet-default", "--for=condition=Ready", "--timeout=30s"
    )
    conditions = [
        {"type": "Ready", "status": "True", "reason": "Done", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    ]
    await face.ask(
        "PATCH",
        "/apis/elemental.cattle.io/v1beta1/namespaces/fleet-default/machineregistrations/plant/status",
        {"status": {"conditions": conditions}},
        headers={"Content-Type": "application/merge-patch+json"},
    )

    output, _ = await waiting.communicate()
    assert "condition met" in output.decode()


async def test_get_watch_prints_what_changes(kubectl: Kubectl, manifest: Path) -> None:
    await kubectl("apply", "-f", str(manifest))
    watching = await kubectl.start("get", "mr", "-n", "fleet-default", "-w", "-o", "name")
    assert watching.stdout is not None
    try:
        async with asyncio.timeout(30):
            assert (await watching.stdout.readline()).endswith(b"/plant\n")
            await kubectl("label", "mr", "plant", "-n", "fleet-default", "line=7")
            assert (await watching.stdout.readline()).endswith(b"/plant\n")
    finally:
        watching.kill()
        await watching.wait()


async def test_core_kinds_are_created_by_command(kubectl: Kubectl) -> None:
    await kubectl("create", "namespace", "line-7")
    await kubectl("create", "secret", "generic", "s", "-n", "line-7", "--from-literal=a=b")
    await kubectl("create", "configmap", "c", "-n", "line-7", "--from-literal=a=b")

    assert await kubectl("get", "secret", "s", "-n", "line-7", "-o", "jsonpath={.data.a}") == "Yg=="
    assert (await kubectl("auth", "can-i", "delete", "mr")).strip() == "yes"
    await kubectl("delete", "namespace", "line-7", "--timeout=20s")
    assert "NotFound" in await kubectl("get", "secret", "s", "-n", "line-7", code=1)


async def test_a_mistake_is_explained(kubectl: Kubectl, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(REGISTRATION.replace("reboot: true", "reboot: 7"))

    refused = await kubectl("apply", "--validate=false", "-f", str(wrong), code=1)

    assert "spec.config.elemental.install.reboot in body must be of type boolean" in refused
