"""README's "Use it" section, run in order against real programs: a command that stands there works."""

import os
import pty
import re
import select
import shlex
import subprocess
import sys
import time
from pathlib import Path

from appliance.demo import simulated_hosts, wait_until
from appliance.resources.machine_registration import MACHINE_REGISTRATION
from bundles.images.small import build_small_image
from tests.appliance.running import Appliance, running
from tests.flows.test_faults import box_of, find_addresses

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_commands_of_the_readme_work_in_order(tmp_path: Path) -> None:
    commands = _commands("Use it")
    _put_the_scene(tmp_path)

    with running(tmp_path / "box", *find_addresses()) as appliance:
        written = {
            "192.168.10.1:5000": appliance.mirror,
            "/media/usb/": f"{tmp_path}/",
            "m-7f3a": "sim00000007",
        }
        ran = []
        for command in commands:
            verb = " ".join(command.split()[1:3])
            if command.startswith("skerry serve"):
                continue  # it runs: this very box, started with the same options
            if command == "skerry console":
                assert "hosts" in _look_at_console(appliance, tmp_path)
            elif verb == "approve m-7f3a":
                url = _registration_url(appliance)
                with simulated_hosts(box_of(appliance), tmp_path, 1, url, first_seed=7):
                    wait_until("it waits", lambda: bool(appliance.client().inbox()))
                    ran.append(_run(command, appliance, tmp_path, written))
            else:
                ran.append(_run(command, appliance, tmp_path, written))

    assert [each for each in ran if each.returncode] == []
    assert len(ran) == len(commands) - 2


def _commands(section: str) -> list[str]:
    """Every `skerry …` line of the section's shell blocks, without its comment."""
    text = README.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    assert all(line.startswith("skerry ") for line in lines)
    return lines


def _put_the_scene(place: Path) -> None:
    """What README takes for granted: an image layout, and the registration it shows."""
    build_small_image(place / "layouts" / "v2", name="os", version="v2", healthy=True, payload_bytes=65536)
    document = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)[0]
    # The host that comes here has a software TPM, where README's have real ones.
    simulated = document.replace("elemental:\n", "elemental:\n      registration: {emulate-tpm: true}\n", 1)
    assert simulated != document
    (place / "registration.yaml").write_text(simulated)


def _run(
    command: str, appliance: Appliance, place: Path, written: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    for as_written, here in written.items():
        command = command.replace(as_written, here)
    return subprocess.run(
        [sys.executable, "-m", "appliance", *shlex.split(command)[1:]],
        cwd=place,
        env={**os.environ, "SKERRY_SERVER": appliance.server},
        capture_output=True,
        text=True,
        timeout=60,
    )


def _registration_url(appliance: Appliance) -> str:
    def find() -> str:
        found = appliance.client().get_object(MACHINE_REGISTRATION, "line-4")
        return str(found.get("status", {}).get("registrationURL", ""))

    wait_until("the registration has a URL", lambda: bool(find()))
    return find()


def _look_at_console(appliance: Appliance, place: Path) -> str:
    """Open the console on a terminal of its own, wait for its first screen, quit with q."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "SKERRY_SERVER": appliance.server, "TERM": "xterm"}
    command = [sys.executable, "-m", "appliance", "console", "--basic"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        seen = b""
        deadline = time.monotonic() + 30
        while b"hosts" not in seen and time.monotonic() < deadline:
            if select.select([ours], [], [], 0.2)[0]:
                seen += os.read(ours, 65536)
        os.write(ours, b"q")
        try:
            process.wait(10)
        finally:
            process.kill()
    os.close(ours)
    os.close(theirs)
    return seen.decode(errors="replace")
