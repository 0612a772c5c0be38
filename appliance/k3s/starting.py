"""Start k3s and wait for what runs in it. A door to subprocess: systemctl, and k3s' own kubectl.

Each wait asks the thing itself and ends at a limit with what it last said; nothing sleeps and hopes.
"""

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import ApplianceFault
from appliance.k3s.files import BINARY, KUBECONFIG

ASK_EVERY_SECONDS = 1.0
COMMAND_SECONDS = 60.0
WAIT_SECONDS = 20  # of one question; one second for all of our kinds is too few on a slow box
OUTPUT_CHARACTERS = 600


class ClusterNotReady(ApplianceFault):
    """k3s, or the appliance in it, did not come up in time."""


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended, and its last words."""

    code: int
    text: str


Run = Callable[[Sequence[str]], Said]


def run(command: Sequence[str]) -> Said:
    """Run to the end, for a minute at most."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Said(127, str(error))
    return Said(done.returncode, (done.stdout + done.stderr).strip()[-OUTPUT_CHARACTERS:])


def has_systemd() -> bool:
    """Source: sd_booted(3)."""
    return Path("/run/systemd/system").is_dir()


def start_k3s(run: Run = run) -> None:
    """Raises ClusterNotReady when systemd refuses. A k3s that runs already takes on its new files."""
    for command in (("systemctl", "daemon-reload"), ("systemctl", "restart", "--no-block", "k3s.service")):
        said = run(command)
        if said.code:
            raise ClusterNotReady(
                f"`{' '.join(command)}` failed: {said.text}", hint="journalctl -u k3s says why"
            )


@dataclass(frozen=True, slots=True)
class Kubectl:
    """k3s' own kubectl, as the node's administrator."""

    root: Path = Path("/")
    run: Run = run

    def ask(self, *arguments: str) -> Said:
        kubeconfig = str(self.root / KUBECONFIG)
        return self.run([str(self.root / BINARY), "kubectl", "--kubeconfig", kubeconfig, *arguments])


def wait_for(
    kubectl: Kubectl,
    question: Sequence[str],
    *,
    what: str,
    seconds: float,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Ask until the answer is yes (exit code 0). Raises ClusterNotReady with the last answer."""
    deadline = clock() + seconds
    while (said := kubectl.ask(*question)).code:
        if clock() >= deadline:
            raise ClusterNotReady(
                f"{what} was not ready after {seconds:.0f} s: {said.text}",
                hint="journalctl -u k3s says why; the same command goes on from here",
            )
        pause(ASK_EVERY_SECONDS)


READY = ("get", "--raw", "/readyz")


def crds_established(names: Sequence[str]) -> list[str]:
    """The question whether the cluster knows our kinds."""
    return [
        "wait",
        "--for=condition=Established",
        f"--timeout={WAIT_SECONDS}s",
        *(f"crd/{name}" for name in names),
    ]


def image_taken_up(namespace: str, name: str, image: str) -> list[str]:
    """The question whether the cluster has read the manifest that names this image."""
    where = "{.spec.template.spec.containers[0].image}"
    return [
        "-n",
        namespace,
        "wait",
        f"--for=jsonpath={where}={image}",
        f"--timeout={WAIT_SECONDS}s",
        f"deployment/{name}",
    ]


def rolled_out(namespace: str, name: str) -> list[str]:
    """The question whether the appliance in the cluster answers, and is the newest that was asked for."""
    return ["-n", namespace, "rollout", "status", f"--timeout={WAIT_SECONDS}s", f"deployment/{name}"]
