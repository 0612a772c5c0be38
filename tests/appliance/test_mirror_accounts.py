"""Who may push into the appliance's mirror: over its real listener, with tokens that come and go."""

import asyncio
import base64
import contextlib
import http.client
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from agent.protocol.secrets import SecretText
from appliance.access.users import UserRecord, Users
from appliance.credentials import AdminToken, HostTokens
from appliance.mirror_accounts import RULES, MirrorAccounts, render_people
from appliance.resources.machine_inventory import APPROVAL, FIRST_UID, MACHINE_INVENTORY
from appliance.resources.meta import Document
from appliance.store.base import merge
from appliance.store.sqlite import SqliteStore
from bundles.images.small import build_small_image
from mirror.access import User, parse_rules
from mirror.tokens import digest_token, parse_tokens
from tests.appliance.fleet import add_machine, delete_and_wait, host_token
from tests.appliance.running import Appliance
from tests.mirror.running import wait_until

ADMIN = AdminToken(SecretText("ska1.test"))
TOKENS = HostTokens(b"k" * 32)


def push(appliance: Appliance, repository: str, authorization: str = "") -> int:
    """Begin an upload, which is where a push is let in or refused."""
    host, _, port = appliance.mirror.rpartition(":")
    context = ssl.create_default_context(cafile=appliance.ca_file)
    connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=30)
    headers = {"Authorization": authorization} if authorization else {}
    try:
        connection.request("POST", f"/v2/{repository}/blobs/uploads/", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


def test_nobody_pushes_without_credentials_and_the_administrator_everywhere(appliance: Appliance) -> None:
    assert push(appliance, "skerry/os") == 401
    assert push(appliance, "skerry/os", basic("wrong")) == 401
    assert push(appliance, "skerry/os", basic(appliance.token)) == 202
    assert push(appliance, "hosts/fleet-default/any/logs", f"Bearer {appliance.token}") == 202


def test_a_host_pushes_below_its_own_name_for_as_long_as_it_is_known(appliance: Appliance) -> None:
    client = appliance.client()
    token = f"Bearer {host_token(appliance, add_machine(client, 'pusher'))}"
    own = "hosts/fleet-default/pusher/logs"

    wait_until(lambda: push(appliance, own, token) == 202)
    assert push(appliance, "skerry/os", token) == 403
    assert push(appliance, "hosts/fleet-default/neighbour/logs", token) == 403

    delete_and_wait(client, MACHINE_INVENTORY, "pusher")
    wait_until(lambda: push(appliance, own, token) == 401)


def test_a_namesake_of_a_deleted_host_gets_a_token_of_its_own(appliance: Appliance) -> None:
    client = appliance.client()
    own = "hosts/fleet-default/namesake/logs"
    before = f"Bearer {host_token(appliance, add_machine(client, 'namesake'))}"
    wait_until(lambda: push(appliance, own, before) == 202)
    delete_and_wait(client, MACHINE_INVENTORY, "namesake")

    after = f"Bearer {host_token(appliance, add_machine(client, 'namesake'))}"

    wait_until(lambda: push(appliance, own, after) == 202)
    assert push(appliance, own, before) == 401


@pytest.mark.interop
def test_skopeo_pushes_with_a_token_as_its_password(appliance: Appliance, tmp_path: Path) -> None:
    build_small_image(tmp_path / "layout", name="app", version="v1")
    (tmp_path / "certs").mkdir()
    shutil.copy(appliance.ca_file, tmp_path / "certs/ca.crt")
    host = host_token(appliance, add_machine(appliance.client(), "skopeos"))
    wait_until(lambda: push(appliance, "hosts/fleet-default/skopeos/app", f"Bearer {host}") == 202)

    def copy(credentials: str, repository: str) -> subprocess.CompletedProcess[str]:
        target = f"docker://{appliance.mirror}/{repository}:v1"
        command = ["skopeo", "copy", "--quiet", "--dest-cert-dir", str(tmp_path / "certs")]
        return subprocess.run(
            [*command, *credentials.split(), f"oci:{tmp_path}/layout", target],
            capture_output=True,
            text=True,
            timeout=60,
        )

    assert copy(f"--dest-creds admin:{appliance.token}", "skopeos/app").returncode == 0
    assert copy(f"--dest-creds m:{host}", "hosts/fleet-default/skopeos/app").returncode == 0
    assert "denied" in copy(f"--dest-creds m:{host}", "skopeos/app").stderr
    assert "unauthorized" in copy("", "skopeos/app").stderr


def test_the_rules_are_rules() -> None:
    policy = parse_rules(RULES, name="rules")
    host = User("hosts/fleet-default/m-1", frozenset({"hosts"}))

    assert policy.may(User(), "pull", "skerry/os")
    assert policy.may(host, "delete", "hosts/fleet-default/m-1/logs")
    assert not policy.may(host, "delete", "skerry/os")
    for group in ("users", "operators", "admins"):
        assert policy.may(User("alice", frozenset({group})), "push", "skerry/os")


# the files alone


def machine(name: str, *, approval: str = "approved") -> Document:
    return {
        "apiVersion": MACHINE_INVENTORY.api_version,
        "kind": MACHINE_INVENTORY.kind,
        "metadata": {"name": name, "namespace": "default", "annotations": {APPROVAL: approval}},
        "spec": {},
    }


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore.open(tmp_path / "skerry.db") as opened:
        yield opened


@contextlib.asynccontextmanager
async def kept(
    tmp_path: Path, store: SqliteStore, *, people: Callable[[], Sequence[UserRecord]] = tuple
) -> AsyncIterator[MirrorAccounts]:
    accounts = MirrorAccounts(tmp_path, TOKENS, ADMIN, people=people)
    accounts.prepare()
    running = asyncio.create_task(accounts.run(store))
    yield accounts
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def users_of(accounts: MirrorAccounts) -> dict[str, User]:
    return parse_tokens(accounts.tokens_file.read_bytes(), name="tokens")


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.01)


