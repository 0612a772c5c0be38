"""What stands in for k3s and systemctl where k3s cannot be had: the real kubectl over a given cluster.

Of `k3s server` it does what an install waits for: it writes the administrator's kubeconfig, applies what lies
in the manifests' folder whenever that changes, and says of the appliance's Deployment that it is rolled out,
for the cluster has no node that could run it. Run as a program: ROOT WORD...
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from appliance.files import write_durably
from appliance.k3s.documents import NAME, NAMESPACE
from appliance.k3s.files import BINARY, KUBECONFIG, MANIFESTS

SETTINGS, PID, CALLS, LOG = "stand-in.json", "k3s.pid", "systemctl.log", "k3s.log"
ASK_SECONDS = 0.2


def lay_out(root: Path, *, kubectl: str, kubeconfig: Path) -> Path:
    """Put the stand-in where an install puts k3s; return a folder with its systemctl, for PATH."""
    (root / SETTINGS).write_text(json.dumps({"kubectl": kubectl, "kubeconfig": str(kubeconfig)}))
    path = root / "path"
    for program, words in ((root / BINARY, ""), (path / "systemctl", "systemctl ")):
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {root} {words}"$@"\n')
        program.chmod(0o755)
    return path


def end(root: Path) -> None:
    """End the server that a stand-in started, if it did."""
    if (root / PID).exists():
        os.kill(int((root / PID).read_text()), signal.SIGKILL)


def main(root: Path, words: list[str]) -> None:
    settings = json.loads((root / SETTINGS).read_text())
    match words:
        case ["kubectl", *arguments]:
            os.execv(settings["kubectl"], ["kubectl", *arguments])
        case ["systemctl", *arguments]:
            with (root / CALLS).open("a") as log:
                log.write(" ".join(arguments) + "\n")
            if arguments[:1] == ["restart"]:
                end(root)
                with (root / LOG).open("a") as log:
                    server = subprocess.Popen(
                        [root / BINARY, "server"], stdout=log, stderr=log, start_new_session=True
                    )
                (root / PID).write_text(str(server.pid))
        case ["server"]:
            serve(root, [settings["kubectl"], "--kubeconfig", settings["kubeconfig"]])


def serve(root: Path, kubectl: list[str]) -> None:
    write_durably(root / KUBECONFIG, Path(kubectl[-1]).read_bytes(), mode=0o600)
    applied: dict[Path, bytes] = {}
    while True:
        for path in sorted((root / MANIFESTS).glob("*.yaml")):
            content = path.read_bytes()
            if applied.get(path) != content and says(kubectl, "apply", "--server-side", "-f", str(path)):
                applied[path] = content
        roll_out(kubectl)
        time.sleep(ASK_SECONDS)


def roll_out(kubectl: list[str]) -> None:
    """Say what the Deployment's controller and a kubelet would, if there were any."""
    found = says(kubectl, "-n", NAMESPACE, "get", "deployment", NAME, "-o", "json")
    if not found or "availableReplicas" in (deployment := json.loads(found))["status"]:
        return
    count = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)
    status = json.dumps({"status": {"observedGeneration": deployment["metadata"]["generation"], **count}})
    merge = ("--subresource=status", "--type=merge", "-p", status)
    says(kubectl, "-n", NAMESPACE, "patch", "deployment", NAME, *merge)


def says(kubectl: list[str], *words: str) -> str:
    return subprocess.run([*kubectl, *words], capture_output=True, text=True).stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
