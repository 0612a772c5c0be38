"""How fast things start and how little they keep, beside peers in the same run. Asserts nothing.

    python -m benchmarks.starts [--rounds 7] [--hosts 200]

Commands: a bare interpreter and a trivial typer program are the peers of `skerry --help` and
`skerry hosts list`. The appliance: process start to its ready line, on new and on known data; docker-registry
(where installed) to its first answer is the peer, although it is only the mirror's part of it. Memory is the
resident set of the idle processes, shared pages counted in each.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.api.client import Client
from appliance.api.contract import DEFAULT_NAMESPACE
from appliance.resources.machine_inventory import MACHINE_INVENTORY

TRIVIAL = "import typer\ndef main() -> None: print('hello')\ntyper.run(main)\n"
SETTLE_SECONDS = 3.0  # until what starting needed was given back
LIMIT_SECONDS = 60.0


def main() -> None:
    arguments = _parse_arguments()
    os.environ["TERM"] = "dumb"
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as folder:
        work = Path(folder)
        (work / "trivial.py").write_text(TRIVIAL)
        seconds = _measure_starts(work, rounds=arguments.rounds)
        with _appliance(work / "idle") as (server, pids):
            time.sleep(SETTLE_SECONDS)
            memory = {f"{name} (idle)": _resident_bytes(pid) for name, pid in pids.items()}
            _add_hosts(server, arguments.hosts)
            seconds |= _measure_commands(work, server, rounds=arguments.rounds, hosts=arguments.hosts)
        registry = _measure_registry(work, rounds=arguments.rounds)
    if registry is not None:
        seconds["docker-registry, start to answer"], memory["docker-registry (idle)"] = registry
    _print_seconds(seconds)
    for name, size in memory.items():
        print(f"{name:44} {size / 1e6:8.1f} MB")


def _measure_starts(work: Path, *, rounds: int) -> dict[str, list[float]]:
    """The appliance from nothing to ready: first with keys and databases to make, then with them there."""
    new: list[float] = []
    known: list[float] = []
    for number in range(rounds):
        data = work / f"data-{number}"
        for samples in (new, known):
            began = time.perf_counter()
            with _appliance(data):
                samples.append(time.perf_counter() - began)
    return {"skerry serve, new data, to ready": new, "skerry serve, known data, to ready": known}


def _measure_commands(work: Path, server: str, *, rounds: int, hosts: int) -> dict[str, list[float]]:
    skerry = [sys.executable, "-m", "appliance"]
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "a trivial typer program": [sys.executable, str(work / "trivial.py")],
        "skerry --help": [*skerry, "--help"],
        f"skerry hosts list ({hosts} hosts)": [*skerry, "--server", server, "hosts", "list"],
        f"skerry hosts list -o json ({hosts} hosts)": [
            *skerry,
            "--server",
            server,
            "hosts",
            "list",
            "-o",
            "json",
        ],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            seconds[name].append(_timed(lambda command=command: _run(command)))  # type: ignore[misc]
    return seconds


def _measure_registry(work: Path, *, rounds: int) -> tuple[list[float], int] | None:
    """docker-registry from nothing to its first answer, and its memory; None where it is not installed."""
    if shutil.which("docker-registry") is None:
        print("docker-registry is not installed: no peer for the start")
        return None
    samples, memory = [], 0
    for number in range(rounds):
        port = _free_port()
        config = work / "registry.yml"
        root = work / f"registry-{number}"
        config.write_text(
            f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {root}}}}}\n"
            f"http: {{addr: 127.0.0.1:{port}}}\n"
        )
        began = time.perf_counter()
        with _process(["docker-registry", "serve", str(config)], out=subprocess.DEVNULL) as process:
            _wait_for_port(port)
            samples.append(time.perf_counter() - began)
            if number == rounds - 1:
                time.sleep(SETTLE_SECONDS)
                memory = _resident_bytes(process.pid)
    return samples, memory


@contextmanager
def _appliance(data: Path) -> Iterator[tuple[str, dict[str, int]]]:
    """A ready appliance: its address and the process ids of it and its mirror."""
    command = [
        *(sys.executable, "-m", "appliance", "serve", "--data", str(data)),
        *("--listen", "127.0.0.1:0", "--mirror-listen", "127.0.0.1:0"),
    ]
    with _process(command, out=subprocess.PIPE) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield f"unix:{ready['socket']}", {"skerry serve": process.pid, "its mirror": int(children[0])}


@contextmanager
def _process(command: list[str], *, out: int) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _add_hosts(server: str, count: int) -> None:
    client = Client(server)
    for number in range(count):
        client.create_object(
            {
                "apiVersion": MACHINE_INVENTORY.api_version,
                "kind": MACHINE_INVENTORY.kind,
                "metadata": {"name": f"m-{number:05}", "namespace": DEFAULT_NAMESPACE},
                "spec": {"tpmHash": f"{number:064x}"},
            }
        )


def _print_seconds(seconds: dict[str, list[float]]) -> None:
    print(f"{'seconds':44} {'median':>8} {'best':>8} {'ratio':>8}")
    for name, samples in seconds.items():
        peer = "a trivial typer program" if "skerry" in name and "serve" not in name else ""
        peer = "docker-registry, start to answer" if "serve" in name else peer
        ratio = ""
        if peer in seconds:
            ratio = f"{statistics.median(samples) / statistics.median(seconds[peer]):8.2f} of {peer}"
        print(f"{name:44} {statistics.median(samples):8.3f} {min(samples):8.3f} {ratio}")


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.002)
        else:
            return
    raise TimeoutError(f"nothing answers on port {port}")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--hosts", type=int, default=200)
    return parser.parse_args()


if __name__ == "__main__":
    main()
