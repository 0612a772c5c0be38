"""The conversation with the appliance: the right routes, only the given CA, limits, clear refusals."""

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.client import MAX_ANSWER_BYTES, MAX_REPORT_BYTES, Appliance
from agent.errors import Denied, Unreachable
from agent.protocol.report import HistoryEntry, Report
from agent.protocol.secrets import SecretText
from tests.agent.appliances import RunningAppliance

REPORT = Report(agent_version="1", boot_id="b", mode="active")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningAppliance]:
    running = RunningAppliance(tls=tmp_path / "tls")
    yield running
    running.close()


def test_the_plan_is_read_and_answered_over_the_pinned_ca(running: RunningAppliance) -> None:
    running.content.set_plan({})
    appliance = Appliance(running.connection)

    plan = appliance.fetch_plan()
    appliance.patch_plan({"applied-checksum": base64.b64encode(b"abc").decode()})

    assert base64.b64decode(plan.data["plan"]) == b"{}"
    assert running.content.read("applied-checksum") == "abc"
    assert running.content.content_types == ["application/merge-patch+json"]


def test_a_report_goes_to_the_hosts_own_place(running: RunningAppliance) -> None:
    Appliance(running.connection).post_report(REPORT)

    assert running.content.reports[0]["bootId"] == "b"


def test_a_report_that_is_too_long_loses_its_oldest_history(running: RunningAppliance) -> None:
    entries = [
        HistoryEntry(time=str(number), action="upgrade", slot="a", digest="d", reason="x" * 60_000)
        for number in range(6)
    ]
    report = Report(agent_version="1", boot_id="b", mode="active", history=entries)

    Appliance(running.connection).post_report(report)

    history = running.content.reports[0]["history"]
    assert isinstance(history, list)
    assert [entry["time"] for entry in history] == ["2", "3", "4", "5"]
    assert MAX_REPORT_BYTES == 256 * 1024


def test_another_ca_is_not_believed(running: RunningAppliance, tmp_path: Path) -> None:
    other = RunningAppliance(tls=tmp_path / "other")
    try:
        impostor = replace(running.connection, ca_pem=other.connection.ca_pem)
        with pytest.raises(Unreachable, match="not trusted"):
            Appliance(impostor).fetch_plan()
    finally:
        other.close()


def test_the_systems_trust_store_is_no_substitute(running: RunningAppliance) -> None:
    with pytest.raises(Unreachable, match="not trusted"):
        Appliance(replace(running.connection, ca_pem="")).fetch_plan()


def test_a_damaged_ca_is_said(running: RunningAppliance) -> None:
    with pytest.raises(Unreachable, match="CA certificate"):
        Appliance(replace(running.connection, ca_pem="-----BEGIN CERTIFICATE-----\nx\n"))


@pytest.mark.parametrize("status", [301, 401, 403, 404, 500])
def test_an_error_is_told_with_its_status(running: RunningAppliance, status: int) -> None:
    running.content.statuses.append(status)

    with pytest.raises(Denied) as denied:
        Appliance(running.connection).fetch_plan()

    assert denied.value.status == status


def test_a_wrong_token_is_denied_and_not_shown(running: RunningAppliance) -> None:
    connection = replace(running.connection, token=SecretText("skh1.wrong"))

    with pytest.raises(Denied) as denied:
        Appliance(connection).fetch_plan()

    assert "skh1" not in str(denied.value)


def test_an_answer_over_the_limit_is_refused(running: RunningAppliance) -> None:
    running.content.padding = MAX_ANSWER_BYTES

    with pytest.raises(Unreachable, match="larger than"):
        Appliance(running.connection).fetch_plan()


def test_an_appliance_that_is_away_is_unreachable(running: RunningAppliance) -> None:
    with pytest.raises(Unreachable, match="cannot be reached"):
        Appliance(replace(running.connection, url="https://127.0.0.1:1")).fetch_plan()


def test_an_answer_that_is_no_secret_is_said() -> None:
    plain = RunningAppliance()
    plain.content.data = {"plan": 3}  # type: ignore[dict-item]
    try:
        with pytest.raises(Unreachable, match="cannot be read"):
            Appliance(plain.connection).fetch_plan()
    finally:
        plain.close()
