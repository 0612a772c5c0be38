"""Rules for every test: a skip is a failure where the environment promises that every component is there."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.kube_cluster import KubeCluster

# Nothing here asserts speed. CI replays the same examples every time; a laptop looks for new ones.
settings.register_profile("search", deadline=None)
settings.register_profile("replay", deadline=None, derandomize=True)
settings.load_profile("replay" if os.environ.get("CI") else "search")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name long values by their place: some hold keys made anew each run, and workers must agree on names."""
    return argname if isinstance(val, (str, bytes)) and len(val) > 40 else None


@pytest.fixture(scope="session")
def kube_cluster() -> Iterator["KubeCluster"]:
    """The Kubernetes control plane that the tests of this process share. Each clears away what it made."""
    from tests.go_builds import has_go
    from tests.kube_cluster import running_cluster

    if not has_go():
        pytest.skip("Go is not installed: it builds kube-apiserver and kine")
    with running_cluster() as cluster:
        yield cluster


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With SKERRY_FORBID_SKIPS set, as in CI, a skipped test ends the run as failed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if os.environ.get("SKERRY_FORBID_SKIPS") and skipped and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
