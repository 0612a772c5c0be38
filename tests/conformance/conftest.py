"""What the conformance suites hold to their rules: a store of each engine, and a mirror that listens."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from appliance.store.base import Store
from tests.conformance.store_engines import LIMITS, kubernetes, sqlite
from tests.mirror.running import RunningMirror


@pytest.fixture(params=["sqlite", pytest.param("kubernetes", marks=pytest.mark.interop)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "sqlite":
        engine = sqlite(tmp_path, LIMITS)
    else:
        engine = kubernetes(request.getfixturevalue("kube_cluster"), LIMITS)
    async with engine as opened:
        yield opened


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[Store]:
    async with sqlite(tmp_path, LIMITS) as opened:
        yield opened


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[RunningMirror]:
    with RunningMirror(tmp_path / "root") as running:
        yield running