def names_of(accounts: MirrorAccounts) -> set[str]:
    return {user.name for user in users_of(accounts).values()}


async def test_only_approved_hosts_have_a_line(tmp_path: Path, store: SqliteStore) -> None:
    for name, approval in (("a", "approved"), ("b", "pending"), ("c", "rejected")):
        await store.create(MACHINE_INVENTORY, machine(name, approval=approval))
    async with kept(tmp_path, store) as accounts:
        await until(lambda: names_of(accounts) == {"admin", "hosts/default/a"})

        approve = merge({"metadata": {"annotations": {APPROVAL: "approved"}}})
        await store.patch(MACHINE_INVENTORY, "b", approve, namespace="default")
        await until(lambda: names_of(accounts) == {"admin", "hosts/default/a", "hosts/default/b"})

        reject = merge({"metadata": {"annotations": {APPROVAL: "rejected"}}})
        await store.patch(MACHINE_INVENTORY, "a", reject, namespace="default")
        await until(lambda: names_of(accounts) == {"admin", "hosts/default/b"})


async def test_the_file_holds_digests_of_the_tokens_that_hosts_have(
    tmp_path: Path, store: SqliteStore
) -> None:
    made = await store.create(MACHINE_INVENTORY, machine("a"))
    token = TOKENS.issue(namespace="default", name="a", uid=made["metadata"]["uid"]).reveal()
    async with kept(tmp_path, store) as accounts:
        await until(lambda: len(users_of(accounts)) == 2)

        assert users_of(accounts)[digest_token(token)] == User("hosts/default/a", frozenset({"hosts"}))
        assert users_of(accounts)[digest_token("ska1.test")] == User("admin", frozenset({"admins"}))
        assert token not in accounts.tokens_file.read_text()
        assert accounts.tokens_file.stat().st_mode & 0o777 == 0o600


async def test_a_host_whose_record_moved_here_keeps_the_token_it_has(
    tmp_path: Path, store: SqliteStore
) -> None:
    moved = machine("a")
    moved["metadata"]["annotations"][FIRST_UID] = "uid-of-the-old-store"
    await store.create(MACHINE_INVENTORY, moved)
    token = TOKENS.issue(namespace="default", name="a", uid="uid-of-the-old-store").reveal()
    async with kept(tmp_path, store) as accounts:
        await until(lambda: len(users_of(accounts)) == 2)

        assert digest_token(token) in users_of(accounts)


async def test_people_push_by_their_role_until_their_token_is_taken_back(
    tmp_path: Path, store: SqliteStore
) -> None:
    users = Users(tmp_path / "users.json", ())
    now = datetime.now(UTC)
    given: dict[str, str] = {}
    for name, role in (("ada", "admin"), ("otto", "operator"), ("vera", "viewer")):
        token, _ = users.issue_token(name, role, lifetime=timedelta(hours=1), by="test", now=now)
        given[name] = token.reveal()

    async with kept(tmp_path, store, people=users.records) as accounts:
        await until(lambda: names_of(accounts) == {"admin", "people/ada", "people/otto"})
        assert users_of(accounts)[digest_token(given["otto"])].groups == {"operators"}

        users.revoke("otto", now=now)
        await until(lambda: names_of(accounts) == {"admin", "people/ada"})


def test_a_token_that_is_over_has_no_line() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    record = UserRecord(
        name="ada", role="admin", method="token", id="0" * 64, issued=now, expires=now + timedelta(hours=1)
    )

    assert render_people([record], now=now) == [f"{'0' * 64} people/ada admins"]
    assert render_people([record], now=now + timedelta(hours=1)) == []
    certificate = msgspec.structs.replace(record, method="certificate")
    assert render_people([certificate], now=now) == []


async def test_hosts_of_the_last_run_stay_until_the_store_was_read(
    tmp_path: Path, store: SqliteStore
) -> None:
    await store.create(MACHINE_INVENTORY, machine("a"))
    async with kept(tmp_path, store) as accounts:
        await until(lambda: len(users_of(accounts)) == 2)

    again = MirrorAccounts(tmp_path, TOKENS, ADMIN)
    again.prepare()

    assert names_of(again) == {"admin", "hosts/default/a"}


async def test_a_file_that_cannot_be_written_is_tried_again(
    tmp_path: Path, store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "pki"
    folder.mkdir()
    async with kept(folder, store) as accounts:
        await until(lambda: len(users_of(accounts)) == 1)
        away = folder.rename(tmp_path / "away")
        await store.create(MACHINE_INVENTORY, machine("a"))
        await until(lambda: "cannot be written" in caplog.text)

        away.rename(folder)

        await until(lambda: len(users_of(accounts)) == 2)
