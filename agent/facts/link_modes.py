"""What a network interface's hardware could do, asked of its driver as ethtool asks it, without ethtool.

The answer is two bit masks whose bits are named below in ethtool's words (linux/ethtool.h). An interface
without hardware says nothing, and a simulated host has no driver to ask.
"""

import array
import fcntl
import socket
import struct
from dataclasses import dataclass

from agent.host import Host

SIOCETHTOOL = 0x8946
ETHTOOL_GLINKSETTINGS = 0x4C
MASK_WORDS_AT = 15  # the byte in which driver and caller agree on the masks' length
SETTINGS_BYTES = 48
MAX_MASK_WORDS = 127

PORTS = {7: "TP", 8: "AUI", 9: "MII", 10: "FIBRE", 11: "BNC", 16: "Backplane"}
MODES = {
    0: "10baseT/Half", 1: "10baseT/Full", 2: "100baseT/Half", 3: "100baseT/Full", 4: "1000baseT/Half",
    5: "1000baseT/Full", 12: "10000baseT/Full", 15: "2500baseX/Full", 17: "1000baseKX/Full",
    18: "10000baseKX4/Full", 19: "10000baseKR/Full", 21: "20000baseMLD2/Full", 22: "20000baseKR2/Full",
    23: "40000baseKR4/Full", 24: "40000baseCR4/Full", 25: "40000baseSR4/Full", 26: "40000baseLR4/Full",
    27: "56000baseKR4/Full", 28: "56000baseCR4/Full", 29: "56000baseSR4/Full", 30: "56000baseLR4/Full",
    31: "25000baseCR/Full", 32: "25000baseKR/Full", 33: "25000baseSR/Full", 34: "50000baseCR2/Full",
    35: "50000baseKR2/Full", 36: "100000baseKR4/Full", 37: "100000baseSR4/Full", 38: "100000baseCR4/Full",
    39: "100000baseLR4_ER4/Full", 40: "50000baseSR2/Full", 41: "1000baseX/Full", 42: "10000baseCR/Full",
    43: "10000baseSR/Full", 44: "10000baseLR/Full", 45: "10000baseLRM/Full", 46: "10000baseER/Full",
    47: "2500baseT/Full", 48: "5000baseT/Full", 52: "50000baseKR/Full", 53: "50000baseSR/Full",
    54: "50000baseCR/Full", 55: "50000baseLR_ER_FR/Full", 56: "50000baseDR/Full", 57: "100000baseKR2/Full",
    58: "100000baseSR2/Full", 59: "100000baseCR2/Full", 60: "100000baseLR2_ER2_FR2/Full",
    61: "100000baseDR2/Full", 62: "200000baseKR4/Full", 63: "200000baseSR4/Full",
    64: "200000baseLR4_ER4_FR4/Full", 65: "200000baseDR4/Full", 66: "200000baseCR4/Full",
    67: "100baseT1/Full", 68: "1000baseT1/Full", 69: "400000baseKR8/Full", 70: "400000baseSR8/Full",
    71: "400000baseLR8_ER8_FR8/Full", 72: "400000baseDR8/Full", 73: "400000baseCR8/Full",
    75: "100000baseKR/Full", 76: "100000baseSR/Full", 77: "100000baseLR_ER_FR/Full",
    78: "100000baseCR/Full", 79: "100000baseDR/Full", 80: "200000baseKR2/Full", 81: "200000baseSR2/Full",
    82: "200000baseLR2_ER2_FR2/Full", 83: "200000baseDR2/Full", 84: "200000baseCR2/Full",
    85: "400000baseKR4/Full", 86: "400000baseSR4/Full", 87: "400000baseLR4_ER4_FR4/Full",
    88: "400000baseDR4/Full", 89: "400000baseCR4/Full", 90: "100baseFX/Half", 91: "100baseFX/Full",
    92: "10baseT1L/Full",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Link:
    supported_modes: tuple[str, ...] = ()
    advertised_modes: tuple[str, ...] = ()
    supported_ports: tuple[str, ...] = ()


def ask_link(host: Host, name: str) -> Link:
    if host.root.resolve() != host.root.resolve().parent:
        return Link()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
            first = _ask(door, name, 0)
            # The driver answers the question of length zero with the length it wants, negative.
            words = -int.from_bytes(first[MASK_WORDS_AT : MASK_WORDS_AT + 1], "big", signed=True)
            return parse_link(_ask(door, name, words)) if 0 < words <= MAX_MASK_WORDS else Link()
    except OSError:
        return Link()


def parse_link(answer: bytes) -> Link:
    """The masks behind a struct ethtool_link_settings: supported, then advertised."""
    if len(answer) < SETTINGS_BYTES:
        return Link()
    size = answer[MASK_WORDS_AT] * 4
    supported = _bits(answer, SETTINGS_BYTES, size)
    advertised = _bits(answer, SETTINGS_BYTES + size, size)
    return Link(
        supported_modes=tuple(name for bit, name in MODES.items() if supported >> bit & 1),
        advertised_modes=tuple(name for bit, name in MODES.items() if advertised >> bit & 1),
        supported_ports=tuple(name for bit, name in PORTS.items() if supported >> bit & 1),
    )


def _bits(answer: bytes, start: int, size: int) -> int:
    """Words of 32 bits in the machine's order, the lowest first."""
    words = answer[start : start + size]
    return sum(
        word << 32 * index for index, (word,) in enumerate(struct.iter_unpack("=I", words[: len(words) & ~3]))
    )


def _ask(door: socket.socket, name: str, words: int) -> bytes:
    settings = array.array("B", bytes(SETTINGS_BYTES + 3 * 4 * words))
    struct.pack_into("=I", settings, 0, ETHTOOL_GLINKSETTINGS)
    settings[MASK_WORDS_AT] = words
    address, _ = settings.buffer_info()
    fcntl.ioctl(door, SIOCETHTOOL, struct.pack("16sP16x", name.encode()[:15], address))
    return settings.tobytes()
