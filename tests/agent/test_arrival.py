"""A host whose appliance moved follows the CA, not the name."""

from pathlib import Path

from agent.arrival import point_at
from agent.discovery import FoundAppliance
from agent.pairing import read_fingerprint
from agent.protocol.client_config import Registration
from tests.agent.appliances import RunningAppliance


def test_an_appliance_is_followed_by_its_ca_and_by_nothing_else(tmp_path: Path) -> None:
    appliance = RunningAppliance(tmp_path)
    appliance.close()
    fingerprint = read_fingerprint(appliance.ca_pem)
    told = Registration(url="https://10.0.0.1:8443/elemental/registration/t", ca_cert=appliance.ca_pem)
    another = FoundAppliance("b", "10.0.0.66", 8443, "/", "0" * 16)
    moved = FoundAppliance("a", "10.0.0.9", 9443, "/", fingerprint[:16])

    assert point_at(told, [another]) == told
    assert point_at(told, [another, moved]).url == "https://10.0.0.9:9443/elemental/registration/t"
    assert point_at(Registration(url=told.url), [moved, another]).url == told.url
