"""The kubectls that the tests type into: the machine's own, of whatever age, and a current one built from Go.

KUBECTL names another for the machine's own; without it the first on the path is used (Debian: package
kubernetes-client).
"""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from tests.go_builds import build_program, has_go

KUBECTLS = ("installed", "current")
_SOURCES = Path(__file__).parent / "kubectl"
_VERSION = "-ldflags=-s -w -X k8s.io/component-base/version.gitVersion=v1.37.0"


def find_kubectl(which: str) -> str:
    """The program; the test is skipped where it cannot be had."""
    if which == "current":
        if not has_go():
            pytest.skip("Go is not installed: it builds a current kubectl")
        return str(build_program("kubectl", _SOURCES, flags=[_VERSION]))
    binary = os.environ.get("KUBECTL") or shutil.which("kubectl")
    if binary is None:
        pytest.skip("there is no kubectl: apt-get install kubernetes-client")
    return binary


class Kubectl:
    """One kubectl with a home of its own; `connection` says where it goes and as whom."""

    def __init__(self, binary: str, home: Path, *connection: str) -> None:
        self._binary = binary
        self._connection = connection
        self._environment = {"HOME": str(home), "PATH": os.environ["PATH"]}

    async def start(self, *arguments: str, editor: str = "") -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            self._binary,
            *self._connection,
            *arguments,
            env=self._environment | ({"KUBE_EDITOR": editor} if editor else {}),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def __call__(self, *arguments: str, code: int = 0, editor: str = "") -> str:
        process = await self.start(*arguments, editor=editor)
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
        assert process.returncode == code, output.decode()
        return output.decode()
