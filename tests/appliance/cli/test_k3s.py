"""`skerry k3s install` from the outside: what it takes over from the box, and what it refuses."""

import json
from pathlib import Path

import pytest
import yaml

from appliance.cli.exits import ExitCode
from appliance.k3s.files import CONFIG, KUBECONFIG, MANIFESTS, REGISTRIES
from mirror.registry import Registry
from tests.appliance.cli.typing_in import Terminal
from tests.appliance.k3s.conftest import APPLIANCE, K3S, data, registry

__all__ = ["data", "registry"]  # fixtures


def tell_endpoints(data: Path, url: str = "https://192.0.2.7:9443") -> None:
    (data / "endpoints.json").write_text(json.dumps({"url": url, "mirror": "192.0.2.7:5001"}))


def install(data: Path, root: Path, *words: str) -> tuple[str, ...]:
    place = ("--data", str(data), "--root", str(root), "--image", APPLIANCE)
    return ("k3s", "install", K3S, *place, "--no-start", *words)


def test_hosts_and_media_find_the_appliance_where_it_was(
    lonely: Terminal, registry: Registry, data: Path, tmp_path: Path
) -> None:
    tell_endpoints(data)

    told = lonely.bare(*install(data, tmp_path / "root")).err
    written = yaml.safe_load((tmp_path / "root" / REGISTRIES).read_text())
    manifests = lonely.bare("k3s", "manifests", "--port", "9443", "--mirror-port", "5001").out

    assert "https://192.0.2.7:9443, ports 9443 and 5001" in told
    assert written["mirrors"]["*"] == {"endpoint": ["https://192.0.2.7:5001"]}
    assert "0.0.0.0:9443" in manifests
    assert "0.0.0.0:5001" in manifests


def test_a_dry_run_lists_every_file_and_writes_none(
    lonely: Terminal, registry: Registry, data: Path, tmp_path: Path
) -> None:
    tell_endpoints(data)

    done = lonely.bare(*install(data, tmp_path / "root", "--dry-run", "-o", "name"))

    assert f"/{CONFIG}" in done.out.splitlines()
    assert f"/{MANIFESTS}/skerry-00-preparation.yaml" in done.out.splitlines()
    assert f"/{KUBECONFIG}" not in done.out.splitlines()
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--join", "https://first:6443"), "--token-file"),
        (("--advertise-url", "http://192.0.2.7:8443"), "plain HTTP"),
    ],
    ids=["token", "http"],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    lonely: Terminal, registry: Registry, data: Path, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    tell_endpoints(data)

    refused = lonely.bare(*install(data, tmp_path / "root", *words))

    assert refused.code == ExitCode.USAGE
    assert says in refused.err
    assert not (tmp_path / "root").exists()


def test_a_box_that_never_ran_is_asked_to_run_once(
    lonely: Terminal, registry: Registry, data: Path, tmp_path: Path
) -> None:
    refused = lonely.bare(*install(data, tmp_path / "root"))

    assert refused.code == ExitCode.USAGE
    assert "--mirror-url" in refused.err
