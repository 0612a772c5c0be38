"""What the conformance suites hold to their rules: a store of each engine, and a mirror that listens."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from appliance.store.base import Limits, Store
from tests.conformance.store_engines import LIMITS, kubernetes, sqlite
from tests.go_builds import has_go
from tests.kube_cluster import KubeCluster, running_cluster
from tests.mirror.running import RunningMirror

ENGINES = ["sqlite", pytest.param("kubernetes", marks=pytest.mark.interop)]


@pytest.fixture(scope="package")
def kube_cluster() -> Iterator[KubeCluster]:
    """A cluster that holds nothing of other folders' tests."""
    if not has_go():
        pytest.skip("Go is not installed: it builds kube-apiserver and kine")
    with running_cluster() as cluster:
        yield cluster


def open_engine(
    request: pytest.FixtureRequest, folder: Path, limits: Limits
) -> AbstractAsyncContextManager[Store]:
    if request.param == "sqlite":
        return sqlite(folder, limits)
    return kubernetes(request.getfixturevalue("kube_cluster"), limits)


@pytest.fixture(params=ENGINES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with open_engine(request, tmp_path, LIMITS) as opened:
        yield opened


@pytest.fixture(params=ENGINES)
async def roomy(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A store whose limits are nobody's invention."""
    async with open_engine(request, tmp_path, Limits()) as opened:
        yield opened


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[Store]:
    async with sqlite(tmp_path, LIMITS) as opened:
        yield opened


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[RunningMirror]:
    with RunningMirror(tmp_path / "root") as running:
        yield running
