"""A mirror that listens, for the cases of the registry."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mirror.running import RunningMirror


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[RunningMirror]:
    with RunningMirror(tmp_path / "root") as running:
        yield running
