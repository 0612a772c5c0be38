"""A machine is heard before it is known: one that cannot register still shows up in the inbox."""

from pathlib import Path

from appliance.api.client import Client
from appliance.demo import box, simulated_hosts, wait_until

NOWHERE = "https://127.0.0.1:9/elemental/registration/nobody"


def test_a_machine_that_cannot_register_is_found_by_mdns(tmp_path: Path) -> None:
    with box(tmp_path / "box") as appliance, simulated_hosts(appliance, tmp_path, 1, NOWHERE):
        client = Client(f"unix:{appliance.socket}")
        wait_until("the machine is heard", lambda: bool(client.inbox()))
        found = client.inbox()

    assert [(entry.kind, entry.details["st"]) for entry in found] == [("found", "unreg")]
