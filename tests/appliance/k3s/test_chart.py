"""The chart, judged by helm itself: it lints clean, and renders to the very objects of the manifests."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from appliance.k3s.chart import ChartSettings, chart_files
from appliance.k3s.documents import NAMESPACE, Hosted, documents
from appliance.resources.crds import custom_kinds
from appliance.resources.meta import Document
from tests.go_builds import build_program, has_go
from tests.kube_cluster import DEFINITIONS, running_cluster
from tests.mirror.go_clients import FOLDER, PACKAGES
from tests.mirror.serving import ServingMirror

IMAGE = "docker.io/skerry/appliance:1.0.0"


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    for entry in chart_files(ChartSettings(version="1.0.0", image=IMAGE)):
        path = tmp_path / entry.path
        if entry.kind == "directory":
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(entry.content)
    return tmp_path / "skerry"


def test_the_chart_holds_every_crd_and_no_leftover_of_its_making(chart: Path) -> None:
    texts = [path.read_text() for path in (chart / "templates").iterdir()]

    assert len(list((chart / "crds").iterdir())) >= 9
    assert not any("@@" in text or "@site@" in text or "@advertise@" in text for text in texts)


@pytest.mark.interop
@pytest.mark.skipif(not has_go(), reason="building helm needs Go")
class TestWithHelm:
    @staticmethod
    def helm(*words: str, home: Path | None = None) -> str:
        binary = build_program("helm", FOLDER / "helm", package=PACKAGES["helm"])
        surroundings = {**os.environ, **({"HOME": str(home)} if home else {})}
        done = subprocess.run([str(binary), *words], capture_output=True, text=True, env=surroundings)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def rendered(self, chart: Path, *values: str) -> dict[str, Document]:
        sets = [word for value in values for word in ("--set", value)]
        text = self.helm(
            "template",
            "skerry",
            str(chart),
            "--namespace",
            "skerry-system",
            "--kube-version",
            "1.31.0",
            *sets,
        )
        return {each["kind"]: each for each in yaml.safe_load_all(text) if each}

    def test_helm_finds_no_fault(self, chart: Path) -> None:
        assert "0 chart(s) failed" in self.helm("lint", "--strict", str(chart))

    def test_with_its_defaults_the_chart_is_the_plain_manifests(self, chart: Path) -> None:
        assert self.rendered(chart) == {each["kind"]: each for each in documents(Hosted(image=IMAGE))}

    def test_values_go_where_the_manifests_have_them(self, chart: Path) -> None:
        ours = Hosted(
            image=IMAGE,
            port=9443,
            mirror_port=5001,
            data="/srv/skerry",
            advertise_url="https://192.0.2.7:9443",
            site="north: 4",
            replicas=0,
        )

        rendered = self.rendered(
            chart,
            "port=9443",
            "mirrorPort=5001",
            "data=/srv/skerry",
            "advertiseUrl=https://192.0.2.7:9443",
            "site=north: 4",
            "replicas=0",
        )

        assert rendered == {each["kind"]: each for each in documents(ours)}

    def test_it_goes_through_our_mirror_into_a_cluster(self, chart: Path, tmp_path: Path) -> None:
        """Pushed, installed by its name in the mirror, and taken away again; a dry run changes nothing."""
        self.helm("package", str(chart), "--destination", str(tmp_path))
        with ServingMirror(tmp_path / "mirror") as mirror, running_cluster(definitions=None) as cluster:
            where = f"oci://{mirror.address}/charts"
            self.helm("push", str(tmp_path / "skerry-1.0.0.tgz"), where, "--plain-http", home=tmp_path)
            install = [
                *("install", "skerry", f"{where}/skerry", "--version", "1.0.0", "--plain-http"),
                *("--namespace", NAMESPACE, "--create-namespace", "--kubeconfig", str(cluster.kubeconfig)),
                *("--set", "site=north"),
            ]
            deployments = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"

            dry = self.helm(*install, "--dry-run=server", home=tmp_path)
            untouched = json.loads(cluster.request("GET", deployments))["items"]
            self.helm(*install, home=tmp_path)
            (installed,) = json.loads(cluster.request("GET", deployments))["items"]
            definitions = json.loads(cluster.request("GET", DEFINITIONS))["items"]

        assert "kind: Deployment" in dry
        assert untouched == []
        (container,) = installed["spec"]["template"]["spec"]["containers"]
        assert container["image"] == IMAGE
        assert container["command"][-2:] == ["--site", "north"]
        assert {each["metadata"]["name"] for each in definitions} == {
            f"{kind.plural}.{kind.group}" for kind in custom_kinds()
        }
