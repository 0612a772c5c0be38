"""May k3s be put on this node? Facts are gathered by one function and judged by another, which opens nothing.

A finding that stops says why and what to do; the rest is said and gone on with.
"""

import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from appliance.k3s.files import BINARY, CONFIG, IMAGES, UNIT

API_PORT = 6443
ROOM_BESIDES = 2 * 1024**3  # unpacked images and the cluster's own store, at the very least
ELF_MACHINES = {62: "x86_64", 183: "aarch64", 40: "armv7l"}  # e_machine of the ELF header
ELF_HEADER_BYTES = 20


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """`binary_machine` is what the k3s binary was built for, empty if it is no program at all."""

    machine: str
    binary_machine: str
    free_bytes: int
    needed_bytes: int
    is_running: bool
    is_port_taken: bool
    has_default_route: bool
    controllers: frozenset[str]
    foreign_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    is_stop: bool
    message: str
    hint: str = ""


def judge(facts: NodeFacts, *, is_starting: bool, replace: bool) -> list[Finding]:
    """What stands against it, the worst first."""
    found = []
    if not facts.binary_machine:
        found.append(Finding(True, "the k3s binary of the bundle is no program", "load the bundle again"))
    elif facts.binary_machine != facts.machine:
        found.append(
            Finding(
                True,
                f"the k3s binary is for {facts.binary_machine}, this node is {facts.machine}",
                "load a bundle that was packed for this kind of machine",
            )
        )
    if facts.free_bytes < facts.needed_bytes:
        found.append(
            Finding(
                True,
                f"{facts.free_bytes // 10**6} MB are free and {facts.needed_bytes // 10**6} MB are needed",
                "free some space, or choose another --root",
            )
        )
    if facts.foreign_files and not replace:
        found.append(
            Finding(
                True,
                f"k3s is set up here by other hands: {', '.join(facts.foreign_files)}",
                "look at them; --replace keeps each beside the new one, with .before-skerry at its end",
            )
        )
    if is_starting:
        found += _about_starting(facts)
    return sorted(found, key=lambda finding: not finding.is_stop)


def _about_starting(facts: NodeFacts) -> list[Finding]:
    found = []
    if facts.is_port_taken and not facts.is_running:
        found.append(
            Finding(
                True,
                f"port {API_PORT} is taken, and not by k3s",
                f"see what has it: ss -ltnp sport = :{API_PORT}",
            )
        )
    missing = {"cpu", "memory", "pids"} - facts.controllers
    if missing:
        found.append(
            Finding(
                True,
                f"the kernel offers no {', '.join(sorted(missing))} cgroup controller",
                "boot with cgroup_enable=memory systemd.unified_cgroup_hierarchy=1",
            )
        )
    if not facts.has_default_route:
        found.append(
            Finding(
                True,
                "this node has no default route, without which k3s does not start",
                "ip link add dummy0 type dummy && ip link set dummy0 up"
                " && ip addr add 203.0.113.254/31 dev dummy0"
                " && ip route add default via 203.0.113.255 dev dummy0 metric 1000",
            )
        )
    return found


def gather(root: Path, *, binary_head: bytes, size: int, ours: frozenset[str]) -> NodeFacts:
    """`binary_head` is the beginning of the k3s binary; `ours` are paths that an earlier install wrote."""
    space = os.statvfs(_nearest(root / IMAGES))
    foreign = tuple(
        f"/{path}" for path in (BINARY, CONFIG, UNIT) if path not in ours and os.path.lexists(root / path)
    )
    return NodeFacts(
        machine=os.uname().machine,
        binary_machine=machine_of(binary_head),
        free_bytes=space.f_bavail * space.f_frsize,
        needed_bytes=size + ROOM_BESIDES,
        is_running=Path("/run/k3s/containerd/containerd.sock").exists(),
        is_port_taken=_is_taken(API_PORT),
        has_default_route=_has_default_route(Path("/proc/net/route"), Path("/proc/net/ipv6_route")),
        controllers=_controllers(Path("/sys/fs/cgroup")),
        foreign_files=foreign,
    )


def machine_of(head: bytes) -> str:
    """What a program was built for, as `uname -m` says it; empty for what is no ELF program."""
    if len(head) < ELF_HEADER_BYTES or head[:4] != b"\x7fELF":
        return ""
    order = ">" if head[5] == 2 else "<"
    (number,) = struct.unpack_from(f"{order}H", head, 18)
    return ELF_MACHINES.get(number, f"ELF machine {number}")


def _nearest(path: Path) -> Path:
    """The path itself, or what is there above it."""
    while not path.exists():
        path = path.parent
    return path


def _is_taken(port: int) -> bool:
    with socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return True
    return False


def _has_default_route(*tables: Path) -> bool:
    """By the kernel's own tables: a destination and a mask of zeros."""
    for table in tables:
        if not table.exists():
            continue
        for line in table.read_text().splitlines():
            fields = line.split()
            if len(fields) >= 10 and fields[0] != "Iface":
                is_four = len(fields) == 11
                wanted = (fields[1], fields[7]) if is_four else (fields[0], fields[1])
                device = fields[0] if is_four else fields[9]
                if set("".join(wanted)) == {"0"} and device != "lo":
                    return True
    return False


def _controllers(cgroups: Path) -> frozenset[str]:
    unified = cgroups / "cgroup.controllers"
    if unified.exists():
        return frozenset(unified.read_text().split())
    return frozenset(path.name for path in cgroups.iterdir()) if cgroups.exists() else frozenset()
