"""Clients of registries as their makers wrote them, built from the modules that `clients/*/go.mod` pin."""

from collections.abc import Callable
from pathlib import Path

from tests.go_builds import build_program
from tests.mirror.boxes import Box, run

FOLDER = Path(__file__).parent / "clients"
PACKAGES = {
    "crane": "github.com/google/go-containerregistry/cmd/crane",
    "oras": "oras.land/oras/cmd/oras",
    "helm": "helm.sh/helm/v3/cmd/helm",
    "regctl": "github.com/regclient/regclient/cmd/regctl",
    "containerd": ".",
    "k3s": ".",
}

Client = Callable[..., str]  # the words of the command line; what it says on stdout


def make_clients(box: Box, folder: Path) -> dict[str, Client]:
    """Each runs in the folder, knows no other home, and trusts the mirror's CA."""
    home = folder / "home"
    home.mkdir()
    environment = {
        "HOME": str(home),
        "DOCKER_CONFIG": str(home),
        "HELM_REGISTRY_CONFIG": str(home / "helm.json"),
        "REGCTL_CONFIG": str(home / "regctl.json"),
        "XDG_CACHE_HOME": str(home / "cache"),
    }
    if box.ca is not None:
        environment["SSL_CERT_FILE"] = str(box.ca)
    binaries = {
        name: build_program(name, FOLDER / name, package=package) for name, package in PACKAGES.items()
    }

    def client(name: str) -> Client:
        return lambda *words: run([str(binaries[name]), *words], folder=folder, environment=environment)

    return {name: client(name) for name in binaries}
