"""A registry, and a mirror that listens, for every test of the mirror that asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.registry import Registry
from tests.mirror.boxes import Box, open_box
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


@pytest.fixture(params=["plain", "tls"])
def box(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Box]:
    with open_box(tmp_path, is_tls=request.param == "tls") as box:
        yield box
