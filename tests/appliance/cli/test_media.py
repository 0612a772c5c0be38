"""`skerry iso`: built for a registration, burned onto a file that stands for a stick."""

import hashlib
import json
import time
from pathlib import Path

import pytest
import yaml

from appliance.api.contract import DeviceView
from appliance.cli.exits import CommandFailed
from appliance.cli.media import plan_burn
from appliance.resources.machine_registration import MACHINE_REGISTRATION
from bundles.media.iso import REGISTRATION_PATH, read_iso_file
from tests.appliance.cli.typing_in import Terminal
from tests.appliance.running import Appliance


@pytest.fixture(scope="module")
def registration(appliance: Appliance) -> str:
    client = appliance.client()
    metadata = {"name": "media", "namespace": "fleet-default"}
    client.apply_object(
        {"apiVersion": MACHINE_REGISTRATION.api_version, "kind": "MachineRegistration", "metadata": metadata}
    )
    deadline = time.monotonic() + 30
    while not client.get_object(MACHINE_REGISTRATION, "media").get("status", {}).get("registrationURL"):
        assert time.monotonic() < deadline, "the registration got no URL"
        time.sleep(0.02)
    return "media"


def test_an_iso_holds_the_tree_and_the_registration(
    skerry: Terminal, appliance: Appliance, registration: str, tmp_path: Path
) -> None:
    (tmp_path / "tree" / "boot").mkdir(parents=True)
    (tmp_path / "tree" / "boot" / "kernel").write_bytes(b"kernel")
    iso = tmp_path / "out.iso"

    dry = skerry("iso", "build", registration, "--output", str(iso), "--dry-run")
    assert not iso.exists()
    built = skerry(
        "iso",
        "build",
        registration,
        "--output",
        str(iso),
        "--tree",
        str(tmp_path / "tree"),
        "-o",
        "json",
        "--wait",
    )

    assert dry.code == built.code == 0
    result = json.loads(built.out)["result"]
    assert result["sha256"] == hashlib.sha256(iso.read_bytes()).hexdigest()
    assert read_iso_file(iso, "boot/kernel") == b"kernel"
    document = yaml.safe_load(read_iso_file(iso, REGISTRATION_PATH))
    said = document["elemental"]["registration"]
    assert said["url"].startswith(f"{appliance.url}/elemental/registration/")
    assert said["ca-cert"] == appliance.ca_file.read_text()


def test_an_iso_for_an_unknown_registration_is_refused(skerry: Terminal, tmp_path: Path) -> None:
    outcome = skerry("iso", "build", "nobody", "--output", str(tmp_path / "out.iso"))

    assert outcome.code == 1
    assert "nobody" in outcome.err
    assert not (tmp_path / "out.iso").exists()


def test_a_link_in_the_tree_is_refused(skerry: Terminal, registration: str, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "shadow").symlink_to("/etc/shadow")

    outcome = skerry(
        "iso", "build", registration, "--output", str(tmp_path / "o.iso"), "--tree", str(tmp_path / "tree")
    )

    assert outcome.code == 1
    assert "shadow is not a plain file" in outcome.err


def test_an_image_is_burned_to_a_file_and_read_back(skerry: Terminal, tmp_path: Path) -> None:
    image, target = tmp_path / "image.iso", tmp_path / "stick.img"
    image.write_bytes(b"i" * 10_000)

    burned = skerry("iso", "burn", str(image), str(target), "-o", "json", "--wait")

    assert burned.code == 0
    assert json.loads(burned.out)["result"]["sha256"] == hashlib.sha256(image.read_bytes()).hexdigest()
    assert target.read_bytes()[:10_000] == image.read_bytes()


def test_a_device_that_does_not_exist_is_refused(skerry: Terminal, tmp_path: Path) -> None:
    (tmp_path / "image.iso").write_bytes(b"i" * 512)

    outcome = skerry("iso", "burn", str(tmp_path / "image.iso"), "/dev/skerry-no-such-disk")

    assert outcome.code == 5
    assert not Path("/dev/skerry-no-such-disk").exists()


def test_devices_are_listed_with_reasons_when_asked(skerry: Terminal) -> None:
    everything = json.loads(skerry("iso", "devices", "--all", "-o", "json").out)["items"]
    safe = json.loads(skerry("iso", "devices", "-o", "json").out)["items"]

    assert safe == [device for device in everything if not device["refusals"]]


def test_planning_a_burn_names_the_device_or_its_refusals(tmp_path: Path) -> None:
    safe = DeviceView(path="/dev/skx", bus="usb", vendor="Acme", model="Stick", serial="A1B2C3")
    unsafe = DeviceView(path="/dev/sky", bus="sata", refusals=["it holds the root file system"])

    plan_burn([safe, unsafe], Path("/dev/skx"))
    with pytest.raises(CommandFailed, match="root file system"):
        plan_burn([safe, unsafe], Path("/dev/sky"))
