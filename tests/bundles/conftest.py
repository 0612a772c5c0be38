"""A mirror's registry for every test of the bundles that asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.registry import Registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    registry = Registry(tmp_path / "mirror")
    yield registry
    registry.close()
