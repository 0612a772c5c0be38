"""From a machine's firmware to its labels: read, registered, rendered; what lacked is told to operators."""

from pathlib import Path

import pytest

from agent.errors import Denied
from agent.facts import Facts, read_facts
from agent.identity import TpmIdentity
from agent.protocol.client_config import Registration
from agent.register import Registered, WaitingForApproval, register
from agent.tpm.software import SoftwareTpm
from appliance.api.client import Client
from appliance.cli.run import run
from appliance.demo import NAMESPACE, box, wait_until
from appliance.hosts.records import MISSING_VALUES
from appliance.resources.core import EVENT
from appliance.resources.machine_registration import (
    APPROVAL_POLICY,
    MACHINE_REGISTRATION,
    MachineRegistration,
)
from appliance.resources.meta import Document, decode, find_condition
from tests.agent.facts.workstation import make_workstation

LABELS = {
    "serial": "${System Information/Serial Number}",
    "board": "${Base Board Information/Serial Number|none}",
    "disk": "${Storage/Disks/nvme0n1/SerialNumber}",
    "memory": "${Memory/Modules/0/Vendor}",
    "gpu": "${GPU/GraphicsCards/VendorName}",
    "nic": "${Network/NICs/enp3s0/MacAddress}",
    "rack": "${Rack/Unit|unknown}",
    "slip": "${Product/Serial Number}",
}


def put_registration(
    client: Client, *, approval: str, name: str = "", missing: str = "skip"
) -> MachineRegistration:
    name = name or approval
    annotations = {APPROVAL_POLICY: approval, MISSING_VALUES: missing}
    document: Document = {
        "apiVersion": MACHINE_REGISTRATION.api_version,
        "kind": MACHINE_REGISTRATION.kind,
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": annotations},
        "spec": {
            "machineName": f"{name}-${{System Information/Serial Number}}",
            "machineInventoryLabels": LABELS,
            "config": {"elemental": {"registration": {"emulate-tpm": True}}},
        },
    }
    client.create_object(document)
    wait_until("the registration has a URL", lambda: bool(read(client, name).status.registration_url))
    return read(client, name)


def read(client: Client, name: str) -> MachineRegistration:
    return decode(MachineRegistration, client.get_object(MACHINE_REGISTRATION, name, NAMESPACE))


@pytest.fixture
def facts(tmp_path: Path) -> Facts:
    return read_facts(make_workstation(tmp_path / "machine"))


def test_a_machines_firmware_becomes_its_labels_and_what_lacks_is_told(
    tmp_path: Path, facts: Facts, capsys: pytest.CaptureFixture[str]
) -> None:
    with box(tmp_path / "box") as appliance:
        client = Client(f"unix:{appliance.socket}")
        ca = appliance.ca_file.read_text()
        automatic = put_registration(client, approval="automatic")
        required = put_registration(client, approval="required")

        let_in = register(
            Registration(url=automatic.status.registration_url, ca_cert=ca),
            TpmIdentity(SoftwareTpm.from_seed(1)),
            facts=facts,
        )
        waiting = register(
            Registration(url=required.status.registration_url, ca_cert=ca),
            TpmIdentity(SoftwareTpm.from_seed(2)),
            facts=facts,
        )

        assert isinstance(let_in, Registered)
        assert isinstance(waiting, WaitingForApproval)
        assert "label slip: the host sent no value for ${Product/Serial Number}" in waiting.message
        view = client.host("automatic-sn-0001", NAMESPACE)
        assert {key: view.labels.get(key) for key in LABELS} == {
            "serial": "SN-0001",
            "board": "B-1",
            "disk": "S64DNX0R",
            "memory": "Samsung",
            "gpu": "Intel-Corporation",
            "nic": "3c-ec-ef-00-00-01",
            "rack": "unknown",
            "slip": None,
        }

        def is_told() -> bool:
            condition = find_condition(read(client, "automatic").status.conditions, "TemplatesResolved")
            return condition is not None and "automatic-sn-0001: label slip" in condition.message

        wait_until("the registration's condition names the machine", is_told)
        told = [
            event["message"] for event in client.list_objects(EVENT, NAMESPACE) if event["type"] == "Warning"
        ]
        assert any("${Product/Serial Number}" in message for message in told)

        wait_until("the inventory has the facts", lambda: bool(client.machine("automatic-sn-0001").facts))
        rendering = ["--server", f"unix:{appliance.socket}", "registration", "render", "automatic"]
        assert run([*rendering, "--host", "automatic-sn-0001"]) == 7
        assert "it did send" in capsys.readouterr().err


def test_a_strict_registration_turns_a_machine_away_and_says_why_on_both_sides(
    tmp_path: Path, facts: Facts
) -> None:
    with box(tmp_path / "box") as appliance:
        client = Client(f"unix:{appliance.socket}")
        strict = put_registration(client, approval="automatic", name="strict", missing="refuse")

        with pytest.raises(Denied, match="label slip: the host sent no value") as denied:
            register(
                Registration(url=strict.status.registration_url, ca_cert=appliance.ca_file.read_text()),
                TpmIdentity(SoftwareTpm.from_seed(1)),
                facts=facts,
            )

        told = [event for event in client.list_objects(EVENT, NAMESPACE) if event["type"] == "Warning"]
        assert [event["involvedObject"]["name"] for event in told] == ["strict"]
        assert "${Product/SerialNumber}" in told[0]["message"]
        assert "${Product/SerialNumber}" in str(denied.value)
        assert client.hosts(NAMESPACE) == []
