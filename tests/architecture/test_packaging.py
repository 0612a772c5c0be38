"""The shape that tools rely on: names nobody else takes, test folders that are packages, shut doors."""

import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("appliance", "tui", "bundles", "agent", "mirror")


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_installs_one_of_our_names(package: str) -> None:
    assert packages_distributions().get(package, ["skerry"]) == ["skerry"]


def test_every_test_folder_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}

    bare = [folder for folder in folders if not (folder / "__init__.py").exists()]

    assert bare == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_shadows_the_standard_library(package: str) -> None:
    names = {path.stem if path.is_file() else path.name for path in (ROOT / package).iterdir()}

    assert names & sys.stdlib_module_names <= {"__init__", "__main__"}


def test_the_agent_starts_without_the_appliances_weight() -> None:
    heavy = ["aiohttp", "kubernetes", "oras", "sqlite_utils", "textual", "typer", "pycdlib"]
    code = f"import agent.__main__, sys; print([name for name in {heavy} if name in sys.modules])"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "[]"


def test_nothing_committed_names_this_machine_or_an_index() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    forbidden = ["pypi" + ".org", "files.python" + "hosted", "proxy.golang" + ".org", "/" + "work/"]

    found = [
        f"{name}: {word}"
        for name in listed.stdout.split("\0")
        if name and (ROOT / name).is_file()
        for word in forbidden
        if word in (ROOT / name).read_text(errors="replace")
    ]

    assert found == []
