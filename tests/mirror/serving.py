"""The mirror as its own process, to be asked, killed and started again."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.mirror.running import Answer


class ServingMirror:
    """`python -m mirror serve` on a free port. `prelude` runs in the child first, to lower its limits."""

    def __init__(self, root: Path, *options: str, prelude: str = "") -> None:
        program = f"{prelude}\nimport sys\nfrom mirror.__main__ import main\nsys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", program, "serve", "--root", str(root), "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            _, said = self.process.communicate(timeout=20)
            raise AssertionError(f"the mirror did not start: {said}")
        self.ready = json.loads(line)
        self.address: str = self.ready["listen"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        self.process.communicate(timeout=30)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=20)

    def stop(self) -> tuple[int, str]:
        """SIGTERM; the exit status and what was said on stderr."""
        self.process.terminate()
        _, said = self.process.communicate(timeout=20)
        return self.process.returncode, said

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()


def memory_peak(process: int) -> int:
    """The largest resident size a process had, in bytes."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(os.strerror(3))
