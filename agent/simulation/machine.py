"""The power loop: boot, run the agent in a child process of its own, boot again when that ends.

A child that asks for a reboot, fails, or is killed (a power cut) all lead to the next power-on. Only the
machine's owner switches it off.
"""

import ctypes
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from agent.__main__ import main as run_agent
from agent.config import (
    MIB,
    AgentConfig,
    DiskConfig,
    HealthConfig,
    LoopConfig,
    MirrorConfig,
    SnapshotConfig,
    VolumeSizes,
)
from agent.errors import EXIT_REBOOT, AgentError
from agent.simulation.firmware import Boot, Hardware, power_on

log = logging.getLogger("agent.simulation")

DISK_BYTES = 512 * MIB
PAUSE_SECONDS = 0.2
FAILURE_PAUSE_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """What a machine is made of and whom its medium registers with; without a URL it waits to be paired."""

    directory: Path
    name: str
    registration_url: str
    ca_file: str = ""
    seed: int = 1
    labels: dict[str, str] = field(default_factory=dict)
    fast: bool = False
    discovery: bool = True
    interfaces: tuple[str, ...] = ()


class Machine:
    """One simulated machine. `run` returns when `stop` is set."""

    def __init__(self, options: MachineOptions, *, stop: threading.Event) -> None:
        self._options = options
        self._stop = stop
        self._hardware = Hardware.of(options.name, options.seed, disk_bytes=DISK_BYTES)
        self._child: int | None = None

    def run(self) -> None:
        """Boot until switched off."""
        while not self._stop.is_set():
            try:
                boot = power_on(self._options.directory, self._hardware, make_medium(self._options))
            except AgentError as error:
                log.warning("%s: %s", self._options.name, error)
                self._stop.wait(FAILURE_PAUSE_SECONDS)
                continue
            status = self._run_child(boot)
            log.info("%s: %s ended with %s", self._options.name, describe_boot(boot), status)
            done = status in (0, EXIT_REBOOT)
            self._stop.wait(PAUSE_SECONDS if done else FAILURE_PAUSE_SECONDS)

    def _run_child(self, boot: Boot) -> int:
        """Run the agent to its end, in a process group that a power cut takes with it."""
        child = os.fork()
        if child == 0:
            os._exit(self._be_agent(boot))
        try:
            return self._wait_for(child)
        finally:
            _kill_group(child)

    def _wait_for(self, child: int) -> int:
        asked = 0.0
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            if self._stop.is_set() and not asked:
                asked = time.monotonic()
                os.kill(child, signal.SIGTERM)
            if asked and time.monotonic() - asked > 3:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.02)

    def _be_agent(self, boot: Boot) -> int:
        """The child: never returns into the parent's code."""
        status = 1
        try:
            os.setpgid(0, 0)
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            status = run_agent(self._arguments(boot))
        except BaseException:
            log.exception("%s: the agent failed", self._options.name)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
        return status

    def _arguments(self, boot: Boot) -> list[str]:
        options = self._options
        common = ["--root", str(options.directory / "root")]
        if boot.mode != "live":
            return [*common, "run"]
        flags = (
            ["--registration-url", options.registration_url] if options.registration_url else ["--discover"]
        )
        flags += [word for address in options.interfaces for word in ("--interface", address)]
        flags += ["--emulate-tpm"]
        flags += ["--emulated-tpm-seed", str(options.seed)]
        if options.ca_file:
            flags += ["--registration-ca-cert", options.ca_file]
        for key, value in options.labels.items():
            flags += ["--label", f"{key}={value}"]
        return [*common, "install", *flags, "--retry-seconds", "0.5" if options.fast else "5"]


def make_medium(options: MachineOptions) -> AgentConfig:
    """Return the configuration on the simulated live medium; install carries it onto the disk."""
    fast = options.fast
    return AgentConfig(
        disk=DiskConfig(kind="directories", sizes=VolumeSizes(efi=16, oem=16, recovery=128, state=256)),
        snapshot=SnapshotConfig(format="tar", headroom_mib=8),
        mirror=MirrorConfig(plain_http=options.registration_url.startswith("http:")),
        health=HealthConfig(attempts=2, delay_seconds=0.1 if fast else 2.0, timeout_seconds=30.0),
        loop=LoopConfig(
            plan_seconds=0.3 if fast else 5.0,
            report_seconds=2.0 if fast else 30.0,
            cool_down_seconds=2.0 if fast else 30.0,
            retry_seconds=0.3 if fast else 5.0,
        ),
        discovery=options.discovery,
        reboot=[],
    )


def describe_boot(boot: Boot) -> str:
    return f"{boot.mode} boot" + (f" of snapshot {boot.snapshot}" if boot.snapshot else "")


def _kill_group(child: int) -> None:
    """Take the child's own children along: nothing survives a power cut."""
    try:
        os.killpg(child, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
