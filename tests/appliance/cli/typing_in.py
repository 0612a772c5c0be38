"""Running a command line inside the test's process: what it printed, and its exit code."""

from dataclasses import dataclass

import pytest

from appliance.cli.run import run


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


class Terminal:
    """A person (or a script) with no terminal, at the appliance of `server`."""

    def __init__(self, capsys: pytest.CaptureFixture[str], server: str) -> None:
        self._capsys = capsys
        self._server = server

    def __call__(self, *arguments: str) -> Outcome:
        """Run `skerry` with these arguments and `--server` before them."""
        return self.bare("--server", self._server, *arguments)

    def bare(self, *arguments: str) -> Outcome:
        self._capsys.readouterr()
        code = run(arguments)
        out, err = self._capsys.readouterr()
        return Outcome(int(code), out, err)
