"""A real containerd of its own, as a node's: data, sockets and snapshots lie in one folder. Needs root."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mirror.boxes import run
from tests.mirror.running import wait_until

CONFIG = """
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{folder}/socket"
[ttrpc]
  address = "{folder}/ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  stream_server_port = "0"
  disable_tcp_service = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{folder}/cni"
  conf_dir = "{folder}/cni"
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "{folder}/certs.d"
"""


class Containerd:
    def __init__(self, folder: Path) -> None:
        self.socket = folder / "socket"
        self.certs_d = folder / "certs.d"

    def ctr(self, *words: str) -> str:
        return run(["ctr", "--address", str(self.socket), *words])

    def pull(self, name: str) -> None:
        """All platforms, unpacked by copying, which works on any file system."""
        self.ctr(
            *("images", "pull", "--hosts-dir", str(self.certs_d), "--snapshotter", "native"),
            *("--all-platforms", name),
        )

    def images(self) -> dict[str, str]:
        """The digest of each."""
        lines = self.ctr("images", "ls").splitlines()[1:]
        return {name: digest for name, _, digest, *_ in map(str.split, lines)}

    def content(self) -> set[str]:
        """The hex digests of all blobs, which containerd has checked."""
        return {line.removeprefix("sha256:") for line in self.ctr("content", "ls", "-q").split()}

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self.socket)) == 0


@contextmanager
def open_containerd(folder: Path) -> Iterator[Containerd]:
    """The folder's path must be short: it is part of a socket's."""
    (folder / "config.toml").write_text(CONFIG.format(folder=folder))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["containerd", "--config", str(folder / "config.toml")], stdout=log, stderr=log, env=os.environ
        )
    containerd = Containerd(folder)
    try:
        wait_until(lambda: containerd.answers() or process.poll() is not None)
        assert process.poll() is None, (folder / "log").read_text()
        yield containerd
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
