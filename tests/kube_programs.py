"""The programs of a real Kubernetes control plane, from the Go modules pinned in `conformance/kubernetes`.

One binary is kube-apiserver and kube-controller-manager, the other is kine, which is k3s's way to keep a
cluster in SQLite. The first build takes minutes and two gigabytes of memory; `python -m tests.kube_programs`
does it ahead of a test run.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.go_builds import build_program

SOURCES = Path(__file__).parent / "conformance" / "kubernetes"


@dataclass(frozen=True, slots=True)
class KubePrograms:
    control_plane: Path
    kine: Path


def build_kube_programs() -> KubePrograms:
    """Both binaries, built if this version never was. Raises CalledProcessError with go's words."""
    package = "k8s.io/component-base/version"
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "archive"}
    stamp = " ".join(f"-X {package}.{name}={value}" for name, value in values.items())
    control_plane = build_program(
        "kube-control-plane", SOURCES / "control_plane", flags=["-ldflags", f"-s -w {stamp}"]
    )
    kine = build_program(
        "kine", SOURCES / "kine", package="github.com/k3s-io/kine", flags=["-ldflags", "-s -w"]
    )
    return KubePrograms(control_plane, kine)


def kubernetes_version() -> str:
    """The version that the module pins, as in v1.36.3."""
    found = re.search(
        r"^\s*k8s\.io/kubernetes (v\S+)$", (SOURCES / "control_plane" / "go.mod").read_text(), re.M
    )
    if found is None:
        raise ValueError("go.mod pins no k8s.io/kubernetes")
    return found[1]


if __name__ == "__main__":
    programs = build_kube_programs()
    print(programs.control_plane, programs.kine, sep="\n")
