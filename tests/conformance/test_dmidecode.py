"""Our words for SMBIOS against dmidecode's own, over the same tables: every number of every enumeration.

The text is turned into a tree by upstream's rules, which are stated here once more, independent of ours.
"""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from agent.facts.smbios import describe_smbios
from agent.facts.smbios_tables import load_smbios
from agent.host import Host
from agent.protocol.documents import JSON
from tests.agent.facts.smbios_factory import (
    END,
    bios,
    board,
    chassis,
    dump,
    memory_device,
    oem_strings,
    processor,
    structure,
    system,
    tables,
)

DMIDECODE = shutil.which("dmidecode") or shutil.which("dmidecode", path="/usr/sbin:/sbin")

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(DMIDECODE is None, reason="the comparison needs dmidecode"),
]

TYPES = (0, 1, 2, 3, 4, 11)

CASES: dict[str, list[bytes]] = {
    "BIOS characteristics": [bios(characteristics=1 << bit) for bit in range(64)],
    "BIOS extensions": [bios(extensions=(1 << bit, 1 << bit)) for bit in range(8)],
    "BIOS sizes": [bios(rom=rom, segment=rom << 8) for rom in (0, 1, 7, 15, 16, 17, 31, 63, 127, 254)],
    "BIOS large sizes": [bios(extended_rom=rom) for rom in (0, 16, 0x3FFF, 0x4010, 0x8010, 0xC010)],
    "BIOS releases": [bios(releases=(0xFF, 2, 3, 0xFF)), bios(releases=(0, 0, 255, 255))],
    "BIOS cut short": [bios(length=length) for length in range(4, 0x1B)],
    "system wake-ups": [system(wake_up=number) for number in range(256)],
    "system UUIDs": [system(uuid=uuid) for uuid in (bytes(16), b"\xff" * 16, bytes(range(16)))],
    "system cut short": [system(length=length) for length in range(4, 0x1C)],
    "system texts": [system(serial=text) for text in ("  padded ", "a: b", "\x01\xe9", " ", "ends:")],
    "board types": [board(type=number) for number in range(256)],
    "board features": [board(features=number) for number in range(256)],
    "board contents": [board(contained=number) for number in (0, 1, 5)],
    "board cut short": [board(contained=2, length=length) for length in range(4, 0x14)],
    "chassis types": [chassis(type=number) for number in range(256)],
    "chassis states": [chassis(states=(n, n, n, n)) for n in range(256)],
    "chassis sizes": [chassis(height=n, cords=n) for n in (0, 1, 255)],
    "chassis contents": [chassis(count=1, elements=bytes([n, 1, 1])) for n in range(256)],
    "chassis ranges": [chassis(count=2, size=4, elements=bytes([0x83, 1, 2, 0, 10, 3, 3, 0]))],
    "chassis contents that are too small": [chassis(count=2, size=2, elements=bytes(4))],
    "chassis cut short": [
        chassis(count=1, elements=bytes([10, 1, 1]), length=length) for length in range(4, 0x1A)
    ],
    "processor families": [processor(family=number) for number in range(256)],
    "processor families of two bytes": [processor(family=0xFE, family_2=n) for n in range(0x300)],
    "processors of AMD": [processor(family=0x6B, id=n) for n in (0x178BFBFF00A20F12, 0x612, 1 << 63)],
    "processors whose version tells": [
        processor(family=family, version=version)
        for family in (1, 2)
        for version in ("Intel(R) Core(TM)2 CPU", "AMD Opteron(tm) X", "pc-q35-7.2", "Intel(R) Xeon")
    ],
    "processors of two makers": [processor(family=0xBE, maker=maker) for maker in ("Intel", "AMD", "Via")],
    "processors with a SoC's id": [processor(family=0xFE, family_2=0x101, characteristics=0x0)],
    "processor flags": [processor(id=1 << (32 + bit)) for bit in range(32)],
    "processor characteristics": [processor(characteristics=1 << bit) for bit in range(16)],
    "processor voltages": [processor(voltage=number) for number in range(256)],
    "processor states": [processor(status=number) for number in range(256)],
    "processor sockets": [processor(upgrade=number) for number in range(256)],
    "processor types": [processor(type=number) for number in range(256)],
    "processor counts": [processor(cores=n, wide_cores=300) for n in (0, 1, 254, 255)],
    "processors cut short": [processor(cores=255, length=length) for length in range(4, 0x31)],
    "OEM strings": [oem_strings(), oem_strings("a", "b: c"), oem_strings("a", count=9)],
}


