"""Starting k3s and waiting for it, with a real program in k3s' place that answers as told."""

from pathlib import Path

import pytest

from appliance.k3s.files import BINARY
from appliance.k3s.starting import READY, ClusterNotReady, Kubectl, Said, start_k3s, wait_for


def place_k3s(root: Path, script: str) -> Kubectl:
    path = root / BINARY
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return Kubectl(root)


def test_waiting_ends_as_soon_as_the_cluster_says_yes(tmp_path: Path) -> None:
    kubectl = place_k3s(tmp_path, f'echo "$@" >> {tmp_path}/asked; test -e {tmp_path}/ready')
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            (tmp_path / "ready").touch()

    wait_for(kubectl, READY, what="k3s", seconds=60, pause=pause)

    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == 4
    assert asked[0] == f"kubectl --kubeconfig {tmp_path}/etc/rancher/k3s/k3s.yaml get --raw /readyz"


def test_waiting_gives_up_at_its_limit_with_the_last_answer(tmp_path: Path) -> None:
    kubectl = place_k3s(tmp_path, "echo etcd is not up >&2; exit 1")
    times = iter(range(100))

    with pytest.raises(ClusterNotReady, match=r"k3s was not ready after 5 s: etcd is not up"):
        wait_for(kubectl, READY, what="k3s", seconds=5, pause=lambda seconds: None, clock=lambda: next(times))


def test_a_missing_k3s_is_an_answer_too(tmp_path: Path) -> None:
    with pytest.raises(ClusterNotReady, match="No such file"):
        wait_for(Kubectl(tmp_path), READY, what="k3s", seconds=0)


def test_a_refusal_of_systemd_is_told_with_its_words() -> None:
    def refuse(command: object) -> Said:
        return Said(1, "Unit k3s.service is masked.")

    with pytest.raises(ClusterNotReady, match="masked"):
        start_k3s(refuse)
