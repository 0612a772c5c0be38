"""The installed system as one value: what install, upgrade, settle and status work on."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.booted import Booted, read_booted
from agent.bootloader import BootLoader
from agent.config import AgentConfig
from agent.disk import Disk, open_disk
from agent.errors import StateInvalid, UpgradeRefused
from agent.host import Host
from agent.journal import Fault, Journal, Record, no_fault
from agent.snapshots import Snapshots
from agent.state import State, load_state

LOCK = "/run/skerry/transaction.lock"


@dataclass(frozen=True, slots=True)
class Installation:
    """Doors to one host's disk. Nothing is mounted or read until asked for."""

    host: Host
    config: AgentConfig
    disk: Disk
    boot: BootLoader
    snapshots: Snapshots
    journal: Journal

    @property
    def pull_directory(self) -> Path:
        """Where blobs are kept while a transaction is open."""
        return self.host.volume("persistent") / ".skerry" / "pull"

    def state(self) -> State:
        """Return state.yaml. Raises StateInvalid where nothing is installed."""
        state = load_state(self.host)
        if state is None:
            raise StateInvalid("nothing is installed on this host: it has no state.yaml")
        return state

    def booted(self) -> Booted:
        return read_booted(self.host, active=self.snapshots.read_active())

    def good(self) -> int | None:
        """Return the last good snapshot; on a disk that other tools installed, the active one."""
        boot = self.boot.choice()
        if boot.good is None and boot.next is None:
            state = load_state(self.host)
            active = state.active() if state else None
            return active if state and active and state.snapshots[active].status == "good" else None
        return boot.good


def open_installation(
    host: Host,
    config: AgentConfig,
    *,
    fault: Fault = no_fault,
    observe: Callable[[Record], None] = lambda record: None,
) -> Installation:
    """Put the doors together. `observe` hears of every change of the open transaction."""
    return Installation(
        host=host,
        config=config,
        disk=open_disk(host, config),
        boot=BootLoader(host),
        snapshots=Snapshots(host, config.snapshot),
        journal=Journal(host.volume("state") / ".skerry", fault=fault, observe=observe),
    )


@contextmanager
def transaction_lock(host: Host, *, who: str) -> Iterator[None]:
    """Hold the right to change the installation. Raises UpgradeRefused, naming who holds it."""
    path = host.path(LOCK)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = file.read(200).strip() or "another agent"
            raise UpgradeRefused(
                f"{owner} is changing this host already", hint="wait until it has finished"
            ) from error
        file.truncate(0)
        file.write(f"{who} (process {os.getpid()})\n")
        file.flush()
        yield
