"""A network for tests: namespaces joined by a bridge that the test makes and removes. Nothing leaves it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

NETWORK = "10.77.0."
PATIENCE = 60

DROP_MULTICAST = """
table inet filter {
  chain output { type filter hook output priority 0; ip daddr 224.0.0.0/4 drop; ip6 daddr ff00::/8 drop; }
}
"""


def run(*command: str, text: str = "") -> str:
    done = subprocess.run(command, capture_output=True, text=True, input=text, timeout=PATIENCE)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


@dataclass
class Lab:
    """One switch; every machine is a namespace with one cable into it."""

    prefix: str
    names: list[str] = field(default_factory=list)

    def plug_in(self, name: str, number: int) -> None:
        """A machine with the address 10.77.0.`number`."""
        place, port = self.place(name), f"port{number}"
        run("ip", "netns", "add", place)
        self.names.append(name)
        run("ip", "link", "add", "eth0", "netns", place, "type", "veth", "peer", port, "netns", self.switch)
        run("ip", "-n", self.switch, "link", "set", port, "master", "br0", "up")
        run("ip", "-n", place, "link", "set", "lo", "up")
        run("ip", "-n", place, "link", "set", "eth0", "up")
        self.address(name, number)

    def address(self, name: str, number: int) -> None:
        """Give the machine that address and no other."""
        run("ip", "-n", self.place(name), "-4", "address", "flush", "dev", "eth0")
        run("ip", "-n", self.place(name), "address", "add", f"{NETWORK}{number}/24", "dev", "eth0")
        run("ip", "-n", self.place(name), "route", "replace", "224.0.0.0/4", "dev", "eth0")

    def cable(self, number: int, *, is_in: bool) -> None:
        run("ip", "-n", self.switch, "link", "set", f"port{number}", "up" if is_in else "down")

    def filter_multicast(self) -> None:
        for name in self.names:
            run(*self.inside(name), "nft", "-f", "-", text=DROP_MULTICAST)

    def place(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    @property
    def switch(self) -> str:
        return self.place("switch")

    def inside(self, name: str) -> list[str]:
        """What stands before a command that runs on that machine."""
        return ["ip", "netns", "exec", self.place(name)]

    def start(
        self, name: str, *arguments: str, out: IO[bytes] | int, errors: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """A Python program on that machine."""
        command = [*self.inside(name), sys.executable, *arguments]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SKERRY_")}
        return subprocess.Popen(command, stdout=out, stderr=errors, env=environment)


@contextmanager
def lab() -> Iterator[Lab]:
    network = Lab(f"sk{os.getpid() % 100000}")
    run("ip", "netns", "add", network.switch)
    try:
        run("ip", "-n", network.switch, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", network.switch, "link", "set", "br0", "up")
        yield network
    finally:
        for place in (*map(network.place, network.names), network.switch):
            subprocess.run(["ip", "netns", "del", place], check=False, capture_output=True)


@contextmanager
def ending(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """End it, whatever the test did."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def machine(network: Lab, name: str, directory: Path, *, seed: int, called: str = "") -> Iterator[Path]:
    """A simulated machine that knows nobody; yields the file of what its screen shows.

    Its system UUID follows from its seed and from what it is `called`, which is its place's name.
    """
    directory.mkdir(parents=True)
    screen = directory / "screen.txt"
    with screen.open("wb") as out:
        arguments = (
            "--dir",
            str(directory / "m"),
            "--name",
            called or name,
            "--seed",
            str(seed),
            "--speed",
            "fast",
        )
        with ending(network.start(name, "-m", "agent.simulation", *arguments, out=out, errors=out)):
            yield screen
