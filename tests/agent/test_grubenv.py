"""The environment block is GRUB's, byte for byte, and small enough to be written in one piece."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import StateInvalid
from agent.grubenv import HEADER, SECTOR, SIZE, parse_block, read_variables, render_block, write_variables

names = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=10)
values = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@given(st.dictionaries(names, values, max_size=5))
def test_what_is_rendered_is_read_back(variables: dict[str, str]) -> None:
    block = render_block(variables)

    assert len(block) == SIZE
    assert block.rstrip(b"#") == block[:SECTOR].rstrip(b"#")
    assert parse_block(block) == variables


def test_a_block_made_by_grub_editenv_is_read() -> None:
    block = (HEADER + b"saved_entry=active\npassive_snaps=2 1\npath=a\\\\b\n").ljust(SIZE, b"#")

    assert parse_block(block) == {"saved_entry": "active", "passive_snaps": "2 1", "path": "a\\b"}


@pytest.mark.parametrize(
    "content",
    [b"", HEADER, b"x" * SIZE, (HEADER + b"a=b\n").ljust(SIZE + 1, b"#")],
    ids=["empty", "short", "no header", "long"],
)
def test_a_damaged_block_is_refused(content: bytes) -> None:
    with pytest.raises(StateInvalid):
        parse_block(content)


def test_variables_that_do_not_fit_one_sector_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "grub_oem_env"
    write_variables(path, {"ab_good": "1"})

    with pytest.raises(StateInvalid, match="512"):
        write_variables(path, {"big": "x" * SECTOR})

    assert read_variables(path) == {"ab_good": "1"}


def test_writing_keeps_foreign_variables_and_the_file_itself(tmp_path: Path) -> None:
    path = tmp_path / "grub_oem_env"
    write_variables(path, {"state_label": "COS_STATE", "ab_try": "3"})
    inode = path.stat().st_ino

    write_variables(path, {"ab_try": None, "ab_good": "2"})

    assert read_variables(path) == {"state_label": "COS_STATE", "ab_good": "2"}
    assert path.stat().st_ino == inode, "GRUB knows the block by its place on the disk"


def test_a_name_that_would_break_the_block_is_refused() -> None:
    with pytest.raises(StateInvalid):
        render_block({"a=b": "c"})
