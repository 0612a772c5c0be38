"""The manager over the real store: events become reconciles, failures come back, one key at a time."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from appliance.controllers import build
from appliance.controllers.manager import DONE, Backoff, Manager, Result, Watch, identify, owner_keys
from appliance.controllers.queue import Key
from appliance.resources.core import CONFIG_MAP, SECRET
from appliance.resources.machine_registration import MACHINE_REGISTRATION, MachineRegistration
from appliance.resources.meta import Document, Kind, decode
from appliance.resources.rollout import ROLLOUT
from appliance.store.base import EVERYTHING, Event, Gone, Selection, Store, merge
from appliance.store.sqlite import SqliteStore
from tests.appliance.controllers.dying import DyingStore
from tests.appliance.controllers.factories import NAMESPACE, V2, Clock, registration, rollout, settings
from tests.appliance.controllers.plant import as_store, open_plant

FAST = Backoff(first=0.001, longest=0.01)


class Recording:
    """A controller of ConfigMaps that does what the test says."""

    def __init__(self, reconcile: Callable[[Key], Awaitable[Result]], watches: Sequence[Watch] = ()) -> None:
        self._reconcile = reconcile
        self.watches = watches

    @property
    def kind(self) -> Kind:
        return CONFIG_MAP

    async def reconcile(self, key: Key) -> Result:
        return await self._reconcile(key)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore.open(tmp_path / "skerry.db") as store:
        yield store


@asynccontextmanager
async def running(manager: Manager) -> AsyncIterator[None]:
    task = asyncio.create_task(manager.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_true():
            await asyncio.sleep(0.005)


async def put(store: Store, name: str) -> Document:
    return await store.create(CONFIG_MAP, {"metadata": {"name": name, "namespace": NAMESPACE}})


async def test_what_exists_and_what_comes_is_reconciled(store: SqliteStore) -> None:
    seen: list[str] = []

    async def reconcile(key: Key) -> Result:
        seen.append(key.name)
        return DONE

    await put(store, "before")
    async with running(Manager(store, [Recording(reconcile)])):
        await until(lambda: seen == ["before"])
        await put(store, "after")
        await until(lambda: seen == ["before", "after"])


async def test_a_failing_reconcile_comes_back_and_is_logged_with_its_name(
    store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    tries = 0

    async def reconcile(key: Key) -> Result:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise RuntimeError("no")
        return DONE

    await put(store, "one")
    async with running(Manager(store, [Recording(reconcile)], backoff=FAST)):
        await until(lambda: tries == 4)

    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "ConfigMap fleet-default/one: the reconcile failed"
    ] * 3


async def test_a_result_can_ask_to_come_back(store: SqliteStore) -> None:
    tries = 0

    async def reconcile(key: Key) -> Result:
        nonlocal tries
        tries += 1
        return Result(again_in=0.001) if tries < 3 else DONE

    await put(store, "one")
    async with running(Manager(store, [Recording(reconcile)])):
        await until(lambda: tries == 3)


async def test_one_key_is_never_in_two_reconciles_and_the_last_change_is_always_seen(
    store: SqliteStore,
) -> None:
    inside: set[Key] = set()
    seen: dict[str, str] = {}

    async def reconcile(key: Key) -> Result:
        assert key not in inside
        inside.add(key)
        document = await store.get(CONFIG_MAP, key.name, namespace=key.namespace)
        await asyncio.sleep(0.001)
        seen[key.name] = document["data"]["n"] if "data" in document else ""
        inside.discard(key)
        return DONE

    for name in ("one", "two"):
        await put(store, name)
    async with running(Manager(store, [Recording(reconcile)], workers=4)):
        for number in range(20):
            for name in ("one", "two"):
                body = merge({"data": {"n": str(number)}})
                await store.patch(CONFIG_MAP, name, body, namespace=NAMESPACE)
        await until(lambda: seen == {"one": "19", "two": "19"})


async def test_a_child_wakes_its_owner(store: SqliteStore) -> None:
    seen = 0

    async def reconcile(key: Key) -> Result:
        nonlocal seen
        seen += 1
        return DONE

    owner = await put(store, "owner")
    watch = Watch(SECRET, owner_keys(CONFIG_MAP), settle=0.001)
    async with running(Manager(store, [Recording(reconcile, [watch])])):
        await until(lambda: seen == 1)
        reference = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": "owner",
            "uid": owner["metadata"]["uid"],
        }
        await store.create(
            SECRET,
            {"metadata": {"name": "child", "namespace": NAMESPACE, "ownerReferences": [reference]}},
        )
        await until(lambda: seen == 2)


class ForgetfulStore:
    """The real store, but each watch is gone after its first event."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def watch(
        self, kind: Kind, selection: Selection = EVERYTHING, *, since: str = ""
    ) -> AsyncIterator[Event]:
        async for event in self._store.watch(kind, selection, since=since):
            yield event
            raise Gone("that version is no longer kept")


