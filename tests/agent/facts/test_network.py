"""What the kernel answers about addresses and links: parsed, whole and broken, and asked for real."""

import ipaddress
import socket
import struct
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.facts.addresses import parse_addresses, read_addresses
from agent.facts.link_modes import MASK_WORDS_AT, SETTINGS_BYTES, Link, ask_link, parse_link
from agent.facts.network import read_nics
from agent.facts.reading import list_names
from agent.host import Host
from tests.agent.machines import make_machine

NEW_ADDRESS, DONE = 20, 3
ADDRESS, LOCAL = 1, 2


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 2, 1, 0) + body


def new_address(family: int, index: int, attributes: dict[int, bytes]) -> bytes:
    body = struct.pack("=BBBBI", family, 24, 0, 0, index)
    for number, value in attributes.items():
        body += struct.pack("=HH", 4 + len(value), number) + value + b"\0" * (-len(value) % 4)
    return message(NEW_ADDRESS, body)


WHOLE = (
    new_address(socket.AF_INET, 2, {ADDRESS: bytes([192, 0, 2, 1]), LOCAL: bytes([192, 0, 2, 7])})
    + new_address(socket.AF_INET, 3, {ADDRESS: bytes([192, 0, 2, 9]), 3: b"eth1\0"})
    + new_address(socket.AF_INET6, 2, {ADDRESS: ipaddress.IPv6Address("2001:db8::7").packed})
    + new_address(socket.AF_INET6, 2, {ADDRESS: b"short"})
    + message(16, b"another kind")
    + message(DONE, bytes(4))
)


def test_own_addresses_are_told_with_their_interface() -> None:
    assert list(parse_addresses(WHOLE)) == [(2, "192.0.2.7"), (3, "192.0.2.9"), (2, "2001:db8::7")]


@given(st.integers(0, len(WHOLE)), st.binary(max_size=40), st.integers(0, 40))
def test_an_answer_cut_and_overwritten_anywhere_is_parsed(at: int, noise: bytes, skipped: int) -> None:
    for _, address in parse_addresses(WHOLE[:at] + noise + WHOLE[at + skipped :]):
        ipaddress.ip_address(address)


@given(st.binary(max_size=300))
def test_noise_is_parsed(answer: bytes) -> None:
    for _, address in parse_addresses(answer):
        ipaddress.ip_address(address)
    assert isinstance(parse_link(answer), Link)


def test_the_kernel_tells_this_machines_loopback() -> None:
    assert "127.0.0.1" in read_addresses(Host())["lo"]


def test_a_simulated_host_is_not_told_of_the_machine_it_runs_on(tmp_path: Path) -> None:
    host = make_machine(tmp_path)

    assert read_addresses(host) == {"eth0": ["fe80::1"], "lo": ["::1"]}
    assert ask_link(host, "lo") == Link()


def test_a_links_masks_are_named() -> None:
    supported, advertised = 1 << 5 | 1 << 7 | 1 << 47, 1 << 5
    answer = bytearray(SETTINGS_BYTES)
    answer[MASK_WORDS_AT] = 2
    masks = struct.pack("=IIII", supported & 0xFFFFFFFF, supported >> 32, advertised, 0)

    link = parse_link(bytes(answer) + masks)

    assert link.supported_modes == ("1000baseT/Full", "2500baseT/Full")
    assert link.advertised_modes == ("1000baseT/Full",)
    assert link.supported_ports == ("TP",)


def test_asking_this_machines_interfaces_ends() -> None:
    names = [nic.name for nic in read_nics(Host())]

    assert names == [
        name
        for name in list_names(Host(), "/sys/class/net", limit=4096)
        if name not in ("lo", "bonding_masters")
    ]


def test_loopback_is_not_hardware(tmp_path: Path) -> None:
    assert [nic.name for nic in read_nics(make_machine(tmp_path))] == ["docker0", "eth0", "eth1"]
