"""`skerry demo`: the main job on one machine, with real programs: an appliance, a mirror, simulated hosts.

A simulated host is the real agent over a software TPM identity and a file-backed disk, in a process of its
own. The demo itself only starts programs and speaks the public API; a step counts as done when the API
shows it. It is also the fixture of the flow tests and what a newcomer runs first.
"""

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from appliance.api.client import ApplianceError, Client
from appliance.api.contract import HostView, WatchEvent
from appliance.resources.host_report import HOST_REPORT, HostReport
from appliance.resources.machine_registration import MACHINE_REGISTRATION, MachineRegistration
from appliance.resources.meta import Document, decode
from appliance.resources.rollout import ROLLOUT, Rollout, RolloutStatus
from bundles.images.small import build_small_image
from bundles.pack import Source, pack
from bundles.signing import generate_key, parse_private_key

NAMESPACE = "fleet-default"
REPOSITORY = "skerry/demo-os"
STEP_LIMIT = 60.0  # seconds that one step may take before the demo gives up and says which
PAYLOAD_BYTES = 2 * 1024 * 1024


class DemoFailed(Exception):
    """A step was not observed; the message says which, and what was seen instead."""


@dataclass(frozen=True, slots=True)
class Image:
    version: str
    reference: str
    digest: str


@dataclass(frozen=True, slots=True)
class Box:
    """The started appliance: where it answers, and what its CA is."""

    url: str
    mirror: str
    socket: str
    ca_file: Path
    data: Path


