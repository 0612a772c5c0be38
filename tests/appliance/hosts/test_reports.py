"""The report route: a host speaks of itself, with its own token, within limits; nobody else does."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from agent.protocol.report import Report, Transaction
from agent.register import Registered
from appliance.credentials import HostTokens
from appliance.hosts.reports import MAX_REPORT_BYTES
from appliance.resources.host_report import HOST_REPORT, HostReport
from appliance.resources.meta import decode
from appliance.store.base import NotFound
from tests.appliance.hosts.box import NAMESPACE, Box, open_box, software_tpm, until

REPORT = Report(
    agent_version="0.1.0", boot_id="b", mode="active", booted_slot="a", digest="sha256:" + "1" * 64
)
UPGRADE = Transaction(id="t", action="upgrade", digest="sha256:2", slot="b", phase="pulling", percent=10)


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    async with open_box(tmp_path, {"machineName": "node"}) as box:
        yield box


async def join(box: Box) -> str:
    """Register a host and return its token."""
    outcome = await box.register(software_tpm(1))
    assert isinstance(outcome, Registered)
    return outcome.config.elemental.system_agent.token.reveal()


async def post(box: Box, token: str, body: bytes, *, name: str = "node") -> tuple[int, str]:
    url = f"{box.url}/skerry/v1/namespaces/{NAMESPACE}/hosts/{name}/report"
    async with box.http.post(url, data=body, headers={"Authorization": f"Bearer {token}"}) as answer:
        return answer.status, await answer.text()


async def kept(box: Box) -> HostReport:
    return decode(HostReport, await box.store.get(HOST_REPORT, "node", namespace=NAMESPACE))


async def test_a_report_is_kept_under_the_hosts_own_name(box: Box) -> None:
    status, _ = await post(box, await join(box), msgspec.json.encode(REPORT))

    (machine,) = await box.machines()
    report = await kept(box)
    assert status == 204
    assert report.report == REPORT
    assert report.received_at.endswith("Z")
    assert [owner.uid for owner in report.metadata.owner_references] == [machine.metadata.uid]


async def test_a_newer_report_replaces_all_of_the_older(box: Box) -> None:
    token = await join(box)
    busy = msgspec.structs.replace(REPORT, transaction=UPGRADE, hostname="x")
    await post(box, token, msgspec.json.encode(busy))
    assert (await kept(box)).report == busy

    await post(box, token, msgspec.json.encode(REPORT))
    assert (await kept(box)).report == REPORT


async def test_the_report_goes_with_its_machine(box: Box) -> None:
    await post(box, await join(box), msgspec.json.encode(REPORT))
    await box.remove("node")

    with pytest.raises(NotFound):
        await kept(box)


@pytest.mark.parametrize("token", ["", "nonsense", "skh1.e30.x"])
async def test_a_stranger_is_asked_for_the_hosts_token(box: Box, token: str) -> None:
    await join(box)
    status, text = await post(box, token, msgspec.json.encode(REPORT))

    assert status == 401
    assert "own token" in text


async def test_a_host_cannot_speak_for_another(box: Box) -> None:
    status, text = await post(box, await join(box), msgspec.json.encode(REPORT), name="other")

    assert status == 403
    assert "cannot report for other" in text


async def test_a_token_of_a_deleted_machine_is_worth_nothing_even_under_its_old_name(box: Box) -> None:
    old = await join(box)
    await box.remove("node")

    async def is_refused() -> bool:
        return (await post(box, old, msgspec.json.encode(REPORT)))[0] == 403

    await until(is_refused)
    new = await join(box)
    assert (await post(box, old, msgspec.json.encode(REPORT)))[0] == 403
    assert (await post(box, new, msgspec.json.encode(REPORT)))[0] == 204


async def test_a_token_of_another_appliance_is_worth_nothing(box: Box) -> None:
    await join(box)
    (machine,) = await box.machines()
    forged = HostTokens(b"x" * 32).issue(namespace=NAMESPACE, name="node", uid=machine.metadata.uid)

    assert (await post(box, forged.reveal(), msgspec.json.encode(REPORT)))[0] == 401


async def test_a_machine_that_was_rejected_later_is_no_longer_heard(box: Box) -> None:
    token = await join(box)
    await box.decide("node", "rejected")

    async def is_refused() -> bool:
        return (await post(box, token, msgspec.json.encode(REPORT)))[0] == 403

    await until(is_refused)


async def test_a_body_over_the_limit_is_refused(box: Box) -> None:
    token = await join(box)
    body = msgspec.json.encode(msgspec.structs.replace(REPORT, hostname="x" * MAX_REPORT_BYTES))

    async def stream() -> AsyncIterator[bytes]:
        yield body

    status, text = await post(box, token, body)
    url = f"{box.url}/skerry/v1/namespaces/{NAMESPACE}/hosts/node/report"
    async with box.http.post(url, data=stream(), headers={"Authorization": f"Bearer {token}"}) as answer:
        assert answer.status == 413
    assert status == 413
    assert str(MAX_REPORT_BYTES) in text


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"agentVersion":1}', b"[" * 10_000, b'{"mode":"nowhere"}', b"\xff"]
)
async def test_a_report_that_makes_no_sense_is_refused_and_not_kept(box: Box, body: bytes) -> None:
    status, text = await post(box, await join(box), body)

    assert status == 400
    assert "cannot be read" in text
    with pytest.raises(NotFound):
        await kept(box)
