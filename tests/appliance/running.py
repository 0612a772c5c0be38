"""A really running appliance for tests: `skerry serve` as a child on free ports."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.api.client import Client

PATIENCE = 30  # bounds a broken run; nothing asserts speed


@dataclass
class Appliance:
    """One running `skerry serve` and what its ready line said."""

    process: subprocess.Popen[str]
    data: Path
    url: str
    mirror: str
    socket: Path
    log: Path

    @property
    def server(self) -> str:
        return f"unix:{self.socket}"

    @property
    def ca_file(self) -> Path:
        return self.data / "pki" / "ca.crt"

    @property
    def token(self) -> str:
        return (self.data / "admin.token").read_text().strip()

    def client(self) -> Client:
        return Client(self.server, timeout=PATIENCE)

    def remote(self, *, token: str | None = None) -> Client:
        """Over TLS, as the administrator unless another token is given."""
        return Client(self.url, token=self.token if token is None else token, ca_file=self.ca_file)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def running(data: Path, *arguments: str) -> Iterator[Appliance]:
    """Start an appliance over `data`; it is ended on the way out, whatever the test did to it."""
    log = data.parent / f"{data.name}.log"
    command = [
        *(sys.executable, "-m", "appliance", "serve", "--data", str(data), "--no-discovery"),
        *("--listen", "127.0.0.1:0", "--mirror-listen", "127.0.0.1:0", *arguments),
    ]
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=_environment()
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, f"the appliance ended before it was ready: {log.read_text()[-2000:]}"
        ready = json.loads(line)
        yield Appliance(process, data, ready["url"], ready["mirror"], Path(ready["socket"]), log)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("SKERRY_")}
