"""Objects moved into another store: complete, in order, repeatable, and never over another's."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.moving.errors import MoveIncomplete, TargetInUse
from appliance.moving.objects import difference, in_order
from appliance.moving.stores import Moved, move, ours, read_all
from appliance.resources.core import SECRET
from appliance.resources.kinds import KINDS
from appliance.resources.machine_inventory import FIRST_UID, MACHINE_INVENTORY, MachineInventory
from appliance.resources.meta import Document, Kind, decode
from appliance.store.base import Unavailable, merge
from appliance.store.sqlite import SqliteStore

NAMESPACE = "fleet-default"


def nothing_told(done: int, total: int) -> None:
    """Nobody asks."""


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore.open(tmp_path / "source.db") as store:
        for number in range(3):
            await add_host(store, f"press-{number}")
        yield store


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore.open(tmp_path / "target.db") as store:
        yield store


async def add_host(store: SqliteStore, name: str) -> None:
    metadata: Document = {"name": name, "namespace": NAMESPACE, "finalizers": ["x.example/held"]}
    host = await store.create(MACHINE_INVENTORY, {"metadata": metadata, "spec": {"tpmHash": name}})
    status = {"status": {"plan": {"checksum": "c", "secretRef": {"name": name, "namespace": NAMESPACE}}}}
    await store.patch(MACHINE_INVENTORY, name, merge(status), namespace=NAMESPACE, subresource="status")
    owner = {
        "apiVersion": MACHINE_INVENTORY.api_version,
        "kind": "MachineInventory",
        "name": name,
        "uid": host["metadata"]["uid"],
    }
    secret: Document = {"name": name, "namespace": NAMESPACE, "ownerReferences": [owner]}
    await store.create(SECRET, {"metadata": secret, "data": {"plan": "e30="}})


class CutOff:
    """A store that stops answering after so many writes, as if the link to it were pulled."""

    def __init__(self, store: SqliteStore, writes: int) -> None:
        self._store = store
        self.writes_left = writes

    def __getattr__(self, name: str) -> object:
        if name in ("create", "update", "patch", "delete"):
            if self.writes_left == 0:
                raise Unavailable("the cluster does not answer")
            self.writes_left -= 1
        return getattr(self._store, name)


async def test_everything_arrives_with_its_status_and_its_owner(
    source: SqliteStore, target: SqliteStore
) -> None:
    documents = await read_all(source)

    moved = await move(documents, target, told=nothing_told)

    assert moved == Moved(objects=7, brought=7)
    host = await target.get(MACHINE_INVENTORY, "press-1", namespace=NAMESPACE)
    secret = await target.get(SECRET, "press-1", namespace=NAMESPACE)
    assert host["status"]["plan"]["checksum"] == "c"
    assert host["metadata"]["finalizers"] == ["x.example/held"]
    (owner,) = secret["metadata"]["ownerReferences"]
    assert owner["uid"] == host["metadata"]["uid"]


async def test_a_hosts_token_still_names_its_record(source: SqliteStore, target: SqliteStore) -> None:
    before = await source.get(MACHINE_INVENTORY, "press-1", namespace=NAMESPACE)

    await move(await read_all(source), target, told=nothing_told)
    again = await read_all(target)

    after = await target.get(MACHINE_INVENTORY, "press-1", namespace=NAMESPACE)
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert decode(MachineInventory, after).token_uid == before["metadata"]["uid"]
    assert all(
        each["metadata"]["annotations"][FIRST_UID] for each in again if each["kind"] == "MachineInventory"
    )


async def test_a_move_cut_off_at_any_write_is_finished_by_the_next(
    source: SqliteStore, tmp_path: Path
) -> None:
    documents = await read_all(source)
    for writes in range(10):  # seven objects, and three of them have a status
        async with SqliteStore.open(tmp_path / f"target-{writes}.db") as target:
            with pytest.raises(Unavailable):
                await move(documents, CutOff(target, writes), told=nothing_told)  # type: ignore[arg-type]

            moved = await move(documents, target, told=nothing_told)

            assert moved.objects == 7
            assert len(await read_all(target)) == 7
            secret = await target.get(SECRET, "press-2", namespace=NAMESPACE)
            assert secret["data"] == {"plan": "e30="}


async def test_what_was_being_deleted_goes_on_being_deleted(source: SqliteStore, target: SqliteStore) -> None:
    await source.delete(MACHINE_INVENTORY, "press-0", namespace=NAMESPACE)

    await move(await read_all(source), target, told=nothing_told)

    host = await target.get(MACHINE_INVENTORY, "press-0", namespace=NAMESPACE)
    assert host["metadata"]["deletionTimestamp"]
    assert host["metadata"]["finalizers"] == ["x.example/held"]


async def test_an_object_of_the_targets_own_is_not_overwritten(
    source: SqliteStore, target: SqliteStore
) -> None:
    await target.create(
        SECRET, {"metadata": {"name": "press-1", "namespace": NAMESPACE}, "data": {"a": "YQ=="}}
    )

    with pytest.raises(TargetInUse, match="press-1"):
        await move(await read_all(source), target, told=nothing_told)

    kept = await target.get(SECRET, "press-1", namespace=NAMESPACE)
    assert kept["data"] == {"a": "YQ=="}


async def test_a_target_that_cannot_keep_a_kind_is_written_nothing(
    source: SqliteStore, tmp_path: Path
) -> None:
    kinds: list[Kind] = [kind for kind in KINDS if kind is not MACHINE_INVENTORY]
    async with SqliteStore.open(tmp_path / "small.db", kinds=kinds) as small:
        with pytest.raises(MoveIncomplete, match="MachineInventory"):
            await move(await read_all(source), small, told=nothing_told)

        assert await read_all(small, kinds=kinds) == []


async def test_progress_is_told_to_its_end(source: SqliteStore, target: SqliteStore) -> None:
    seen: list[tuple[int, int]] = []

    await move(await read_all(source), target, told=lambda done, total: seen.append((done, total)))

    assert seen == [(number, 14) for number in range(1, 15)]


def test_owners_go_before_what_they_own_however_they_were_listed() -> None:
    def document(uid: str, *owners: str) -> Document:
        references = [{"uid": owner} for owner in owners]
        return {"kind": "Secret", "metadata": {"uid": uid, "name": uid, "ownerReferences": references}}

    ordered = in_order([document("a", "b"), document("b", "c"), document("c"), document("x", "x", "gone")])

    assert [each["metadata"]["uid"] for each in ordered] == ["c", "b", "a", "x"]


def test_of_a_cluster_only_what_is_ours_is_taken() -> None:
    def document(kind: str, namespace: str, name: str, group: str = "") -> Document:
        api_version = f"{group}/v1" if group else "v1"
        return {"apiVersion": api_version, "kind": kind, "metadata": {"namespace": namespace, "name": name}}

    host = document("MachineInventory", NAMESPACE, "press-1", "elemental.cattle.io")
    plan = document("Secret", NAMESPACE, "press-1")
    foreign = [
        document("Secret", "kube-system", "k3s-serving"),
        document("ConfigMap", NAMESPACE, "kube-root-ca.crt"),
        document("ServiceAccount", NAMESPACE, "default"),
        document("Namespace", "", "kube-system"),
    ]
    namespace = document("Namespace", "", NAMESPACE)

    assert ours([host, plan, namespace, *foreign]) == [host, plan, namespace]


@pytest.mark.parametrize(
    ("wanted", "found", "where"),
    [
        ({"spec": {"a": 1}}, {"spec": {"a": 1, "b": 2}}, ""),
        ({"spec": {"a": 1}}, {"spec": {"a": 2}}, "spec.a"),
        ({"spec": {"a": [1, {"b": 2}]}}, {"spec": {"a": [1, {"b": 3}]}}, "spec.a[1].b"),
        ({"spec": {"a": [1]}}, {"spec": {"a": [1, 2]}}, "spec.a"),
        ({"data": {"a": "x"}}, {}, "data"),
        ({"data": {}}, {}, ""),
        ({"rules": []}, {"rules": None}, ""),
        ({"rules": []}, {"rules": [{"verbs": ["get"]}]}, "rules"),
        ({"spec": {"a": 0}}, {"spec": {"a": None}}, "spec.a"),
    ],
    ids=["added", "changed", "deep", "longer", "lost", "empty", "null", "gained", "zero"],
)
def test_a_difference_is_what_was_lost_or_changed(wanted: Document, found: Document, where: str) -> None:
    assert difference({"metadata": {}, **wanted}, {"metadata": {}, **found}) == where
