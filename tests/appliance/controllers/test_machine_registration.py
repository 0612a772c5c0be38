"""MachineRegistration: tokens, URLs and the conditions of upstream."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.controllers.machine_registration import MachineRegistrationController
from appliance.controllers.manager import Result
from appliance.controllers.queue import Key
from appliance.resources.core import EVENT
from appliance.resources.machine_registration import (
    MACHINE_REGISTRATION,
    MachineRegistration,
    MachineRegistrationStatus,
)
from appliance.resources.meta import Document, decode, find_condition
from appliance.store.base import Store, merge
from appliance.store.sqlite import SqliteStore
from tests.appliance.controllers.factories import NAMESPACE, Clock, registration, settings


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore.open(tmp_path / "skerry.db") as store:
        yield store


async def reconcile(store: Store, name: str = "plant", *, server_url: str = "https://box.lan/") -> Result:
    controller = MachineRegistrationController(store, settings(Clock(), server_url=server_url))
    return await controller.reconcile(Key(NAMESPACE, name))


async def status_of(store: Store, name: str = "plant") -> MachineRegistrationStatus:
    document = await store.get(MACHINE_REGISTRATION, name, namespace=NAMESPACE)
    return decode(MachineRegistration, document).status


def reason(status: MachineRegistrationStatus) -> tuple[str, str]:
    ready = find_condition(status.conditions, "Ready")
    assert ready is not None
    return ready.status, ready.reason


async def put(store: Store, name: str, **spec: object) -> Document:
    return await store.create(MACHINE_REGISTRATION, registration(name, **spec))


async def test_a_token_of_upstreams_alphabet_is_made_once(store: SqliteStore) -> None:
    await put(store, "plant")
    await reconcile(store)
    first = await status_of(store)
    await reconcile(store)

    assert re.fullmatch(r"[bcdfghjklmnpqrstvwxz2456789]{54}", first.registration_token)
    assert first.registration_url == f"https://box.lan/elemental/registration/{first.registration_token}"
    assert reason(first) == ("True", "SuccessfullyCreated")
    assert await status_of(store) == first


async def test_a_static_token_is_taken_and_followed_and_kept_when_it_is_removed(store: SqliteStore) -> None:
    tokens = []
    await put(store, "plant", token="first")
    for token in ("first", "second", None):
        await store.patch(
            MACHINE_REGISTRATION, "plant", merge({"spec": {"token": token}}), namespace=NAMESPACE
        )
        await reconcile(store)
        tokens.append((await status_of(store)).registration_token)

    assert tokens == ["first", "second", "second"]


async def test_the_url_follows_the_appliances_address(store: SqliteStore) -> None:
    await put(store, "plant", token="tok")
    await reconcile(store)
    await reconcile(store, server_url="https://10.0.0.7:8443")

    assert (await status_of(store)).registration_url == "https://10.0.0.7:8443/elemental/registration/tok"


async def test_a_token_in_use_elsewhere_is_refused_until_it_is_free(store: SqliteStore) -> None:
    await put(store, "plant", token="tok")
    await put(store, "copy", token="tok")
    await reconcile(store)
    again = await reconcile(store, "copy")
    refused = await status_of(store, "copy")
    await store.delete(MACHINE_REGISTRATION, "plant", namespace=NAMESPACE)
    await reconcile(store, "copy")

    assert again.again_in is not None
    assert reason(refused) == ("False", "DuplicateToken")
    assert (refused.registration_token, refused.registration_url) == ("", "")
    assert (await status_of(store, "copy")).registration_token == "tok"


async def test_of_two_that_want_one_token_at_once_one_gets_it(store: SqliteStore) -> None:
    await put(store, "one", token="tok")
    await put(store, "two", token="tok")
    controller = MachineRegistrationController(store, settings(Clock()))
    await asyncio.gather(*(controller.reconcile(Key(NAMESPACE, name)) for name in ("one", "two")))

    reasons = {reason(await status_of(store, name))[1] for name in ("one", "two")}
    assert reasons == {"DuplicateToken", "SuccessfullyCreated"}


async def test_an_appliance_without_an_address_says_so(store: SqliteStore) -> None:
    await put(store, "plant")
    await reconcile(store, server_url="")

    assert reason(await status_of(store)) == ("False", "MissingTokenOrServerURL")


async def test_what_happened_is_told_once(store: SqliteStore) -> None:
    await put(store, "plant")
    await reconcile(store)
    await reconcile(store)

    events = (await store.list(EVENT)).items
    assert [(event["reason"], event["type"], event["count"]) for event in events] == [
        ("SuccessfullyCreated", "Normal", 1)
    ]
    assert events[0]["involvedObject"]["name"] == "plant"


async def test_a_registration_that_is_gone_is_no_matter(store: SqliteStore) -> None:
    assert (await reconcile(store, "nobody")).again_in is None
