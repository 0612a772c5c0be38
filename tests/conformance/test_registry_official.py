"""The OCI distribution-spec's own conformance suite against the mirror: every category, with TLS and without.

It is pinned by `distribution/go.mod`: the newest version that a Go module proxy gave to this project, of
November 2023, between v1.1.0-rc3 and v1.1.0. It has the referrers' tests. The data sets of the suite that
followed it are in `test_registry.py`.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.go_builds import build_program, has_go
from tests.mirror.boxes import FLOOR, open_box, open_closed_box

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not has_go(), reason="building the suite needs Go"),
]

SOURCES = Path(__file__).parent / "distribution"
PACKAGE = "github.com/opencontainers/distribution-spec/conformance"
CATEGORIES = {
    "OCI_TEST_PULL": "1",
    "OCI_TEST_PUSH": "1",
    "OCI_TEST_CONTENT_DISCOVERY": "1",
    "OCI_TEST_CONTENT_MANAGEMENT": "1",
    "OCI_CROSSMOUNT_NAMESPACE": "conformance/two",
    "OCI_AUTOMATIC_CROSSMOUNT": "1",
}
CASES = 79
OTHER_WAYS = {  # each stands for a registry that does something else, or for a run without a push
    "Get tag name from environment",
    "Cross-mounting of nonexistent blob should yield session id",
    "Cross-mounting without from, and automatic content discovery disabled should return a 202",
    "Populate registry with test tags (no push)",
}


class Case(msgspec.Struct, rename={"name": "LeafNodeText", "kind": "LeafNodeType", "state": "State"}):
    name: str
    kind: str
    state: str


class Report(msgspec.Struct, rename={"cases": "SpecReports"}):
    cases: list[Case]


@contextmanager
def serving(folder: Path, who: str) -> Iterator[dict[str, str]]:
    """Where the suite finds a mirror, and how it shows who it is."""
    if who == "anybody":
        with open_box(folder, is_tls=False) as box:
            yield {"OCI_ROOT_URL": f"http://{box.address}"}
        return
    with open_closed_box(folder) as box:
        yield {
            "OCI_ROOT_URL": f"https://{box.address}",
            "OCI_USERNAME": FLOOR.username,
            "OCI_PASSWORD": FLOOR.password,
        }


@pytest.mark.parametrize("who", ["anybody", "a user over TLS"])
def test_the_suite_passes_whole(tmp_path: Path, who: str) -> None:
    suite = build_program("distribution-suite", SOURCES, package=PACKAGE, is_test=True)
    report = tmp_path / "report.json"

    with serving(tmp_path, who) as access:
        done = subprocess.run(
            [suite, f"-ginkgo.json-report={report}", "-ginkgo.no-color"],
            cwd=tmp_path,
            env={**CATEGORIES, **access, "OCI_NAMESPACE": "conformance/one", "OCI_REPORT_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    (found,) = msgspec.json.decode(report.read_bytes(), type=list[Report])
    cases = [case for case in found.cases if case.kind == "It"]
    assert done.returncode == 0, done.stdout
    assert {case.name for case in cases if case.state != "passed"} == OTHER_WAYS
    assert len(cases) == CASES
