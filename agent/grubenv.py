"""GRUB's environment block: 1024 bytes that the boot loader and we both read and write.

The format is GRUB's own: a fixed first line, `name=value` lines with backslash escapes, padding. We write
in place and sync, because GRUB remembers where the file's blocks are and because one sector is what a disk
writes whole: so what matters must end within the first 512 bytes (host-os.md 2.11).
"""

import os
from collections.abc import Mapping
from pathlib import Path

from agent.durable import write_durably
from agent.errors import StateInvalid

SIZE = 1024
SECTOR = 512
HEADER = b"# GRUB Environment Block\n"


def parse_block(content: bytes) -> dict[str, str]:
    """Return the variables. Raises StateInvalid for anything that GRUB would not load."""
    if len(content) != SIZE:
        raise StateInvalid(f"the boot environment block has {len(content)} bytes instead of {SIZE}")
    if not content.startswith(HEADER):
        raise StateInvalid("the boot environment block does not begin with GRUB's header line")
    variables: dict[str, str] = {}
    for line in _split_lines(content[len(HEADER) :]):
        name, separator, value = line.partition("=")
        if separator and not name.startswith("#"):
            variables[name] = value
    return variables


def render_block(variables: Mapping[str, str]) -> bytes:
    """Return 1024 bytes. Raises StateInvalid when the variables do not fit into the first sector."""
    lines = []
    for name, value in variables.items():
        if not name or not all(letter.isalnum() or letter in "_-." for letter in name):
            raise StateInvalid(f"{name!r} cannot be the name of a boot variable")
        lines.append(f"{name}={_escape(value)}\n".encode())
    block = HEADER + b"".join(lines)
    if len(block) > SECTOR:
        raise StateInvalid(
            f"the boot variables need {len(block)} bytes; only {SECTOR} can be written in one piece",
            hint="remove variables that no longer mean anything with `grub-editenv … unset NAME`",
        )
    return block.ljust(SIZE, b"#")


def read_variables(path: Path) -> dict[str, str]:
    """Return the variables of the block at `path`; a missing file has none."""
    try:
        with path.open("rb") as file:
            content = file.read(SIZE + 1)
    except FileNotFoundError:
        return {}
    return parse_block(content)


def write_variables(path: Path, changes: Mapping[str, str | None]) -> None:
    """Set (or, with None, remove) variables and keep the others: one write in place, then fsync."""
    variables: dict[str, str] = dict(read_variables(path))
    for name, value in changes.items():
        if value is None:
            variables.pop(name, None)
        else:
            variables[name] = value
    block = render_block(variables)
    if not path.exists():
        write_durably(path, block)
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, block, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\\n")


def _split_lines(content: bytes) -> list[str]:
    """Undo the escapes: a backslash makes the next byte literal, also a newline."""
    lines: list[str] = []
    current = bytearray()
    position = 0
    while position < len(content):
        byte = content[position : position + 1]
        if byte == b"\\" and position + 1 < len(content):
            current += content[position + 1 : position + 2]
            position += 2
            continue
        if byte == b"\n":
            lines.append(current.decode(errors="replace"))
            current = bytearray()
        else:
            current += byte
        position += 1
    return lines
