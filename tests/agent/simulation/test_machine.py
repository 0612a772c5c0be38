"""The power loop: it boots again whatever becomes of the agent, and dies only with its owner."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.simulation.machine import MachineOptions, make_medium


@contextmanager
def machine(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A machine whose appliance does not exist: its agent waits on the live medium."""
    command = [sys.executable, "-m", "agent.simulation", "--dir", str(directory), "--name", "m1"]
    command += ["--registration-url", "http://127.0.0.1:1/elemental/registration/x", "--seed", "1"]
    with subprocess.Popen(
        [*command, "--speed", "fast", "--no-discovery"],
        cwd=Path(__file__).parents[3],
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, "never seen"
        time.sleep(0.02)


def read_boot_id(directory: Path) -> str:
    path = directory / "root/proc/sys/kernel/random/boot_id"
    return path.read_text() if path.exists() else ""


def find_children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def is_alive(process: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False


def test_a_power_cut_boots_again_and_switching_off_ends_it(tmp_path: Path) -> None:
    with machine(tmp_path / "m1") as process:
        wait_until(lambda: find_children(process.pid))
        first = read_boot_id(tmp_path / "m1")
        os.kill(find_children(process.pid)[0], signal.SIGKILL)
        wait_until(lambda: read_boot_id(tmp_path / "m1") not in ("", first))
        wait_until(lambda: find_children(process.pid))

        process.terminate()

        assert process.wait(timeout=30) == 0


def test_the_agent_does_not_outlive_its_machine(tmp_path: Path) -> None:
    with machine(tmp_path / "m1") as process:
        wait_until(lambda: find_children(process.pid))
        child = find_children(process.pid)[0]
        wait_until(lambda: os.getpgid(child) == child)
        time.sleep(0.1)  # the death signal is asked for right after the process group

        process.kill()

        wait_until(lambda: not is_alive(child))


def test_the_medium_speaks_tls_unless_the_appliance_does_not(tmp_path: Path) -> None:
    def medium(url: str) -> bool:
        options = MachineOptions(tmp_path, "m1", registration_url=url)
        return make_medium(options).mirror.plain_http

    assert medium("http://h/x")
    assert not medium("https://h/x")
