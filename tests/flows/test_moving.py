"""A box that burned, and the one that takes its place from a backup: the hosts notice nothing."""

import json
import shutil
import sys
from pathlib import Path

from appliance.demo import (
    NAMESPACE,
    Teller,
    approve_all,
    load_images,
    register_fleet,
    roll_out,
    simulated_hosts,
    wait_for_phase,
    wait_until,
)
from appliance.resources.meta import decode
from appliance.resources.rollout import ROLLOUT, Rollout
from tests.appliance.running import Appliance, running
from tests.flows.hosting import skerry
from tests.flows.test_faults import box_of, find_addresses


def test_a_running_host_goes_on_with_the_box_that_was_restored_at_the_same_address(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    data, saved, ports = tmp_path / "box", tmp_path / "box.backup", find_addresses()
    teller = Teller(sys.stderr)

    with running(data, *ports) as first:
        images = load_images(first.client(), box_of(first), tmp_path, teller)
        url = register_fleet(first.client(), box_of(first), images[0])
        place = box_of(first)
        with simulated_hosts(place, tmp_path, 1, url):
            (name,) = approve_all(first.client(), 1, teller)
            wait_until("it runs v1", lambda: digest(first, name) == images[0].digest)
            skerry("backup", str(saved), "--data", str(data))
            first.kill()
            shutil.rmtree(data)

            told = json.loads(skerry("restore", str(saved), "--data", str(data), "-o", "json"))
            with running(data, *ports) as second:
                before = digest(second, name)
                roll_out(second.client(), "to-v2", images[1], sizes=["1"])
                waiting = wait_for_phase(second.client(), "to-v2", "Pending")
                wait_until("it says what is missing", lambda: "does not hold" in reason(second))
                load_images(second.client(), box_of(second), tmp_path / "again", teller)
                status = wait_for_phase(second.client(), "to-v2", "Completed")
                after = digest(second, name)

    assert waiting.updated == 0
    assert told["bundles"] == ["demo, edition 0: " + ", ".join(f"skerry/demo-os:v{n}" for n in (1, 2, 3))]
    assert (before, after) == (images[0].digest, images[1].digest)
    assert status.updated == 1


def reason(appliance: Appliance) -> str:
    return decode(Rollout, appliance.client().get_object(ROLLOUT, "to-v2", NAMESPACE)).status.reason


def digest(appliance: Appliance, name: str) -> str:
    return str(appliance.client().host(name, NAMESPACE).digest)
