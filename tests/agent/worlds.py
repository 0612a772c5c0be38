"""A simulated host for tests: the real code over a directory, its firmware, and power cuts by SIGKILL."""

import os
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from agent.config import MIB, AgentConfig, render_config
from agent.health import Verdict, check_health
from agent.host import Host
from agent.install import OemFile, install
from agent.installation import Installation, open_installation
from agent.journal import Fault, Record, kill_at, no_fault
from agent.protocol.client_config import Install
from agent.reference import parse_reference
from agent.registry import Registry
from agent.settle import Settled, settle
from agent.simulation.firmware import Boot, Hardware, power_on
from agent.simulation.machine import MachineOptions, make_medium
from agent.upgrade import resume, switch_back, upgrade
from tests.agent.registries import RunningRegistry

CRASHED = 99


class Interruptible(Protocol):
    """A transaction that a fault can cut off."""

    def __call__(self, *, fault: Fault) -> object: ...


@dataclass
class World:
    """One simulated machine and the registry it pulls from."""

    directory: Path
    registry: RunningRegistry
    hardware: Hardware = field(default_factory=lambda: Hardware.of("m1", 1, disk_bytes=512 * MIB))

    @property
    def host(self) -> Host:
        return Host(self.directory / "root")

    @property
    def config(self) -> AgentConfig:
        options = MachineOptions(self.directory, "m1", registration_url="http://127.0.0.1:1/x", fast=True)
        return make_medium(options)

    def installation(
        self, fault: Fault = no_fault, observe: Callable[[Record], None] = lambda record: None
    ) -> Installation:
        return open_installation(self.host, self.config, fault=fault, observe=observe)

    def registry_client(self) -> Registry:
        return Registry(self.registry.address, context=None, timeout=10)

    def power_on(self) -> Boot:
        """Start the machine; whatever it says that it booted must be what it runs."""
        boot = power_on(self.directory, self.hardware, self.config)
        if boot.snapshot is not None:
            recorded = self.installation().state().snapshots.get(boot.snapshot)
            assert recorded is not None, f"{boot} is not in state.yaml"
            assert recorded.version == self.version(), f"{boot} runs {self.version()}"
        return boot

    def install(self, digest: str, *, fault: Fault = no_fault, overwrite: bool = False) -> Record:
        return install(
            self.installation(fault),
            parse_reference(self.registry.reference(digest)),
            options=Install(),
            registry=self.registry_client(),
            oem={"skerry/agent.toml": OemFile(render_config(self.config))},
            overwrite=overwrite,
            fault=fault,
        )

    def upgrade(self, digest: str, *, fault: Fault = no_fault, correlation_id: str = "") -> Record | None:
        return upgrade(
            self.installation(fault),
            parse_reference(self.registry.reference(digest)),
            registry=self.registry_client(),
            correlation_id=correlation_id,
        )

    def roll_back(self, *, fault: Fault = no_fault) -> Record:
        return switch_back(self.installation(fault))

    def settle(self, *, fault: Fault = no_fault) -> Settled:
        """What the run loop does at its start, with the image's own checkers."""
        installation = self.installation(fault)
        settled = settle(installation, judge=lambda: self._judge(installation))
        if settled.unfinished is not None:
            resume(installation, settled.unfinished, registry=self.registry_client())
        return settled

    def live_through(self, digest: str, *, boots: int = 8) -> Boot:
        """Boot until nothing asks for another boot: install again if the medium came up, else settle."""
        for _ in range(boots):
            boot = self.power_on()
            if boot.mode == "live":
                self.install(digest)
                continue
            self.settle()
            if not self.host.is_reboot_requested():
                return boot
        raise AssertionError("the machine never came to rest")

    def version(self) -> str:
        """What the running system calls itself."""
        return self.host.os_release()["IMAGE_TAG"]

    def is_cut_off_at(self, point: str, act: Interruptible) -> bool:
        """Run `act` in a process that is killed when it reaches the point; False if it never does."""
        child = os.fork()
        if child == 0:
            try:
                act(fault=kill_at(point))
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(CRASHED)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, -signal.SIGKILL), f"the agent ended with {code} instead of being killed"
        return code == -signal.SIGKILL

    def list_points(self, act: Interruptible) -> list[str]:
        """Run `act` to its end and return every point it passed."""
        points: list[str] = []
        act(fault=points.append)
        return points

    def _judge(self, installation: Installation) -> Verdict:
        return check_health(self.host, installation.config.health)
