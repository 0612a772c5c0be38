"""What tables, ages and colours look like, byte for byte."""

import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.protocol.report import HistoryEntry, Slot
from appliance.api.contract import HostView
from appliance.cli.hosts import render_host
from appliance.cli.output import cell_width, look_up, render_age, render_table, uses_colour
from appliance.cli.resources import render_description
from appliance.cli.rollouts import render_status
from appliance.resources.rollout import Rollout, RolloutHost, RolloutStatus, RolloutWave

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def test_a_table_is_as_wide_as_its_content_and_nothing_is_cut() -> None:
    long = "registry.example/" + "x" * 200

    table = render_table(("NAME", "IMAGE", "AGE"), [["a", long, "1s"], ["bb", "", "2d"]])

    assert table == (
        f"NAME   IMAGE{' ' * (len(long) - 5)}   AGE\n"
        f"a      {long}   1s\n"
        f"bb     -{' ' * (len(long) - 1)}   2d\n"
    )


def test_wide_letters_and_accents_keep_the_columns_straight() -> None:
    table = render_table(("NAME", "X"), [["工場", "1"], ["e\u0301", "2"], ["abcd", "3"]])

    assert table.splitlines()[1:] == ["工場   1", "e\u0301      2", "abcd   3"]


def test_a_name_cannot_drive_the_terminal() -> None:
    table = render_table(("NAME",), [["\x1b[2Jevil\u202e\n"]])

    assert table == "NAME\n?[2Jevil??\n"


# A cell of blanks stays blank (a heading's place may be empty on purpose); only an empty one gets its dash.
CELLS = st.text(max_size=12).filter(lambda text: not text or bool(text.strip()))


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=6))
def test_every_table_has_a_line_a_row_and_straight_columns(rows: list[list[str]]) -> None:
    table = render_table(("A", "B"), rows)

    lines = table.split("\n")[:-1]
    assert len(lines) == len(rows) + 1
    width = lines[0].index("B")
    assert all(cell_width(line.rstrip()) >= width + 1 or not line.strip() for line in lines)


def test_alarming_words_are_coloured_only_when_asked() -> None:
    plain = render_table(("PHASE",), [["Rolled back"], ["Ready"]])
    coloured = render_table(("PHASE",), [["Rolled back"], ["Ready"]], colour=True)

    assert "\x1b" not in plain
    assert coloured == "PHASE\n\x1b[31mRolled back\x1b[0m\nReady\n"


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "on_screen", "expected"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm"}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({}, True, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, True),
        ({"TERM": "dumb", "NO_COLOR": "1", "FORCE_COLOR": "1"}, False, True),
    ],
)
def test_colour_follows_the_conventions(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], on_screen: bool, expected: bool
) -> None:
    for name in ("TERM", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert uses_colour(Screen() if on_screen else io.StringIO()) is expected


@pytest.mark.parametrize(
    ("timestamp", "age"),
    [
        ("2026-01-01T12:00:00Z", "0s"),
        ("2026-01-01T11:58:01Z", "119s"),
        ("2026-01-01T11:58:00Z", "2m"),
        ("2026-01-01T10:00:01Z", "119m"),
        ("2026-01-01T10:00:00Z", "2h"),
        ("2025-12-30T12:00:01Z", "47h"),
        ("2025-12-30T12:00:00Z", "2d"),
        ("2026-01-01T12:05:00Z", "0s"),
        ("", ""),
        (None, ""),
        ("yesterday", "yesterday"),
    ],
)
def test_ages_are_short(timestamp: str | None, age: str) -> None:
    assert render_age(timestamp, NOW) == age


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "x"),
        ("status.conditions[Ready].status", "True"),
        ("status.conditions[Gone].status", ""),
        ("status.nothing.here", ""),
        ("metadata.name.deeper", ""),
    ],
)
def test_printer_columns_follow_their_paths(path: str, value: str) -> None:
    document = {"metadata": {"name": "x"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}

    assert look_up(document, path) == value


def test_a_host_is_shown_with_its_slots_and_history() -> None:
    view = HostView(
        name="m-1",
        namespace="fleet-default",
        phase="Rolled back",
        reason="the check failed",
        tpm_hash="abc",
        labels={"line": "7"},
        slot="a",
        version="v1",
        digest="sha256:11",
        mode="active",
        addresses=["10.0.0.7"],
        slots=[
            Slot(name="a", state="good", version="v1", digest="sha256:11"),
            Slot(name="b", state="bad", version="v2", digest="sha256:22", reason="check"),
        ],
        history=[
            HistoryEntry(
                time="2026-01-01T00:00:00Z",
                action="upgrade",
                slot="b",
                digest="sha256:22",
                version="v2",
                outcome="rolled-back",
                reason="check",
            ),
        ],
    )

    assert render_host(view) == (
        "Name:        m-1\n"
        "Namespace:   fleet-default\n"
        "Phase:       Rolled back: the check failed\n"
        "Approval:    approved\n"
        "Running:     v1  slot a  active\n"
        "Image:       sha256:11\n"
        "Seen:        never\n"
        "Address:     10.0.0.7\n"
        "TPM:         abc\n"
        "Labels:      line=7\n"
        "Slots:\n"
        "  SLOT   STATE   VERSION   DIGEST      NOW       REASON\n"
        "  a      good    v1        sha256:11   running   -\n"
        "  b      bad     v2        sha256:22   -         check\n"
        "History:\n"
        "  TIME                   ACTION    SLOT   VERSION   OUTCOME       REASON\n"
        "  2026-01-01T00:00:00Z   upgrade   b      v2        rolled-back   check\n"
    )


def test_a_rollout_is_shown_by_waves_and_by_what_went_wrong() -> None:
    status = RolloutStatus(
        phase="Paused",
        reason="m-2 rolled back",
        image="box/os@sha256:22",
        current_wave=1,
        total=3,
        updated=1,
        failed=1,
        waves=[RolloutWave(hosts=1, updated=1), RolloutWave(hosts=2, failed=1)],
        hosts=[
            RolloutHost(name="m-1", wave=0, phase="Updated"),
            RolloutHost(name="m-2", wave=1, phase="RolledBack", reason="check failed"),
            RolloutHost(name="m-3", wave=1, phase="Waiting"),
        ],
    )

    assert render_status(Rollout(status=status)) == (
        "Rollout:  \n"
        "Phase:    Paused: m-2 rolled back\n"
        "Image:    box/os@sha256:22\n"
        "Hosts:    1 of 3 updated, 1 failed\n"
        "WAVE   UPDATED\n"
        "1      1/1\n"
        "2      0/2       <- now\n"
        "HOST   WAVE   PHASE        REASON\n"
        "m-2    2      RolledBack   check failed\n"
    )


def test_describing_a_secret_does_not_show_it() -> None:
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "n", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "data": {"token": "aHVudGVyMg=="},
    }

    text = render_description(document, [])

    assert "aHVudGVyMg" not in text
    assert "12 characters, not shown" in text
