"""What goes wrong on a floor at night, with the real programs: the box loses power in mid-work."""

import socket
import sys
from pathlib import Path

from appliance.api.contract import HostView
from appliance.demo import (
    NAMESPACE,
    Box,
    Teller,
    load_images,
    register_fleet,
    roll_out,
    simulated_hosts,
    wait_for_phase,
    wait_until,
)
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from tests.appliance.running import Appliance, running


def test_a_box_that_dies_while_a_host_joins_and_upgrades_loses_nothing(tmp_path: Path) -> None:
    data = tmp_path / "box"
    ports = find_addresses()

    with running(data, *ports) as appliance:
        images = load_images(appliance.client(), box_of(appliance), tmp_path, Teller(sys.stderr))
        url = register_fleet(appliance.client(), box_of(appliance), images[0])
        with simulated_hosts(box_of(appliance), tmp_path, 1, url):
            wait_until("the host waits", lambda: _waiting(appliance))
            appliance.kill()

            with running(data, *ports) as second:
                name = second.client().inbox()[0].name
                second.client().approve(name, NAMESPACE)
                second.kill()

            with running(data, *ports) as third:
                assert third.client().host(name, NAMESPACE).approval == "approved"
                wait_until("it runs v1", lambda: _host(third, name).digest == images[0].digest)
                roll_out(third.client(), "to-v2", images[1], sizes=["1"])
                wait_until("it upgrades", lambda: _host(third, name).phase == "Upgrading")
                third.kill()

            with running(data, *ports) as last:
                status = wait_for_phase(last.client(), "to-v2", "Completed")
                known = last.client().list_objects(MACHINE_INVENTORY)

    assert status.updated == 1
    assert [each["metadata"]["name"] for each in known] == [name]


def find_addresses() -> list[str]:
    """Two ports that stay the same over restarts, as a box's addresses do."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        control, mirror = (each.getsockname()[1] for each in (one, two))
    return ["--listen", f"127.0.0.1:{control}", "--mirror-listen", f"127.0.0.1:{mirror}"]


def box_of(appliance: Appliance) -> Box:
    return Box(
        url=appliance.url,
        mirror=appliance.mirror,
        socket=str(appliance.socket),
        ca_file=appliance.ca_file,
        data=appliance.data,
    )


def _waiting(appliance: Appliance) -> bool:
    return any(entry.kind == "waiting" for entry in appliance.client().inbox())


def _host(appliance: Appliance, name: str) -> HostView:
    return appliance.client().host(name, NAMESPACE)
