"""A machine that knows nobody: it shows a code, the technician types it, and it belongs to that appliance."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.api.client import ApplianceError, Client
from appliance.demo import NAMESPACE, Box, box, wait_until
from appliance.resources.machine_registration import MACHINE_REGISTRATION

SCREEN = re.compile(r"CODE\s+([\d\s-]+?)\n")


@contextmanager
def lonely_machine(directory: Path, number: int) -> Iterator[Path]:
    """A simulated machine without a registration; yields what stands on its screen."""
    directory.mkdir(parents=True)
    screen = directory / "screen.txt"
    command = [
        *(sys.executable, "-m", "agent.simulation", "--dir", str(directory / "machine")),
        *("--name", f"lonely-{number}", "--seed", str(900 + number), "--speed", "fast"),
        *("--interface", "127.0.0.1"),
    ]
    with screen.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        yield screen
    finally:
        process.terminate()
        process.wait(30)


def read_code(screen: Path) -> str:
    """The newest code on the screen, without what makes it readable."""
    wait_until("the machine shows a code", lambda: SCREEN.search(screen.read_text()) is not None)
    return re.sub(r"\D", "", SCREEN.findall(screen.read_text())[-1])


def make_registration(client: Client, name: str = "floor") -> None:
    client.create_object(
        {
            "apiVersion": MACHINE_REGISTRATION.api_version,
            "kind": "MachineRegistration",
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "annotations": {"skerry.dev/approval-policy": "required"},
            },
            "spec": {
                "machineName": "${System Information/UUID}",
                "config": {"elemental": {"registration": {"emulate-tpm": True}}},
            },
        },
    )
    wait_until(
        "the registration has its URL",
        lambda: bool(
            client.get_object(MACHINE_REGISTRATION, name, NAMESPACE).get("status", {}).get("registrationURL")
        ),
    )


def found_names(client: Client) -> list[str]:
    return [entry.name for entry in client.inbox() if entry.kind == "found"]


def connect(appliance: Box) -> Client:
    return Client(f"unix:{appliance.socket}")


def test_a_machine_that_knows_nobody_is_heard_paired_and_then_waits_for_approval(tmp_path: Path) -> None:
    with box(tmp_path / "box") as appliance, lonely_machine(tmp_path / "lonely", 1) as screen:
        client = connect(appliance)
        make_registration(client)
        wait_until("the machine is heard", lambda: bool(found_names(client)))
        (name,) = found_names(client)
        code = read_code(screen)

        with pytest.raises(ApplianceError, match="not the one that this host shows"):
            client.pair(name, f"{(int(code) + 1) % 10**6:06}", "floor")
        wait_until("the code is another", lambda: read_code(screen) != code)
        with pytest.raises(ApplianceError, match="not the one that this host shows"):
            client.pair(name, code, "floor")
        wait_until("the code is another again", lambda: len(SCREEN.findall(screen.read_text())) == 3)
        paired = client.pair(name, read_code(screen), "floor")

        wait_until("it waits for approval", lambda: any(e.kind == "waiting" for e in client.inbox()))
        wait_until("it is one entry", lambda: len(client.inbox()) == 1)

    assert paired.name == name in screen.read_text()
    assert "Paired with" in screen.read_text()
