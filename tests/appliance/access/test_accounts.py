"""ServiceAccounts' tokens, and decisions over a store with Roles in it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.access.accounts import LONGEST, SHORTEST, USUAL, AccountTokens
from appliance.access.evaluator import Evaluator
from appliance.access.roles import HOSTS
from appliance.access.rules import AUTHENTICATED, Asked, Caller
from appliance.resources.rbac import ROLE, ROLE_BINDING
from appliance.resources.service_account import SERVICE_ACCOUNT
from appliance.store.base import Invalid, NotFound
from appliance.store.sqlite import SqliteStore

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROBOT = {"metadata": {"name": "robot", "namespace": "n"}}
READ = Asked("get", resource="secrets", namespace="n", name="s")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore.open(tmp_path / "store.db") as opened:
        yield opened


async def bind(store: SqliteStore, *, kind: str, name: str) -> None:
    rule = {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}
    await store.create(ROLE, {"metadata": {"name": "reader", "namespace": "n"}, "rules": [rule]})
    await store.create(
        ROLE_BINDING,
        {
            "metadata": {"name": "reader", "namespace": "n"},
            "roleRef": {"kind": "Role", "name": "reader", "apiGroup": "rbac.authorization.k8s.io"},
            "subjects": [{"kind": kind, "name": name}],
        },
    )


async def test_a_token_speaks_for_its_account_until_it_expires(store: SqliteStore) -> None:
    account = await store.create(SERVICE_ACCOUNT, ROBOT)
    tokens = AccountTokens(store, b"k" * 32)

    token, expires = await tokens.issue("n", "robot", now=NOW)

    caller = await tokens.identify(token.reveal(), now=NOW)
    groups = ("system:serviceaccounts", "system:serviceaccounts:n", AUTHENTICATED)
    assert caller == Caller("system:serviceaccount:n:robot", groups, account["metadata"]["uid"])
    assert expires == NOW + USUAL
    assert await tokens.identify(token.reveal(), now=expires) is None
    assert await AccountTokens(store, b"x" * 32).identify(token.reveal(), now=NOW) is None


async def test_deleting_the_account_revokes_its_tokens_and_a_namesake_gets_none(store: SqliteStore) -> None:
    tokens = AccountTokens(store, b"k" * 32)
    await store.create(SERVICE_ACCOUNT, ROBOT)
    token, _ = await tokens.issue("n", "robot", now=NOW)

    await store.delete(SERVICE_ACCOUNT, "robot", namespace="n")
    assert await tokens.identify(token.reveal(), now=NOW) is None
    await store.create(SERVICE_ACCOUNT, ROBOT)
    assert await tokens.identify(token.reveal(), now=NOW) is None


async def test_there_are_no_tokens_for_nobody_nor_for_ever(store: SqliteStore) -> None:
    tokens = AccountTokens(store, b"k" * 32)
    with pytest.raises(NotFound):
        await tokens.issue("n", "robot", now=NOW)

    await store.create(SERVICE_ACCOUNT, ROBOT)
    for lifetime in (SHORTEST - timedelta(seconds=1), LONGEST + timedelta(seconds=1)):
        with pytest.raises(Invalid, match="expirationSeconds"):
            await tokens.issue("n", "robot", lifetime=lifetime, now=NOW)


async def test_what_a_role_gives_counts_from_the_binding_on_and_ends_with_it(store: SqliteStore) -> None:
    evaluator = Evaluator(store)
    alice = Caller("alice", (AUTHENTICATED,))
    assert not await evaluator.is_allowed(alice, READ)

    await bind(store, kind="User", name="alice")
    assert await evaluator.is_allowed(alice, READ)
    assert not await evaluator.is_allowed(Caller("bob", (AUTHENTICATED,)), READ)
    assert not await evaluator.is_allowed(alice, Asked("get", resource="secrets"))
    assert READ.verb in [
        verb for grant in await evaluator.grants(alice, "n") for verb in grant.rules[0].verbs
    ]

    await store.delete(ROLE_BINDING, "reader", namespace="n")
    assert not await evaluator.is_allowed(alice, READ)


async def test_a_host_is_given_nothing_by_bindings(store: SqliteStore) -> None:
    await bind(store, kind="Group", name=HOSTS)

    host = Caller("skerry:host:n:m-1", (HOSTS, AUTHENTICATED))
    assert not await Evaluator(store).is_allowed(host, READ)
