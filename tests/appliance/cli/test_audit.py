"""`skerry audit list, verify, export` on a folder, whether or not an appliance runs there."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.audit.chain import Decision
from appliance.audit.log import Audit, list_files
from tests.appliance.cli.typing_in import Terminal


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    audit = Audit(folder, clock=lambda: datetime(2026, 11, 21, 3, tzinfo=UTC))
    audit.write(
        [Decision("approve_host", "host/a", "ann", "it is ours"), Decision("reject_host", "host/b", "bob")]
    )
    audit.close()
    return folder


def test_decisions_are_listed_with_who_and_why(lonely: Terminal, data: Path) -> None:
    printed = lonely.bare("audit", "list", "--data", str(data))

    assert printed.out.splitlines()[1].split() == [
        *("1", "2026-11-21T03:00:00Z", "ann", "approve_host", "host/a", "it", "is", "ours")
    ]


def test_decisions_are_chosen_by_object_and_time(lonely: Terminal, data: Path) -> None:
    chosen = lonely.bare("audit", "list", "--data", str(data), "--object", "/b", "-o", "json")
    later = lonely.bare("audit", "list", "--data", str(data), "--since", "2026-11-22", "-o", "name")

    assert [item["who"] for item in json.loads(chosen.out)["items"]] == ["bob"]
    assert (later.code, later.out) == (0, "")


def test_a_sound_log_is_said_to_be(lonely: Terminal, data: Path) -> None:
    printed = lonely.bare("audit", "verify", "--data", str(data))

    assert (printed.code, printed.out) == (0, "2 lines, 0 findings\n")


def test_a_changed_line_is_named_and_ends_with_the_code_of_damage(lonely: Terminal, data: Path) -> None:
    (path,) = list_files(data / "audit")
    path.write_bytes(path.read_bytes().replace(b"host/a", b"host/x"))

    printed = lonely.bare("audit", "verify", "--data", str(data))

    assert printed.code == 6
    assert "line 1: the line is not as it was written" in printed.out


def test_what_is_exported_is_what_stands_in_the_log(lonely: Terminal, data: Path, tmp_path: Path) -> None:
    target = tmp_path / "export.jsonl"

    assert lonely.bare("audit", "export", str(target), "--data", str(data)).code == 0
    assert target.read_bytes() == list_files(data / "audit")[0].read_bytes()
    assert lonely.bare("audit", "export", "-", "--data", str(data)).out == target.read_text()
    assert lonely.bare("audit", "export", str(target), "--data", str(data)).code != 0


@pytest.mark.parametrize(
    "arguments", [("--since", "yesterday"), ("--data", "/nowhere")], ids=["no time", "no folder"]
)
def test_what_cannot_be_understood_is_a_mistake_of_the_caller(
    lonely: Terminal, data: Path, arguments: tuple[str, str]
) -> None:
    assert lonely.bare("audit", "list", "--data", str(data), *arguments).code == 2
