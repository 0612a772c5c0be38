"""`skerry registration render`: templates tried against facts, from a file or from the inventory."""

import json
from pathlib import Path

import pytest
import yaml

from tests.appliance.cli.typing_in import Terminal

FACTS = {
    "smbios": {"System Information": {"Serial Number": "SN 0001!", "Family": "unknown"}},
    "system-data": {"CPU": {"TotalThreads": "8"}, "Product": {"SerialNumber": "SN 0001!"}},
    "annotations": {"auth": "tpm"},
    "labels": {"line": "${CPU/TotalThreads}"},
}
REGISTRATION = {
    "apiVersion": "elemental.cattle.io/v1beta1",
    "kind": "MachineRegistration",
    "metadata": {"name": "plant", "namespace": "fleet-default"},
    "spec": {
        "machineName": "Node-${System Information/Serial Number}",
        "machineInventoryLabels": {"family": "${System Information/Family|none}"},
        "machineInventoryAnnotations": {"note": "${CPU/TotalThreads} threads!"},
    },
}


@pytest.fixture
def facts(tmp_path: Path) -> str:
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(FACTS))
    return str(path)


def put_registration(directory: Path, **spec: object) -> str:
    path = directory / "registration.yaml"
    path.write_text(yaml.safe_dump({**REGISTRATION, "spec": {**REGISTRATION["spec"], **spec}}))  # type: ignore[dict-item]
    return str(path)


def results(printed: str) -> dict[str, str]:
    return {item["place"]: item["result"] for item in json.loads(printed)["items"]}


def test_a_registration_that_is_not_applied_yet_is_rendered(
    lonely: Terminal, facts: str, tmp_path: Path
) -> None:
    file = put_registration(tmp_path)

    printed = lonely.bare("registration", "render", "-f", file, "--facts", facts, "-o", "json")

    assert printed.code == 0
    assert results(printed.out) == {
        "machineName": "node-sn-0001",
        "label elemental.cattle.io/line": "8",
        "label family": "none",
        "annotation note": "8 threads!",
    }


def test_what_is_missing_is_named_with_what_is_near_and_ends_with_the_code_of_a_part(
    lonely: Terminal, facts: str, tmp_path: Path
) -> None:
    file = put_registration(tmp_path, machineInventoryLabels={"serial": "${Product/Serial Number}"})

    printed = lonely.bare("registration", "render", "-f", file, "--facts", facts)

    assert printed.code == 7
    assert "label serial: the host sent no value for ${Product/Serial Number}" in printed.err
    assert "it did send ${Product/SerialNumber}" in printed.err


@pytest.mark.parametrize(
    ("template", "result"),
    [("${CPU/TotalThreads}", "8"), ("${A/B|a b}", "a-b"), ("plain", "plain")],
    ids=["variable", "choice", "text"],
)
def test_a_single_text_can_be_tried(lonely: Terminal, facts: str, template: str, result: str) -> None:
    printed = lonely.bare("registration", "render", "--template", template, "--facts", facts, "-o", "name")

    assert (printed.code, printed.out) == (0, f"{result}\n")


@pytest.mark.parametrize(
    "template", ["${Random/Hex/99}", "${A/B}", "open ${A/B"], ids=["random", "missing", "open"]
)
def test_a_text_that_does_not_come_out_fails(lonely: Terminal, facts: str, template: str) -> None:
    assert lonely.bare("registration", "render", "--template", template, "--facts", facts).code == 1


def test_a_random_value_says_that_it_is_one(lonely: Terminal, facts: str) -> None:
    printed = lonely.bare(
        "registration", "render", "--template", "${Random/Int/1}", "--facts", facts, "-o", "name"
    )

    assert printed.out == "0 (drawn anew for each machine)\n"


def test_a_name_of_which_nothing_is_left_is_a_problem(lonely: Terminal, facts: str, tmp_path: Path) -> None:
    file = put_registration(tmp_path, machineName="!!!")

    printed = lonely.bare("registration", "render", "-f", file, "--facts", facts)

    assert printed.code == 7
    assert "machineName: nothing of it can be used as a host name" in printed.err


def test_a_registration_of_the_appliance_is_rendered(skerry: Terminal, facts: str, tmp_path: Path) -> None:
    assert skerry("apply", "-f", put_registration(tmp_path)).code == 0

    printed = skerry("registration", "render", "plant", "--facts", facts, "-o", "json")

    assert printed.code == 0
    assert results(printed.out)["machineName"] == "node-sn-0001"


@pytest.mark.parametrize(
    "content",
    [
        "[1]",
        "{",
        "a: &a 1\nb: *a",
        "kind: MachineInventory",
        "kind: MachineRegistration\nspec: {machineName: 1}",
    ],
    ids=["a list", "cut short", "aliases", "another kind", "a number for a text"],
)
def test_a_file_that_is_no_registration_is_the_callers_mistake(
    lonely: Terminal, facts: str, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content)

    assert lonely.bare("registration", "render", "-f", str(path), "--facts", facts).code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("plant",),
        ("--facts", "f"),
        ("plant", "--facts", "f", "--host", "h"),
        ("--template", "x", "--facts", "/nowhere/facts.json"),
    ],
    ids=["no facts", "no template", "two sources of facts", "a file that is not there"],
)
def test_what_makes_no_sense_is_said(lonely: Terminal, arguments: tuple[str, ...]) -> None:
    printed = lonely.bare("registration", "render", *arguments)

    assert printed.code != 0
    assert printed.err.startswith("skerry: ")