@pytest.mark.parametrize("case", CASES)
def test_our_words_are_dmidecodes(tmp_path: Path, case: str) -> None:
    told = run_dmidecode(tmp_path, CASES[case]).split("\nHandle ")[1:]

    assert len(told) == len(CASES[case])
    for one, text in zip(CASES[case], told, strict=True):
        assert describe_smbios(tables(one)) == parse_text(f"Handle {text}"), one.hex()


@pytest.mark.parametrize("version", [(2, 0), (2, 3), (2, 5), (2, 6), (2, 8), (3, 5)])
def test_each_version_of_the_specification_is_read_its_way(tmp_path: Path, version: tuple[int, int]) -> None:
    whole = [bios(), system(), board(contained=1), chassis(), oem_strings("x")]

    for one in (processor(), processor(family=0x30), processor(family=0x30, maker="DEC")):
        ours = describe_smbios(tables(*whole, one, version=version))
        assert ours == ask_dmidecode(tmp_path, [*whole, one], version=version)


def test_the_last_of_several_counts(tmp_path: Path) -> None:
    several = [processor(), system(serial="one"), system(serial="two"), processor(length=0x1A)]

    assert describe_smbios(tables(*several)) == ask_dmidecode(tmp_path, several)


def test_what_is_of_other_types_is_passed_over(tmp_path: Path) -> None:
    mixed = [memory_device(), system(), structure(221, bytes(9), ["Reference Code"]), bios()]

    assert describe_smbios(tables(*mixed)) == ask_dmidecode(tmp_path, mixed)


def test_this_machines_own_tables_are_read_alike() -> None:
    """Where this machine shows none (containers, most microVMs), both have nothing to say."""
    own = load_smbios(Host())
    told = [
        subprocess.run([str(DMIDECODE), "-t", str(number)], capture_output=True, text=True, check=False)
        for number in TYPES
    ]

    tree = parse_text("".join(done.stdout for done in told if done.returncode == 0))

    assert (describe_smbios(own) if own else {}) == tree


def ask_dmidecode(
    directory: Path, structures: Iterable[bytes], *, version: tuple[int, int] = (3, 4)
) -> dict[str, JSON]:
    """The tree of upstream's client: what dmidecode says, by upstream's rules."""
    return parse_text(run_dmidecode(directory, structures, version=version))


def run_dmidecode(directory: Path, structures: Iterable[bytes], *, version: tuple[int, int] = (3, 4)) -> str:
    file = directory / "dump"
    file.write_bytes(dump(b"".join(structures) + END, version=version))
    types = [flag for number in TYPES for flag in ("-t", str(number))]
    done = subprocess.run(
        [str(DMIDECODE), "--from-dump", str(file), *types], capture_output=True, text=True, check=True
    )
    return done.stdout


def parse_text(text: str) -> dict[str, JSON]:
    """dmidecode's lines as a tree (facts: wire protocol 7.3)."""
    tree: dict[str, JSON] = {}
    record: dict[str, JSON] = {}
    key, is_open = "", False
    for line in text.splitlines():
        if line.startswith("Handle "):
            is_open, record = True, {}
            continue
        if not line.strip() or not is_open or line in ("OEM-specific Type", "End Of Table"):
            is_open = False
            continue
        if not line.startswith("\t"):
            tree[line.strip()] = record
        elif line.startswith("\t\t"):
            items = record[key]
            record[key] = [*items, line.strip()] if isinstance(items, list) else [line.strip()]
        else:
            name, _, value = line.partition(": ")
            key = name.strip()
            record[key] = value.strip()
    return tree