async def test_a_watch_that_fell_behind_starts_over_with_what_exists(store: SqliteStore) -> None:
    seen: list[str] = []

    async def reconcile(key: Key) -> Result:
        seen.append(key.name)
        return DONE

    await put(store, "one")
    manager = Manager(as_store(ForgetfulStore(store)), [Recording(reconcile)], backoff=FAST)
    async with running(manager):
        await until(lambda: seen.count("one") >= 3)


class LateStore(DyingStore):
    """The real store, which begins to serve Secrets when it is told to."""

    serves_secrets = False

    async def has_kind(self, kind: Kind) -> bool:
        return kind != SECRET or self.serves_secrets


async def test_a_kind_that_is_not_served_is_awaited_and_holds_up_nobody(
    store: SqliteStore,
) -> None:
    seen: list[str] = []

    async def reconcile(key: Key) -> Result:
        seen.append(key.name)
        return DONE

    await store.create(SECRET, {"metadata": {"name": "secret", "namespace": NAMESPACE}})
    await put(store, "one")
    late = LateStore(store)
    everything = Watch(SECRET, lambda document: [identify(document)])
    async with running(Manager(late, [Recording(reconcile, [everything])], unserved=0.005)):
        await until(lambda: seen == ["one"])
        late.serves_secrets = True
        await until(lambda: seen == ["one", "secret"])


class DeafStore(DyingStore):
    """The real store, whose watch of Secrets breaks off when it is told to, after something was deleted."""

    def __init__(self, store: SqliteStore) -> None:
        super().__init__(store)
        self.breaks = asyncio.Event()
        self.listens = asyncio.Event()

    async def watch(
        self, kind: Kind, selection: Selection = EVERYTHING, *, since: str = ""
    ) -> AsyncGenerator[Event, None]:
        async for event in super().watch(kind, selection, since=since):
            if kind == SECRET and event.type == "BOOKMARK":
                self.listens.set()
            if kind == SECRET and event.type == "DELETED" and not self.breaks.is_set():
                self.breaks.set()
                raise Gone("that version is no longer kept")
            yield event


async def test_an_owner_whose_child_was_deleted_while_the_watch_was_broken_is_looked_at(
    store: SqliteStore,
) -> None:
    seen = 0

    async def reconcile(key: Key) -> Result:
        nonlocal seen
        seen += 1
        return DONE

    owner = await put(store, "owner")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    child = {"name": "child", "namespace": NAMESPACE, "ownerReferences": [reference]}
    await store.create(SECRET, {"metadata": child})
    deaf = DeafStore(store)
    manager = Manager(deaf, [Recording(reconcile, [Watch(SECRET, owner_keys(CONFIG_MAP))])], backoff=FAST)
    async with running(manager):
        await until(lambda: seen > 0 and deaf.listens.is_set() and manager.is_idle)
        before = seen
        await store.delete(SECRET, "child", namespace=NAMESPACE)
        await until(lambda: seen > before)

    assert deaf.breaks.is_set()


@pytest.mark.parametrize(
    ("failures", "jitter", "delay"),
    [(1, 1.0, 0.05), (2, 1.0, 0.1), (2, 0.0, 0.05), (5, 1.0, 0.8), (12, 1.0, 60.0), (10_000, 1.0, 60.0)],
)
def test_back_off_doubles_to_its_cap_and_is_spread(failures: int, jitter: float, delay: float) -> None:
    assert Backoff(jitter=lambda: jitter).delay(failures) == pytest.approx(delay)


async def test_all_controllers_together_bring_a_rollout_to_its_end(tmp_path: Path) -> None:
    async with open_plant(tmp_path) as plant:
        manager = Manager(plant.store, build(plant.store, settings(Clock())), backoff=FAST)
        async with running(manager):
            await plant.store.create(MACHINE_REGISTRATION, registration(token="tok"))
            for name in ("host-0", "host-1"):
                await plant.add_host(name)
            await plant.store.create(ROLLOUT, rollout(waves=[{"size": "1"}]))
            for name in ("host-0", "host-1"):
                async with asyncio.timeout(20):
                    while name not in await plant.planned():
                        await asyncio.sleep(0.005)
                await plant.finish_upgrade(name, V2)
            async with asyncio.timeout(20):
                while (await plant.rollout()).phase != "Completed":
                    await asyncio.sleep(0.005)

        document = await plant.store.get(MACHINE_REGISTRATION, "plant", namespace=NAMESPACE)
        assert decode(MachineRegistration, document).status.registration_token == "tok"
