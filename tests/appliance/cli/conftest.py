"""A terminal for each test, with nothing of this machine's own settings in it."""

from pathlib import Path

import pytest

from tests.appliance.cli.typing_in import Terminal
from tests.appliance.running import Appliance


@pytest.fixture
def _plain_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        "SKERRY_SERVER",
        "SKERRY_TOKEN_FILE",
        "SKERRY_CA_FILE",
        "SKERRY_CONFIG",
        "NO_COLOR",
        "FORCE_COLOR",
    ):
        monkeypatch.delenv(name, raising=False)
    # `--server` on the left is kept in the environment; this puts it back afterwards.
    monkeypatch.setenv("SKERRY_SERVER", "")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TERM", "dumb")


@pytest.fixture
def skerry(_plain_surroundings: None, capsys: pytest.CaptureFixture[str], appliance: Appliance) -> Terminal:
    return Terminal(capsys, appliance.server)


@pytest.fixture
def lonely(_plain_surroundings: None, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Terminal:
    """A terminal whose appliance is not there."""
    return Terminal(capsys, f"unix:{tmp_path}/none.sock")
