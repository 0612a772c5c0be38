"""`skerry-agent facts`: what would be sent, before anything is."""

import json
from pathlib import Path

import pytest

from agent.__main__ import main
from agent.facts import Facts
from agent.facts.sent import A_LIST, Sent, render_sent
from tests.agent.machines import make_machine, write

SENT = Sent(
    facts=Facts(
        smbios={"System Information": {"Serial Number": "SN-0001"}, "BIOS Information": {"Flags:": ["a"]}},
        system_data={"Network": {"NICs": {"eth0": {"PCIAddress": None, "Name": "eth0"}}}},
    ),
    annotations={"auth": "tpm"},
    labels={"site": "A"},
)


def test_each_value_stands_beside_its_variable() -> None:
    lines = [line.split(maxsplit=2) for line in render_sent(SENT).splitlines() if line.startswith("  ")]

    assert ["${System", "Information/Serial", "Number}  SN-0001"] in lines
    assert ["${Network/NICs/eth0/Name}", "eth0"] in lines
    assert ["auth", "tpm"] in lines
    assert ["site", "A"] in lines


def test_what_templates_cannot_use_is_no_variable() -> None:
    text = render_sent(SENT)

    (line,) = (line for line in text.splitlines() if A_LIST in line)
    assert line.startswith("  BIOS Information/Flags: ")
    assert "PCIAddress" not in text


def test_a_host_tells_what_it_would_send(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_machine(tmp_path)
    write(tmp_path, "/etc/elemental/labels.yaml", "site: A\nline: one\n")

    assert main(["--root", str(tmp_path), "facts", "--json", "--label", "line=two"]) == 0

    sent = json.loads(capsys.readouterr().out)
    assert sent["smbios"]["System Information"]["Serial Number"] == "SN-0001"
    assert sent["system-data"]["Storage"]["Disks"]["sda"]["DriveType"] == "SSD"
    assert sent["annotations"]["auth"] == "tpm"
    assert sent["labels"] == {"site": "A", "line": "two"}


def test_labels_come_from_the_document_the_file_and_the_flags_the_later_ones_win(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_machine(tmp_path)
    document = "elemental:\n  registration:\n    no-toolkit: true\n    labels: {a: 1, b: true, c: x, d: x}\n"
    write(tmp_path, "/oem/registration/config.yaml", document)
    write(tmp_path, "/etc/elemental/labels.yaml", "c: y\nd: y\n")

    assert main(["--root", str(tmp_path), "facts", "--json", "--label", "d=z"]) == 0

    sent = json.loads(capsys.readouterr().out)
    assert sent["labels"] == {"a": "1", "b": "true", "c": "y", "d": "z"}
    assert sent["annotations"]["os.unmanaged"] == "true"


def test_the_registration_decides_what_stays_at_home(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_machine(tmp_path)
    document = (
        "elemental:\n  registration:\n    url: http://127.0.0.1:1/x\n    no-smbios: true\n    auth: mac\n"
    )
    write(tmp_path, "/oem/registration/config.yaml", document)

    assert main(["--root", str(tmp_path), "facts"]) == 0

    text = capsys.readouterr().out
    assert "no-smbios" in text
    assert "System Information" not in text
    assert "registration-ip  127.0.0.1" in text
    assert "mac" in text


def test_an_emulated_tpm_is_named_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--emulate-tpm", "--registration-url", "http://127.0.0.1:1/elemental/registration/t"]

    assert main(["--root", str(tmp_path), "facts", "--json", *flags]) == 0

    annotations = json.loads(capsys.readouterr().out)["annotations"]
    assert annotations["auth"] == "emulated-tpm"
    assert annotations["registration-ip"] == "127.0.0.1"
