"""Tables of bytes: whole, cut anywhere, lying about lengths and strings, or nothing but noise."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.facts.memory import list_modules
from agent.facts.smbios import describe_smbios
from agent.facts.smbios_tables import (
    ENTRY_POINT,
    MAX_STRUCTURES,
    NEWEST,
    TABLE,
    Smbios,
    load_smbios,
    parse_structures,
    parse_version,
)
from agent.host import Host
from tests.agent.facts import smbios_factory as factory
from tests.agent.facts.smbios_factory import END, structure

WHOLE = (
    factory.bios()
    + factory.system()
    + factory.board(contained=3)
    + factory.chassis(count=1, elements=bytes([10, 1, 1]))
    + factory.processor()
    + factory.oem_strings("one", "two")
    + factory.memory_device()
    + END
)


def test_structures_are_cut_at_their_ends() -> None:
    first, second, last = parse_structures(
        structure(1, b"\x01\x02", ["a", "b"], handle=7) + structure(2, b"") + END
    )

    assert (first.type, first.handle, first.length, first.strings) == (1, 7, 6, (b"a", b"b"))
    assert (first.text(4), first.text(5), first.string(0), first.string(3)) == (
        "a",
        "b",
        "Not Specified",
        "<BAD INDEX>",
    )
    assert (second.type, second.strings) == (2, ())
    assert last.type == 127


def test_nothing_is_read_behind_the_end() -> None:
    assert [one.type for one in parse_structures(END + structure(1, b""))] == [127]


def test_there_is_a_limit_to_structures() -> None:
    assert len(list(parse_structures(structure(1, b"") * (MAX_STRUCTURES + 10)))) == MAX_STRUCTURES


@pytest.mark.parametrize(
    "table",
    [b"", b"\x01", b"\x01\x03\0\0\0\0", b"\x01\x00\0\0", b"\x01\xff\0\0\0\0"],
    ids=["empty", "half a header", "shorter than a header", "no length", "longer than the table"],
)
def test_a_table_that_makes_no_sense_has_no_structures(table: bytes) -> None:
    assert list(parse_structures(table)) == []


def test_control_characters_in_strings_become_dots() -> None:
    (one, _) = parse_structures(structure(1, b"\x01", ["a\x1b[2J\xff"]) + END)

    assert one.text(4) == "a.[2J."


@given(st.integers(0, len(WHOLE)), st.binary(max_size=64), st.integers(0, 64))
def test_tables_cut_and_overwritten_anywhere_are_described(at: int, noise: bytes, skipped: int) -> None:
    check_described(WHOLE[:at] + noise + WHOLE[at + skipped :])


@given(st.binary(max_size=4096))
def test_noise_is_described(table: bytes) -> None:
    check_described(table)


@given(
    st.sampled_from([0, 1, 2, 3, 4, 11, 17]),
    st.binary(max_size=251),
    st.lists(st.binary(max_size=20), max_size=6),
)
def test_structures_of_any_length_and_content_are_described(
    number: int, body: bytes, strings: list[bytes]
) -> None:
    table = structure(number, body, [text.replace(b"\0", b" ").decode("latin-1") for text in strings])
    check_described(table + END)


def check_described(table: bytes) -> None:
    """Whatever the bytes, there is a tree of text and lists of text, and modules with a size."""
    for version in ((2, 0), (2, 5), NEWEST):
        tables = Smbios(version, tuple(parse_structures(table)))
        for record in describe_smbios(tables).values():
            assert isinstance(record, dict)
            assert all(isinstance(value, (str, list)) for value in record.values())
        assert all(module.size > 0 for module in list_modules(tables))


@pytest.mark.parametrize(
    ("entry", "version"),
    [
        (b"_SM3_\0\x18\x03\x05\0", (3, 5)),
        (b"_SM_\0\x1f\x02\x08", (2, 8)),
        (b"_SM_\0\x1f\x02\x33", (2, 6)),
        (b"_SM_", NEWEST),
        (b"", NEWEST),
    ],
    ids=["64 bits", "32 bits", "32 bits, misstated", "cut short", "none"],
)
def test_the_entry_point_says_which_version(entry: bytes, version: tuple[int, int]) -> None:
    assert parse_version(entry) == version


def test_the_kernels_tables_are_found_below_the_hosts_root(tmp_path: Path) -> None:
    factory.install(tmp_path, [factory.system()], version=(2, 8))

    found = load_smbios(Host(tmp_path))

    assert found is not None
    assert found.version == (2, 8)
    assert [one.type for one in found.structures] == [1, 127]


def test_a_machine_without_tables_has_none(tmp_path: Path) -> None:
    assert load_smbios(Host(tmp_path)) is None

    for name in (TABLE, ENTRY_POINT):
        path = tmp_path / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    assert load_smbios(Host(tmp_path)) is None
