"""Layouts, keys and bundles for tests, and a picture of a mirror to compare."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from bundles.images.small import build_small_image
from bundles.pack import Source, pack
from bundles.signing import PrivateKey, PublicKey, generate_key, parse_private_key, trust_of

_PRIVATE, _PUBLIC = generate_key()
KEY: PrivateKey = parse_private_key(_PRIVATE)
TRUST: dict[str, PublicKey] = trust_of(KEY.public)
STRANGER: PrivateKey = parse_private_key(generate_key()[0])


def make_layout(path: Path, *, versions: tuple[str, ...] = ("1", "2"), payload_bytes: int = 10_000) -> Path:
    for version in versions:
        build_small_image(path, name="os/demo", version=version, healthy=True, payload_bytes=payload_bytes)
    return path


def make_bundle(
    folder: Path,
    *,
    versions: tuple[str, ...] = ("1", "2"),
    payload_bytes: int = 10_000,
    key: PrivateKey = KEY,
    name: str = "demo",
) -> Path:
    layout = make_layout(folder / f"{name}-layout", versions=versions, payload_bytes=payload_bytes)
    sources = [Source(layout, f"os/demo:{version}", name=f"os/demo:{version}") for version in versions]
    pack(sources, folder / name, key=key, name=name)
    shutil.rmtree(layout)
    return folder / name


def files_of(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def flip_bit(path: Path, position: int, *, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def picture(root: Path) -> tuple[list[tuple[str, bytes]], list[str]]:
    """All files of a mirror but SQLite's own, with content, and all rows of its index."""
    files = [
        (str(path.relative_to(root)), path.read_bytes() if path.is_file() else b"")
        for path in sorted(root.rglob("*"))
        if not path.name.startswith("index.db")
    ]
    with closing(sqlite3.connect(root / "index.db")) as index:
        return files, list(index.iterdump())
