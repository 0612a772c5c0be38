"""The fixture that most tests of the API and the CLI share: one running appliance a test session."""

from collections.abc import Iterator

import pytest

from tests.appliance.running import Appliance, running


@pytest.fixture(scope="session")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """Shared: use names of your own in it, and do not stop it."""
    with running(tmp_path_factory.mktemp("appliance") / "data") as started:
        yield started
