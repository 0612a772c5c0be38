"""GPT bytes and the layout on them. That sfdisk reads the same is shown in tests/system."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config import MIB, VolumeSizes
from agent.errors import DiskRefused, StateInvalid
from agent.gpt import TYPES, Entry, read_table, write_table
from agent.layout import plan_partitions

SIZES = VolumeSizes(efi=8, oem=8, recovery=16, state=32)


@given(st.integers(80, 4096), st.integers(0, 511))
def test_the_layout_is_aligned_in_order_and_inside_the_disk(mebibytes: int, odd: int) -> None:
    disk_bytes = mebibytes * MIB + odd * 512

    partitions = plan_partitions(disk_bytes, SIZES)

    assert [one.name for one in partitions] == ["efi", "oem", "recovery", "state", "persistent"]
    assert partitions[0].start == MIB
    ends = [one.start + one.size for one in partitions]
    assert [one.start for one in partitions[1:]] == ends[:-1]
    assert all(one.start % MIB == 0 and one.size % MIB == 0 for one in partitions)
    assert ends[-1] <= disk_bytes - 34 * 512


def test_a_disk_that_is_too_small_is_refused_with_the_numbers() -> None:
    with pytest.raises(DiskRefused, match="has 64 MiB; the layout needs 74 MiB"):
        plan_partitions(64 * MIB, SIZES)


def test_what_is_written_is_read_back() -> None:
    partitions = plan_partitions(100 * MIB, SIZES)
    disk = io.BytesIO(bytes(100 * MIB))

    write_table(disk, 100 * MIB, partitions)

    assert read_table(disk) == [
        Entry(one.name, TYPES[one.file_system], one.start, one.size) for one in partitions
    ]
    assert disk.getvalue()[510:512] == b"\x55\xaa"
    assert disk.getvalue()[-512:].startswith(b"EFI PART")


@pytest.mark.parametrize("position", [512 + 40, 2 * 512 + 3])
def test_a_flipped_byte_is_noticed(position: int) -> None:
    disk = io.BytesIO(bytes(100 * MIB))
    write_table(disk, 100 * MIB, plan_partitions(100 * MIB, SIZES))
    disk.getbuffer()[position] ^= 1

    with pytest.raises(StateInvalid, match="damaged"):
        read_table(disk)


def test_a_blank_disk_has_no_table() -> None:
    with pytest.raises(StateInvalid, match="no GPT"):
        read_table(io.BytesIO(bytes(MIB)))
