"""The desk where credentials are issued: without TLS, and when the audit's event cannot be written."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.access.users import Users
from appliance.api.contract import DEFAULT_NAMESPACE, IssueUser
from appliance.api.problems import BadRequest
from appliance.api.users import UserDesk
from appliance.resources.core import EVENT
from appliance.store.base import Limits
from appliance.store.sqlite import SqliteStore

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore.open(tmp_path / "store.db") as opened:
        yield opened


def desk(store: SqliteStore, folder: Path) -> UserDesk:
    return UserDesk(store, Users.load(folder / "users.json"), None, now=lambda: NOW)


async def test_without_tls_there_are_tokens_and_no_certificates(store: SqliteStore, tmp_path: Path) -> None:
    users = desk(store, tmp_path)

    issued = await users.issue(IssueUser(name="ana", role="viewer"), by="admin")
    with pytest.raises(BadRequest, match="no TLS"):
        await users.issue(IssueUser(name="ana", role="viewer", method="certificate"), by="admin")

    assert issued.token
    assert (issued.certificate, issued.key) == ("", "")
    assert [(user.name, user.state) for user in users.list().items] == [("ana", "valid")]


async def test_each_issue_and_revocation_leaves_an_event_that_names_who_did_it(
    store: SqliteStore, tmp_path: Path
) -> None:
    users = desk(store, tmp_path)
    issued = await users.issue(IssueUser(name="ana", role="operator"), by="boss")
    await users.revoke("ana", by="other-boss")

    events = (await store.list(EVENT)).items

    told = {event["reason"]: event["message"] for event in events}
    assert told["CredentialIssued"].startswith("boss issued a token with the role operator to ana")
    assert told["CredentialsRevoked"].startswith("other-boss revoked 1")
    assert {event["metadata"]["namespace"] for event in events} == {DEFAULT_NAMESPACE}
    assert issued.token not in str(events)


async def test_a_revocation_counts_even_when_its_event_cannot_be_written(tmp_path: Path) -> None:
    async with SqliteStore.open(tmp_path / "small.db", limits=Limits(max_document_bytes=10)) as full:
        users = desk(full, tmp_path)
        await users.issue(IssueUser(name="ana", role="viewer"), by="admin")

        revoked = await users.revoke("ana", by="admin")

    assert [user.state for user in revoked.items] == ["revoked"]
    assert Users.load(tmp_path / "users.json").records()[0].revoked == NOW
