"""Ask the candidate how it is: run the checkers that the image brings.

Every executable in the required directory must succeed with the argument `check` (upstream's contract,
host-os.md 2.8). Wanted checkers are asked too, but a good OS is not thrown away because the
network is unplugged: whether the appliance can be reached is wanted, never required.
"""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from agent.config import HealthConfig
from agent.errors import CommandFailed
from agent.host import Host

# Upstream ships this as its only checker; it asks whether the management server is reachable.
WANTED_NAMES = frozenset({"elemental-register.sh"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """`failures` of required checkers decide; `warnings` are of wanted ones."""

    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def is_healthy(self) -> bool:
        return not self.failures

    @property
    def reason(self) -> str:
        return "; ".join(self.failures)


def check_health(host: Host, config: HealthConfig) -> Verdict:
    """Run the checkers; those that fail are asked again until `attempts` are used up."""
    required = {path for path in _list_checkers(host, config.required) if path.name not in WANTED_NAMES}
    wanted = set(_list_checkers(host, config.required)) - required | set(_list_checkers(host, config.wanted))
    failures: dict[Path, str] = {}
    for attempt in range(config.attempts):
        if attempt:
            time.sleep(config.delay_seconds)
        failures = {
            path: reason
            for path in sorted(failures or required)
            if (reason := _ask(host, path, config.timeout_seconds))
        }
        if not failures:
            break
    warnings = [reason for path in sorted(wanted) if (reason := _ask(host, path, config.timeout_seconds))]
    return Verdict(list(failures.values()), warnings)


def _list_checkers(host: Host, directory: str) -> list[Path]:
    path = host.path(directory)
    if not path.is_dir():
        return []
    return [entry for entry in path.iterdir() if entry.is_file() and os.access(entry, os.X_OK)]


def _ask(host: Host, checker: Path, timeout: float) -> str:
    """Return why the checker is not content, or ""."""
    try:
        done = host.run([str(checker), "check"], timeout=timeout)
    except CommandFailed as error:
        return str(error)
    if done.status == 0:
        return ""
    words = done.last_words[:500] or f"it ended with status {done.status}"
    return f"{checker.name} failed: {words}"