class Teller:
    """Prints one line a step, with the time since the start; to a file when the console has the screen."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def tell(self, sentence: str) -> None:
        print(f"[{self.seconds:5.1f} s] {sentence}", file=self._out, flush=True)


def run(*, hosts: int = 5, headless: bool = False, output: str = "table") -> int:
    """Run the demo and return the exit code: 0 only if every step was observed through the API.

    Without a terminal it is headless whatever was asked.
    """
    with tempfile.TemporaryDirectory(prefix="skerry-demo-") as directory:
        place = Path(directory)
        if headless or not sys.stdout.isatty():
            return _run_headless(place, hosts, output)
        return _run_with_console(place, hosts)


def _run_headless(place: Path, hosts: int, output: str) -> int:
    teller = Teller(sys.stderr if output == "json" else sys.stdout)
    try:
        summary = play(place, hosts, teller)
    except DemoFailed as failure:
        teller.tell(f"FAILED: {failure}")
        _show_logs(place)
        return 1
    print(json.dumps(summary, indent=2), flush=True)
    return 0


def _run_with_console(place: Path, hosts: int) -> int:
    """The console has the screen; the story runs beside it and its lines go to a file that is shown after.

    Whoever leaves before the end has not seen it: the appliance is switched off, and that is no success.
    """
    story = place / "story.txt"
    left, finished = threading.Event(), threading.Event()

    def stay() -> None:
        finished.set()
        left.wait()

    with story.open("w") as out:
        with box(place / "box") as appliance:

            def tell_story() -> None:
                try:
                    play_on(appliance, place, hosts, Teller(out), stay)
                except (DemoFailed, ApplianceError) as failure:
                    print(f"not finished: {failure}", file=out, flush=True)

            thread = threading.Thread(target=tell_story, name="demo")
            thread.start()
            console = subprocess.run([sys.executable, "-m", "tui", "--server", f"unix:{appliance.socket}"])
            left.set()
        thread.join()
    print(story.read_text(), end="")
    return console.returncode if finished.is_set() else 1


def play(place: Path, hosts: int, teller: Teller) -> Document:
    """Start a box below `place`, tell the whole story, stop everything, return the summary."""
    with box(place / "box") as appliance:
        return play_on(appliance, place, hosts, teller, lambda: None)


def play_on(
    appliance: Box,
    place: Path,
    hosts: int,
    teller: Teller,
    stay: Callable[[], None],
) -> Document:
    """The story, top to bottom; `stay` is called at its end, with everything still running.

    Raises DemoFailed at the first step that is not observed, ApplianceError if the appliance goes away.
    """
    client = Client(f"unix:{appliance.socket}")
    teller.tell(f"appliance ready at {appliance.url}, mirror at {appliance.mirror}")

    images = load_images(client, appliance, place, teller)
    first, second, third = images
    url = register_fleet(client, appliance, first)
    teller.tell(f"registration ready: {url}")

    with simulated_hosts(appliance, place, hosts, url):
        teller.tell(
            f"{hosts} simulated hosts started, each the real agent with its own TPM identity and disk"
        )
        names = approve_all(client, hosts, teller)
        wait_until(
            f"{hosts} hosts run {first.version} from slot a",
            lambda: _all_run(client.hosts(NAMESPACE), names, first, slot="a"),
        )
        teller.tell(f"all {hosts} registered by TPM challenge and installed {first.version} into slot a")

        waves = roll_out(client, "to-v2", second, sizes=["1", "100%"])
        status = wait_for_phase(client, "to-v2", "Completed")
        waves.check_order(status)
        wait_until(
            f"{hosts} hosts run {second.version} from slot b",
            lambda: _all_run(client.hosts(NAMESPACE), names, second, slot="b"),
        )
        teller.tell(f"rollout to-v2 completed in two waves: {status.updated} of {status.total} hosts")

        roll_out(client, "to-v3", third, sizes=["1", "100%"])
        status = wait_for_phase(client, "to-v3", "Paused")
        tried = [host for host in status.hosts if host.phase == "RolledBack"]
        if not tried or not status.reason:
            raise DemoFailed(f"rollout to-v3 paused without a rolled-back host or a reason: {status}")
        wait_until(
            f"every host is back on {second.version}",
            lambda: _all_run(client.hosts(NAMESPACE), names, second, slot="b"),
        )
        check_rolled_back(client, [host.name for host in tried], third)
        teller.tell(f"rollout to-v3 paused by itself: {status.reason}")

        summary = summarise(client, names, images, status, teller.seconds)
        teller.tell("every step was observed through the API")
        stay()
    return summary


# --- the steps ---------------------------------------------------------------------------------------------


def load_images(client: Client, appliance: Box, place: Path, teller: Teller) -> list[Image]:
    """Make v1, v2 and the unhealthy v3, pack them into a signed bundle, load it through the API."""
    private, public = generate_key()
    client.trust("demo", public.decode())
    sources, images = [], []
    for version in ("v1", "v2", "v3"):
        layout = place / "images" / version
        digest = build_small_image(
            layout, name="demo", version=version, healthy=version != "v3", payload_bytes=PAYLOAD_BYTES
        )
        sources.append(Source(layout=layout, reference=f"{REPOSITORY}:{version}"))
        images.append(Image(version, f"{appliance.mirror}/{REPOSITORY}@{digest}", digest))
    bundle = place / "demo.bundle"
    pack(sources, bundle, key=parse_private_key(private), name="demo")
    teller.tell("three OS images made and packed into a signed bundle; v3 will fail its health check")

    started = client.start_operation("load-bundle", {"path": str(bundle)})
    operation = [*client.follow_operation(started.id)][-1]
    if operation.state != "succeeded":
        raise DemoFailed(f"the bundle was not loaded: {operation.error}")
    teller.tell("bundle verified and loaded into the mirror")
    return images


def register_fleet(client: Client, appliance: Box, image: Image) -> str:
    """Create the MachineRegistration and return its URL once the controller has made it."""
    client.apply_object(
        {
            "apiVersion": MACHINE_REGISTRATION.api_version,
            "kind": MACHINE_REGISTRATION.kind,
            "metadata": {"name": "demo", "namespace": NAMESPACE},
            "spec": {
                "machineName": "${System Information/Serial Number}",
                "machineInventoryLabels": {"line": "demo"},
                "config": {
                    "elemental": {
                        "install": {"system-uri": f"oci:{image.reference}", "reboot": True},
                        "registration": {"auth": "tpm", "emulate-tpm": True, "emulated-tpm-seed": -1},
                    },
                },
            },
        }
    )

    def url() -> str:
        found = decode(MachineRegistration, client.get_object(MACHINE_REGISTRATION, "demo", NAMESPACE))
        return found.status.registration_url

    wait_until("the registration has a URL", lambda: bool(url()))
    return url()


def approve_all(client: Client, hosts: int, teller: Teller) -> list[str]:
    """Approve each host as it asks, as a technician with the inbox open would."""
    approved: list[str] = []

    def everyone_is_approved() -> bool:
        for entry in client.inbox():
            if entry.kind == "waiting" and entry.name not in approved:
                client.approve(entry.name, NAMESPACE)
                approved.append(entry.name)
                teller.tell(f"{entry.name} proved its TPM identity and was approved")
        return len(approved) == hosts

    wait_until(f"{hosts} hosts wait in the inbox", everyone_is_approved)
    return sorted(approved)


class RolloutSource(Protocol):
    """The one thing that watching waves asks of a client."""

    def watch(self, kinds: Sequence[str]) -> Iterator[WatchEvent]: ...


class WaveWatch:
    """Watches a rollout from its start, to prove that no second-wave host moved before the first was done."""

    def __init__(self, client: RolloutSource, name: str) -> None:
        self._client = client
        self._name = name
        self._early: list[str] = []
        self._saw_the_end = False
        self._thread = threading.Thread(target=self._watch, name=f"watch-{name}", daemon=True)
        self._thread.start()

    def check_order(self, status: RolloutStatus) -> None:
        """Raise DemoFailed unless the hosts were seen to come in two waves, one after the other."""
        self._thread.join(STEP_LIMIT)
        if not self._saw_the_end:
            raise DemoFailed(f"the watch on rollout {self._name} broke before its end")
        if self._early:
            raise DemoFailed(f"hosts moved before their wave: {', '.join(sorted(set(self._early)))}")
        if len({host.wave for host in status.hosts}) < min(2, status.total):
            raise DemoFailed("the rollout did not come in two waves")

    def _watch(self) -> None:
        with suppress(ApplianceError):  # a broken line shows as an end that was not seen
            for event in self._client.watch([ROLLOUT.plural]):
                rollout = decode(Rollout, event.object)
                if event.type in ("SYNCED", "BOOKMARK") or rollout.metadata.name != self._name:
                    continue
                status = rollout.status
                unfinished = {host.wave for host in status.hosts if host.phase != "Updated"}
                moving = [host for host in status.hosts if host.phase != "Waiting"]
                self._early += [each.name for each in moving if any(wave < each.wave for wave in unfinished)]
                if status.phase in ("Completed", "Paused", "Failed"):
                    self._saw_the_end = True
                    return


def roll_out(client: Client, name: str, image: Image, *, sizes: Sequence[str]) -> WaveWatch:
    """Create a Rollout for the whole fleet."""
    watch = WaveWatch(client, name)
    client.apply_object(
        {
            "apiVersion": ROLLOUT.api_version,
            "kind": ROLLOUT.kind,
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "image": image.reference,
                "selector": {"matchLabels": {"line": "demo"}},
                "waves": [{"size": size} for size in sizes],
                "maxUnavailable": 4,
            },
        }
    )
    return watch


def wait_for_phase(client: Client, name: str, phase: str) -> RolloutStatus:
    """Wait until the rollout says so and return its status; another final phase is a failure at once."""
    status = RolloutStatus()

    def arrived() -> bool:
        nonlocal status
        status = decode(Rollout, client.get_object(ROLLOUT, name, NAMESPACE)).status
        if status.phase in ("Completed", "Paused", "Failed") and status.phase != phase:
            raise DemoFailed(f"rollout {name} is {status.phase} ({status.reason}) instead of {phase}")
        return status.phase == phase

    wait_until(f"rollout {name} is {phase}", arrived, limit=2 * STEP_LIMIT)
    return status


def check_rolled_back(client: Client, names: Sequence[str], image: Image) -> None:
    """Every host that tried `image` must say itself that it booted it, that it failed, and why."""
    for name in names:
        report = decode(HostReport, client.get_object(HOST_REPORT, name, NAMESPACE)).report
        entries = [entry for entry in report.history if entry.digest == image.digest] if report else []
        if not any(entry.outcome == "rolled-back" and entry.reason for entry in entries):
            raise DemoFailed(f"{name} does not say why it rolled back from {image.version}: {entries}")


def summarise(
    client: Client, names: Sequence[str], images: Sequence[Image], status: RolloutStatus, seconds: float
) -> Document:
    """What was seen, as data: a row a host."""
    versions = {image.digest: image.version for image in images}
    rows = []
    for host in client.hosts(NAMESPACE):
        if host.name not in names:
            continue
        rows.append(
            {
                "name": host.name,
                "tpmHash": host.tpm_hash,
                "slot": host.slot,
                "version": versions.get(host.digest, host.version),
                "digest": host.digest,
                "history": [
                    {
                        "action": entry.action,
                        "version": versions.get(entry.digest, entry.version),
                        "slot": entry.slot,
                        "outcome": entry.outcome,
                        "reason": entry.reason,
                    }
                    for entry in host.history
                ],
            }
        )
    return {
        "hosts": rows,
        "images": {image.version: image.digest for image in images},
        "rollouts": {"to-v2": "Completed", "to-v3": status.phase, "reason": status.reason},
        "seconds": round(seconds, 1),
    }


# --- the programs ------------------------------------------------------------------------------------------


@contextmanager
def box(data: Path) -> Iterator[Box]:
    """A running appliance on free loopback ports; ended on the way out."""
    data.mkdir(parents=True, mode=0o700)
    arguments = ["--data", str(data), "--listen", "127.0.0.1:0", "--mirror-listen", "127.0.0.1:0"]
    log = (data.parent / "appliance.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "appliance", "serve", *arguments], stdout=subprocess.PIPE, stderr=log
    )
    try:
        ready = _read_ready_line(process)
        yield Box(
            url=ready["url"],
            mirror=ready["mirror"],
            socket=ready["socket"],
            ca_file=data / "pki" / "ca.crt",
            data=data,
        )
    finally:
        _end(process)
        log.close()


@contextmanager
def simulated_hosts(
    appliance: Box, place: Path, hosts: int, registration_url: str, *, first_seed: int = 1001
) -> Iterator[None]:
    """`hosts` machines, one process each, powered on together and switched off on the way out."""
    machines: list[subprocess.Popen[bytes]] = []
    try:
        with ExitStack() as logs:
            for number in range(1, hosts + 1):
                directory = place / "hosts" / f"demo-{number}"
                directory.mkdir(parents=True)
                log = logs.enter_context((directory.parent / f"demo-{number}.log").open("wb"))
                machines.append(
                    subprocess.Popen(
                        [
                            *(sys.executable, "-m", "agent.simulation"),
                            *("--dir", str(directory), "--name", f"demo-{number}"),
                            *("--registration-url", registration_url, "--ca-cert", str(appliance.ca_file)),
                            *("--seed", str(first_seed + number - 1), "--speed", "fast"),
                        ],
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )
            yield
    finally:
        for machine in machines:
            machine.send_signal(signal.SIGTERM)
        for machine in machines:
            _end(machine)


def _read_ready_line(process: subprocess.Popen[bytes]) -> dict[str, str]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise DemoFailed(f"the appliance ended before it was ready (exit code {process.wait()})")
    ready: dict[str, str] = json.loads(line)
    return ready


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _all_run(views: Sequence[HostView], names: Sequence[str], image: Image, *, slot: str) -> bool:
    running = {view.name for view in views if view.digest == image.digest and view.slot == slot}
    return set(names) <= running


def wait_until(what: str, is_so: Callable[[], bool], *, limit: float = STEP_LIMIT) -> None:
    """Poll until `is_so`; the limit only bounds a broken run, it asserts nothing about speed."""
    deadline = time.monotonic() + limit
    while not is_so():
        if time.monotonic() > deadline:
            raise DemoFailed(f"not seen within {limit:.0f} s: {what}")
        time.sleep(0.1)


def _show_logs(place: Path) -> None:
    for log in sorted(place.rglob("*.log")):
        tail = log.read_text(errors="replace").splitlines()[-15:]
        if tail:
            print(f"--- {log.relative_to(place)}", *tail, sep="\n", file=sys.stderr)
