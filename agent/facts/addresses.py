"""Every interface's IP addresses, asked of the kernel over rtnetlink; a simulated host has files instead.

No program is run and nothing is sent to the network. The answer is parsed with every length checked.
"""

import ipaddress
import re
import socket
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from agent.facts.reading import read_bytes
from agent.host import Host

Addresses = Mapping[str, Sequence[str]]

MAX_ANSWER_BYTES = 1024 * 1024
MAX_ADDRESSES = 64  # of one interface
TIMEOUT_SECONDS = 1.0

# linux/netlink.h, linux/rtnetlink.h and linux/if_addr.h
NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWADDR, RTM_GETADDR = 20, 22
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
IFA_ADDRESS, IFA_LOCAL = 1, 2
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, interface
_ATTRIBUTE = struct.Struct("=HH")


def read_addresses(host: Host) -> Addresses:
    """Addresses by interface, in the kernel's order; empty where it cannot be asked."""
    if host.root.resolve() != host.root.resolve().parent:  # the kernel would describe another machine
        return read_address_files(host)
    names = dict(socket.if_nameindex())
    found: defaultdict[str, list[str]] = defaultdict(list)
    for index, address in parse_addresses(_ask_kernel()):
        name = names.get(index)
        if name is not None and len(found[name]) < MAX_ADDRESSES:
            found[name].append(address)
    return found


def read_address_files(host: Host) -> Addresses:
    """From /proc/net/if_inet6; IPv4 addresses have no such file."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    text = read_bytes(host, "/proc/net/if_inet6", limit=256 * 1024).decode(errors="replace")
    for line in text.splitlines():
        words = line.split()
        if (
            len(words) == 6
            and re.fullmatch("[0-9a-f]{32}", words[0])
            and len(found[words[5]]) < MAX_ADDRESSES
        ):
            found[words[5]].append(str(ipaddress.IPv6Address(int(words[0], 16))))
    return found


def parse_addresses(answer: bytes) -> Iterator[tuple[int, str]]:
    """Interface numbers and addresses in a dump of RTM_NEWADDR messages; stops at what makes no sense."""
    start = 0
    while start + _HEADER.size <= len(answer):
        length, kind, _, _, _ = _HEADER.unpack_from(answer, start)
        if length < _HEADER.size or start + length > len(answer) or kind in (NLMSG_ERROR, NLMSG_DONE):
            return
        body = answer[start + _HEADER.size : start + length]
        if kind == RTM_NEWADDR and len(body) >= _ADDRESS.size:
            family, _, _, _, index = _ADDRESS.unpack_from(body)
            if address := _choose_address(family, dict(_parse_attributes(body[_ADDRESS.size :]))):
                yield index, address
        start += _aligned(length)


def _parse_attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    while start + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, start)
        if length < _ATTRIBUTE.size or start + length > len(data):
            return
        yield kind, data[start + _ATTRIBUTE.size : start + length]
        start += _aligned(length)


def _choose_address(family: int, attributes: Mapping[int, bytes]) -> str:
    """The interface's own address; on a point-to-point link IFA_ADDRESS is the other end's."""
    raw = attributes.get(IFA_LOCAL) or attributes.get(IFA_ADDRESS, b"")
    if (family, len(raw)) == (socket.AF_INET, 4):
        return str(ipaddress.IPv4Address(raw))
    if (family, len(raw)) == (socket.AF_INET6, 16):
        return str(ipaddress.IPv6Address(raw))
    return ""


def _aligned(length: int) -> int:
    return length + 3 & ~3


def _ask_kernel() -> bytes:
    """A dump of all addresses, as it came."""
    request = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    header = _HEADER.pack(_HEADER.size + len(request), RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
    answer = b""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
            kernel.settimeout(TIMEOUT_SECONDS)
            kernel.send(header + request)
            while len(answer) < MAX_ANSWER_BYTES:
                part = kernel.recv(64 * 1024)
                answer += part
                if not part or _is_last(part):
                    break
    except OSError:
        return answer
    return answer


def _is_last(part: bytes) -> bool:
    start = 0
    while start + _HEADER.size <= len(part):
        length, kind, _, _, _ = _HEADER.unpack_from(part, start)
        if kind in (NLMSG_ERROR, NLMSG_DONE) or length < _HEADER.size:
            return True
        start += _aligned(length)
    return False
