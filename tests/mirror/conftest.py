"""A registry, and a mirror that listens, for every test of the mirror that asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.registry import Registry
from tests.mirror.running import RunningMirror


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    registry = Registry(tmp_path / "root")
    yield registry
    registry.close()


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[RunningMirror]:
    with RunningMirror(tmp_path / "root") as running:
        yield running
