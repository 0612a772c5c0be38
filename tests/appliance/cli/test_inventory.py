"""`skerry inventory …` against a running appliance."""

import json
import time
from pathlib import Path

import pytest

from tests.appliance.cli.typing_in import Terminal
from tests.appliance.fleet import add_machine, add_report
from tests.appliance.running import PATIENCE, Appliance


@pytest.fixture(scope="module")
def press(appliance: Appliance) -> str:
    """A machine that the inventory has taken in."""
    client = appliance.client()
    add_machine(client, "inv-press", labels={"hall": "inv7"})
    add_report(client, "inv-press", addresses=["10.77.0.5"])
    deadline = time.monotonic() + PATIENCE
    while not client.search_machines("10.77.0.5").items:
        assert time.monotonic() < deadline, "the inventory did not take the report in"
        time.sleep(0.05)
    return "inv-press"


def test_a_machine_is_listed_found_and_shown(skerry: Terminal, press: str) -> None:
    assert press in skerry("inventory", "list", "-l", "hall=inv7").out
    assert skerry("inventory", "search", "hall=inv7", "-o", "name").out == f"machine/{press}\n"
    shown = skerry("inventory", "show", "10.77.0.5")
    assert (shown.code, f"Name:        {press}" in shown.out, "10.77.0.5" in shown.out) == (0, True, True)
    wide = skerry("inventory", "list", "-o", "wide", "--state", "registered").out
    assert "hall=inv7" in wide
    document = json.loads(skerry("inventory", "show", press, "-o", "json").out)
    assert document["entry"]["addresses"] == ["10.77.0.5"]


def test_what_people_say_is_in_the_history_with_their_name(skerry: Terminal, press: str) -> None:
    skerry("inventory", "set-location", press, "--site", "North", "--line", "L2")
    moved = skerry("inventory", "set-location", press, "--line", "L3")
    tagged = skerry("inventory", "tag", press, "INV-A-1")
    noted = skerry("inventory", "note", "INV-A-1", "two", "words")

    assert (moved.out, tagged.out, noted.out) == (
        f"machine/{press} is at North/L3\n",
        f"machine/{press} has tag INV-A-1\n",
        f"machine/{press} noted\n",
    )
    events = json.loads(skerry("inventory", "history", press, "-o", "json").out)["items"]
    (tag,) = [event for event in events if event["what"] == "asset tag"]
    assert (tag["after"], "@" in tag["source"]) == ("INV-A-1", True)
    assert "two words" in skerry("inventory", "show", press).out
    assert "North/L2" in skerry("inventory", "history").out


def test_a_file_goes_out_and_comes_in(skerry: Terminal, press: str, tmp_path: Path) -> None:
    table = tmp_path / "fleet.csv"

    assert skerry("inventory", "export", str(table)).code == 0
    assert press in table.read_text()
    assert skerry("inventory", "import", str(table)).code == 0
    table.write_text(f"name,cell\n{press},c9\nnobody-inv,c1\n")
    refused = skerry("inventory", "import", str(table))
    assert (refused.code, "line 3" in refused.err, "cell" in refused.out) == (5, True, False)
    tried = skerry("inventory", "import", str(table), "--skip-bad", "--dry-run")
    assert (tried.code, "would be changed" in tried.out) == (7, True)
    assert skerry("inventory", "import", str(table), "--skip-bad").code == 7
    assert "/c9" in skerry("inventory", "show", press).out
    lines = skerry("inventory", "export", "--format", "json").out.splitlines()
    assert press in {json.loads(line)["entry"]["name"] for line in lines}


def test_machines_that_were_not_seen_are_stale(skerry: Terminal, press: str) -> None:
    assert press in skerry("inventory", "stale", "--older-than", "7d").out
    assert skerry("inventory", "stale", "--older-than", "soon").code == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["show", "nobody-at-all"], 1),
        (["search", "x" * 300], 1),
        (["list", "--state", "lost"], 2),
        (["export", "--format", "xml"], 2),
        (["set-location", "inv-press"], 2),
        (["merge", "inv-press", "inv-press"], 1),
        (["keep-apart", "99999"], 1),
        (["import", "/nonexistent.csv"], 1),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else str(value),
)
def test_what_makes_no_sense_is_refused(
    skerry: Terminal, press: str, arguments: list[str], code: int
) -> None:
    outcome = skerry("inventory", *arguments)

    assert (outcome.code, outcome.err.startswith("skerry: ")) == (code, True)


def test_no_conflicts_are_said_so(skerry: Terminal, press: str) -> None:
    assert skerry("inventory", "conflicts", "-o", "json").code == 0


def test_a_repair_works_on_the_box_alone(skerry: Terminal, appliance: Appliance, tmp_path: Path) -> None:
    assert "in use" in skerry("inventory", "repair", "--data", str(appliance.data)).err
    (tmp_path / "inventory.db").write_bytes(b"damaged" * 2000)
    assert skerry("inventory", "repair", "--data", str(tmp_path)).code == 0
