"""What every engine under the store protocol must do, as the Kubernetes API does it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from appliance.resources.core import CONFIG_MAP, SECRET
from appliance.resources.core import NAMESPACE as NAMESPACE_KIND
from appliance.resources.machine_inventory import MACHINE_INVENTORY, MachineInventory
from appliance.resources.meta import Document, decode
from appliance.resources.rollout import ROLLOUT
from appliance.resources.seed_image import SEED_IMAGE
from appliance.store.base import (
    AlreadyExists,
    Conflict,
    Event,
    Gone,
    Invalid,
    Limits,
    Malformed,
    NotFound,
    Patch,
    Preconditions,
    Selection,
    Store,
    TooLarge,
    merge,
)
from tests.conformance.store_engines import ENGINES, NAMESPACE, machine, names, next_event, owner_of

LIMITS = Limits(max_document_bytes=4096, history=40, watch_buffer=8)
HOLD = "machineinventory.elemental.cattle.io"


@pytest.fixture(params=ENGINES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with ENGINES[request.param](tmp_path, LIMITS) as opened:
        yield opened


async def get(store: Store, name: str = "press-1") -> Document:
    return await store.get(MACHINE_INVENTORY, name, namespace=NAMESPACE)


async def patch(store: Store, body: Document, name: str = "press-1", **options: str) -> Document:
    subresource = "status" if options.get("subresource") else ""
    return await store.patch(
        MACHINE_INVENTORY,
        name,
        merge(body),
        namespace=NAMESPACE,
        subresource=subresource,  # type: ignore[arg-type]  # a Literal from two
    )


async def delete(store: Store, name: str = "press-1") -> Document:
    return await store.delete(MACHINE_INVENTORY, name, namespace=NAMESPACE)


# create and get


async def test_a_new_object_gets_what_only_the_server_gives(store: Store) -> None:
    created = await store.create(MACHINE_INVENTORY, machine(metadata={"uid": "mine", "generation": 9}))

    metadata = decode(MachineInventory, created).metadata
    assert metadata.uid not in ("", "mine")
    assert metadata.generation == 1
    assert metadata.creation_timestamp is not None
    assert int(metadata.resource_version) > 0
    assert await get(store) == created


async def test_a_name_can_be_taken_once(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine())

    with pytest.raises(AlreadyExists, match="press-1"):
        await store.create(MACHINE_INVENTORY, machine())


async def test_the_same_name_is_free_in_another_namespace_and_kind(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine())

    await store.create(MACHINE_INVENTORY, machine(metadata={"namespace": "other"}))
    await store.create(CONFIG_MAP, {"metadata": {"name": "press-1", "namespace": NAMESPACE}})


async def test_generate_name_makes_names_that_differ(store: Store) -> None:
    document = machine()
    document["metadata"] = {"generateName": "m-", "namespace": NAMESPACE}

    first = await store.create(MACHINE_INVENTORY, document)
    second = await store.create(MACHINE_INVENTORY, document)

    assert first["metadata"]["name"].startswith("m-")
    assert first["metadata"]["name"] != second["metadata"]["name"]


async def test_fields_we_do_not_know_survive(store: Store) -> None:
    await store.create(
        MACHINE_INVENTORY, machine(spec={"tpmHash": "x", "network": {"config": {"a": [1, None]}}})
    )

    assert (await get(store))["spec"]["network"]["config"] == {"a": [1, None]}


async def test_status_cannot_be_created(store: Store) -> None:
    created = await store.create(MACHINE_INVENTORY, machine(status={"plan": {"state": "Applied"}}))

    assert "status" not in created


async def test_what_is_missing_is_said_by_name(store: Store) -> None:
    with pytest.raises(NotFound, match="no MachineInventory press-9 in namespace fleet-default"):
        await get(store, "press-9")


async def test_an_object_is_made_together_with_its_namespace(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine())

    assert (await store.get(NAMESPACE_KIND, NAMESPACE))["status"] == {"phase": "Active"}


# validation


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        (machine(spec={"tpmHash": 3}), "spec.tpmHash: Invalid value: .*must be of type string"),
        (machine(spec={"network": {"ipAddresses": {"a": 1}}}), "spec.network.ipAddresses"),
        (machine("Press 1"), "metadata.name"),
        (machine("x" * 254), "metadata.name"),
        (machine(""), "metadata.name"),
        (machine(metadata={"namespace": ""}), "metadata.namespace"),
        (machine(metadata={"namespace": "a.b"}), "metadata.namespace"),
        (machine(metadata={"labels": {"a b": "c"}}), "metadata.labels"),
        (machine(metadata={"labels": {"a": "c d"}}), r"metadata.labels\[a\]"),
        (machine(metadata={"labels": {"a": 1}}), "metadata.labels"),
        (machine(metadata={"annotations": {"-": "c"}}), "metadata.annotations"),
        (machine(metadata={"resourceVersion": "4"}), "metadata.resourceVersion"),
        (machine(metadata={"finalizers": "one"}), "metadata.finalizers"),
        ({"kind": "Secret", "metadata": {"name": "a"}}, "kind"),
        ({"metadata": []}, "metadata"),
        ({}, "metadata"),
    ],
)
async def test_a_bad_document_is_refused_with_its_path(
    store: Store, document: Document, complaint: str
) -> None:
    with pytest.raises(Invalid, match=complaint):
        await store.create(MACHINE_INVENTORY, document)

    assert await names(store) == []


async def test_unknown_fields_are_not_kept_but_below_free_objects_they_are(store: Store) -> None:
    spec = {"tpmHash": "a", "tpmHsah": "b", "network": {"config": {"anything": [None, {"x": 1}]}}}

    created = await store.create(MACHINE_INVENTORY, machine(spec=spec, specs={}))

    assert created["spec"] == {
        "tpmHash": "a",
        "network": {"configurator": "none", "config": {"anything": [None, {"x": 1}]}},
    }
    assert "specs" not in created


async def test_defaults_are_filled_in_at_every_write_and_owned_by_nobody_who_left_them_out(
    store: Store,
) -> None:
    spec = {"registrationRef": {"name": "plant"}}
    document = {"metadata": {"name": "s", "namespace": NAMESPACE}, "spec": spec}
    defaults = {"type": "iso", "cleanupAfterMinutes": 60, "size": 6442450944}

    applied = await store.patch(SEED_IMAGE, "s", Patch("apply", document, manager="me"), namespace=NAMESPACE)
    updated = await store.update(SEED_IMAGE, {**applied, "spec": spec})

    assert applied["spec"] == updated["spec"] == spec | defaults
    assert updated["metadata"]["resourceVersion"] == applied["metadata"]["resourceVersion"]
    assert "f:size" not in str(applied["metadata"]["managedFields"])


async def test_an_object_over_the_limit_is_refused_and_nothing_of_it_stays(store: Store) -> None:
    with pytest.raises(TooLarge, match="4096"):
        await store.create(MACHINE_INVENTORY, machine(spec={"network": {"config": {"a": "x" * 5000}}}))

    assert await names(store) == []


async def test_an_absurdly_nested_object_is_refused(store: Store) -> None:
    nested: Document = {}
    for _ in range(500):
        nested = {"a": nested}

    with pytest.raises(Malformed, match="nested"):
        await store.create(MACHINE_INVENTORY, machine(spec={"network": {"config": nested}}))


async def test_secrets_hold_base64_and_take_plain_texts_too(store: Store) -> None:
    secret = {"metadata": {"name": "s", "namespace": NAMESPACE}, "stringData": {"plan": "{}"}}

    assert (await store.create(SECRET, secret))["data"] == {"plan": "e30="}
    with pytest.raises(Invalid, match=r"data\[plan\]"):
        await store.patch(SECRET, "s", merge({"data": {"plan": "{}"}}), namespace=NAMESPACE)


# update and patch


async def test_an_update_of_an_old_version_conflicts(store: Store) -> None:
    old = await store.create(MACHINE_INVENTORY, machine())
    await patch(store, {"spec": {"machineHash": "1"}})

    with pytest.raises(Conflict, match="somebody wrote first"):
        await store.update(MACHINE_INVENTORY, {**old, "spec": {"machineHash": "2"}})

    assert (await get(store))["spec"]["machineHash"] == "1"


async def test_an_update_must_say_which_version_it_replaces(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine())

    with pytest.raises(Invalid, match="resourceVersion"):
        await store.update(MACHINE_INVENTORY, machine())


async def test_a_conditional_patch_conflicts_and_an_unconditional_one_does_not(store: Store) -> None:
    old = await store.create(MACHINE_INVENTORY, machine())
    await patch(store, {"spec": {"machineHash": "1"}})

    with pytest.raises(Conflict):
        await patch(store, {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "spec": {}})
    assert (await patch(store, {"spec": {"machineHash": "2"}}))["spec"]["machineHash"] == "2"


async def test_versions_grow_and_the_generation_follows_the_spec_only(store: Store) -> None:
    created = await store.create(MACHINE_INVENTORY, machine())
    labelled = await patch(store, {"metadata": {"labels": {"site": "north"}}})
    ready = await patch(store, {"status": {"plan": {"state": "Applied"}}}, subresource="status")
    changed = await patch(store, {"spec": {"machineHash": "1"}})

    history = [document["metadata"] for document in (created, labelled, ready, changed)]
    versions = [int(metadata["resourceVersion"]) for metadata in history]
    assert versions == sorted(set(versions))
    assert [metadata["generation"] for metadata in history] == [1, 1, 1, 2]


async def test_a_write_that_changes_nothing_is_none(store: Store) -> None:
    created = await store.create(MACHINE_INVENTORY, machine())

    assert await patch(store, {"spec": {"tpmHash": "ab12"}}) == created
    assert await store.update(MACHINE_INVENTORY, created) == created


async def test_true_and_one_are_not_the_same_value(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine(spec={"network": {"config": {"dhcp": True}}}))

    patched = await patch(store, {"spec": {"network": {"config": {"dhcp": 1}}}})

    assert patched["spec"]["network"]["config"]["dhcp"] is not True
    assert patched["metadata"]["generation"] == 2


async def test_status_and_the_rest_are_written_apart(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine())
    both: Document = {"spec": {"machineHash": "1"}, "status": {"plan": {"state": "Applied"}}}

    plain = await patch(store, both)
    assert (plain["spec"].get("machineHash"), plain.get("status")) == ("1", None)

    status = await patch(store, {**both, "spec": {"machineHash": "2"}}, subresource="status")
    assert (status["spec"]["machineHash"], status["status"]["plan"]["state"]) == ("1", "Applied")


async def test_a_kind_without_status_has_no_status_to_write(store: Store) -> None:
    await store.create(SECRET, {"metadata": {"name": "s", "namespace": NAMESPACE}})

    with pytest.raises(NotFound, match="no status"):
        await store.patch(SECRET, "s", merge({}), namespace=NAMESPACE, subresource="status")


async def test_a_json_patch_applies_whole_or_not_at_all(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine())
    operations: list[Document] = [
        {"op": "replace", "path": "/spec/tpmHash", "value": "cd34"},
        {"op": "test", "path": "/spec/machineHash", "value": "nothing like it"},
    ]

    with pytest.raises(Invalid, match="machineHash"):
        await store.patch(MACHINE_INVENTORY, "press-1", Patch("json", operations), namespace=NAMESPACE)
    assert (await get(store))["spec"] == {"tpmHash": "ab12"}

    patched = await store.patch(
        MACHINE_INVENTORY, "press-1", Patch("json", operations[:1]), namespace=NAMESPACE
    )
    assert patched["spec"] == {"tpmHash": "cd34"}


async def test_no_patch_renames_an_object(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine())

    with pytest.raises(Invalid, match="cannot be renamed"):
        await patch(store, {"metadata": {"name": "press-2"}})


async def test_only_apply_makes_what_is_not_there(store: Store) -> None:
    with pytest.raises(NotFound):
        await patch(store, {"spec": {}})

    applied = await store.patch(
        MACHINE_INVENTORY, "press-1", Patch("apply", machine(), manager="me"), namespace=NAMESPACE
    )
    assert applied["metadata"]["generation"] == 1
    assert applied["metadata"]["managedFields"][0]["manager"] == "me"


async def test_two_appliers_conflict_over_a_field_until_one_forces(store: Store) -> None:
    def intent(value: str, manager: str, *, force: bool = False) -> Patch:
        return Patch("apply", machine(spec={"machineHash": value}), manager=manager, force=force)

    async def apply(patch: Patch) -> Document:
        return await store.patch(MACHINE_INVENTORY, "press-1", patch, namespace=NAMESPACE)

    first = await apply(intent("1", "argo"))
    assert await apply(intent("1", "argo")) == first
    with pytest.raises(Conflict, match=r"'argo' owns .spec.machineHash"):
        await apply(intent("2", "kubectl"))
    forced = await apply(intent("2", "kubectl", force=True))
    assert forced["spec"]["machineHash"] == "2"
    with pytest.raises(Conflict, match="'kubectl' owns"):
        await apply(intent("1", "argo"))


async def test_a_dry_run_is_decided_like_a_write_and_not_done(store: Store) -> None:
    tried = await store.create(MACHINE_INVENTORY, machine(), dry_run=True)
    assert tried["metadata"]["uid"]
    assert await names(store) == []

    created = await store.create(MACHINE_INVENTORY, machine())
    with pytest.raises(AlreadyExists):
        await store.create(MACHINE_INVENTORY, machine(), dry_run=True)
    await store.delete(MACHINE_INVENTORY, "press-1", namespace=NAMESPACE, dry_run=True)
    assert await get(store) == created


# delete


async def test_a_deleted_object_is_gone_and_its_name_free(store: Store) -> None:
    first = await store.create(MACHINE_INVENTORY, machine())
    await delete(store)

    with pytest.raises(NotFound):
        await delete(store)
    second = await store.create(MACHINE_INVENTORY, machine())
    assert second["metadata"]["uid"] != first["metadata"]["uid"]


async def test_preconditions_hold_for_a_delete(store: Store) -> None:
    created = await store.create(MACHINE_INVENTORY, machine())
    await patch(store, {"spec": {"machineHash": "1"}})

    for wrong in (
        Preconditions(uid="another"),
        Preconditions(resource_version=created["metadata"]["resourceVersion"]),
    ):
        with pytest.raises(Conflict):
            await store.delete(MACHINE_INVENTORY, "press-1", namespace=NAMESPACE, preconditions=wrong)
    right = Preconditions(uid=created["metadata"]["uid"])
    await store.delete(MACHINE_INVENTORY, "press-1", namespace=NAMESPACE, preconditions=right)


async def test_a_finalizer_holds_an_object_until_it_is_taken_off(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine(metadata={"finalizers": [HOLD]}))

    marked = await delete(store)
    assert marked["metadata"]["deletionTimestamp"]
    assert (await delete(store))["metadata"]["resourceVersion"] == marked["metadata"]["resourceVersion"]
    with pytest.raises(Invalid, match="being deleted"):
        await patch(store, {"metadata": {"finalizers": [HOLD, "another/one"]}})

    await patch(store, {"metadata": {"finalizers": None}})
    with pytest.raises(NotFound):
        await get(store)


async def test_what_an_object_owns_goes_with_it(store: Store) -> None:
    owner = await store.create(MACHINE_INVENTORY, machine())
    for name, finalizers in (("plan", []), ("held", [HOLD])):
        await store.create(
            SECRET,
            {
                "metadata": {
                    "name": name,
                    "namespace": NAMESPACE,
                    "ownerReferences": [owner_of(owner)],
                    "finalizers": finalizers,
                }
            },
        )
    await store.create(SECRET, {"metadata": {"name": "other", "namespace": NAMESPACE}})

    await delete(store)

    assert await names(store, SECRET) == ["held", "other"]
    held = await store.get(SECRET, "held", namespace=NAMESPACE)
    assert held["metadata"]["deletionTimestamp"]


async def test_an_object_of_two_owners_goes_with_the_last(store: Store) -> None:
    first = await store.create(MACHINE_INVENTORY, machine("press-1"))
    second = await store.create(MACHINE_INVENTORY, machine("press-2"))
    references = [owner_of(first), owner_of(second)]
    await store.create(
        SECRET, {"metadata": {"name": "s", "namespace": NAMESPACE, "ownerReferences": references}}
    )

    await delete(store, "press-1")
    left = await store.get(SECRET, "s", namespace=NAMESPACE)
    assert left["metadata"]["ownerReferences"] == [owner_of(second)]

    await delete(store, "press-2")
    assert await names(store, SECRET) == []


async def test_orphans_stay_when_asked(store: Store) -> None:
    owner = await store.create(MACHINE_INVENTORY, machine())
    await store.create(
        SECRET, {"metadata": {"name": "s", "namespace": NAMESPACE, "ownerReferences": [owner_of(owner)]}}
    )

    await store.delete(MACHINE_INVENTORY, "press-1", namespace=NAMESPACE, propagation="Orphan")

    left = await store.get(SECRET, "s", namespace=NAMESPACE)
    assert "ownerReferences" not in left["metadata"]


async def test_what_is_made_for_an_owner_that_is_gone_goes_too(store: Store) -> None:
    owner = await store.create(MACHINE_INVENTORY, machine())
    await delete(store)

    await store.create(
        SECRET, {"metadata": {"name": "s", "namespace": NAMESPACE, "ownerReferences": [owner_of(owner)]}}
    )

    assert await names(store, SECRET) == []


async def test_owners_of_kinds_kept_elsewhere_count_as_there(store: Store) -> None:
    reference = {"apiVersion": "cluster.x-k8s.io/v1beta1", "kind": "Cluster", "name": "c", "uid": "1"}

    await store.create(
        SECRET, {"metadata": {"name": "s", "namespace": NAMESPACE, "ownerReferences": [reference]}}
    )

    assert await names(store, SECRET) == ["s"]


async def test_a_namespace_takes_what_is_in_it_and_waits_for_what_is_held(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine("free"))
    await store.create(MACHINE_INVENTORY, machine("held", metadata={"finalizers": [HOLD]}))

    await store.delete(NAMESPACE_KIND, NAMESPACE)

    assert await names(store) == ["held"]
    with pytest.raises(Conflict, match="being deleted"):
        await store.create(MACHINE_INVENTORY, machine("late"))
    await patch(store, {"metadata": {"finalizers": None}}, "held")
    with pytest.raises(NotFound):
        await store.get(NAMESPACE_KIND, NAMESPACE)


# list


async def fill(store: Store, count: int) -> None:
    for index in range(count):
        labels = {"site": "north" if index % 2 else "south", "index": str(index)}
        await store.create(MACHINE_INVENTORY, machine(f"press-{index}", metadata={"labels": labels}))


async def test_pages_together_are_the_list(store: Store) -> None:
    await fill(store, 7)

    first = await store.list(MACHINE_INVENTORY, limit=3)
    second = await store.list(MACHINE_INVENTORY, limit=3, continue_token=first.continue_token)
    third = await store.list(MACHINE_INVENTORY, limit=3, continue_token=second.continue_token)

    assert [len(page.items) for page in (first, second, third)] == [3, 3, 1]
    assert [page.remaining for page in (first, second, third)] == [4, 1, 0]
    assert first.items + second.items + third.items == (await store.list(MACHINE_INVENTORY)).items
    assert third.continue_token == ""
    assert len({page.resource_version for page in (first, second, third)}) == 1


async def test_a_page_that_ends_the_list_says_so(store: Store) -> None:
    await fill(store, 3)

    assert (await store.list(MACHINE_INVENTORY, limit=3)).continue_token == ""


async def test_a_watch_from_a_paged_list_misses_nothing(store: Store) -> None:
    await fill(store, 4)
    first = await store.list(MACHINE_INVENTORY, limit=2)
    await store.create(MACHINE_INVENTORY, machine("a-before-the-page"))
    second = await store.list(MACHINE_INVENTORY, limit=2, continue_token=first.continue_token)

    async with aclosing(store.watch(MACHINE_INVENTORY, since=second.resource_version)) as events:
        assert (await next_event(events)).document["metadata"]["name"] == "a-before-the-page"


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(labels="site=north"), ["press-1", "press-3"]),
        (Selection(labels="site!=north,index notin (0)"), ["press-2"]),
        (Selection(labels="site in (north,south),index>2"), ["press-3"]),
        (Selection(labels="!site"), []),
        (Selection(fields="metadata.name=press-2"), ["press-2"]),
        (Selection(fields="metadata.name!=press-2", labels="site=south"), ["press-0"]),
        (Selection(namespace="other"), []),
        (
            Selection(namespace=NAMESPACE, fields="metadata.namespace=fleet-default", labels="index=1"),
            ["press-1"],
        ),
    ],
)
async def test_selectors_choose(store: Store, selection: Selection, expected: list[str]) -> None:
    await fill(store, 4)

    page = await store.list(MACHINE_INVENTORY, selection)

    assert [document["metadata"]["name"] for document in page.items] == expected


async def test_pages_of_a_selection_are_full(store: Store) -> None:
    await fill(store, 9)
    selection = Selection(labels="site=north")

    first = await store.list(MACHINE_INVENTORY, selection, limit=3)
    second = await store.list(MACHINE_INVENTORY, selection, limit=3, continue_token=first.continue_token)

    found = [document["metadata"]["name"] for document in first.items + second.items]
    assert (len(first.items), found) == (3, ["press-1", "press-3", "press-5", "press-7"])


@pytest.mark.parametrize(
    "selection",
    [
        Selection(labels="a=b=c"),
        Selection(labels="a in b"),
        Selection(fields="spec.tpmHash=x"),
        Selection(fields="?"),
    ],
)
async def test_a_selector_that_cannot_be_read_is_refused(store: Store, selection: Selection) -> None:
    with pytest.raises(Malformed):
        await store.list(MACHINE_INVENTORY, selection)


@pytest.mark.parametrize("token", ["x", "e30=", "bm9uc2Vuc2U=", "ä"])
async def test_a_continue_token_that_is_not_ours_is_refused(store: Store, token: str) -> None:
    with pytest.raises(Malformed, match="continue token"):
        await store.list(MACHINE_INVENTORY, continue_token=token)


# watch


async def take(events: AsyncIterator[Event], count: int) -> list[tuple[str, str]]:
    found = [await next_event(events) for _ in range(count)]
    return [(event.type, event.document["metadata"]["name"]) for event in found]


async def test_a_watch_says_what_exists_then_a_bookmark_then_what_changes(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine("press-1"))
    async with aclosing(store.watch(MACHINE_INVENTORY)) as events:
        assert [(await anext(events)).type, (await anext(events)).type] == ["ADDED", "BOOKMARK"]

        await store.create(MACHINE_INVENTORY, machine("press-2"))
        await patch(store, {"spec": {"machineHash": "1"}})
        await delete(store)

        expected = [("ADDED", "press-2"), ("MODIFIED", "press-1"), ("DELETED", "press-1")]
        assert await take(events, 3) == expected


async def test_a_watch_resumes_where_it_ended(store: Store) -> None:
    created = await store.create(MACHINE_INVENTORY, machine())
    await patch(store, {"spec": {"machineHash": "1"}})
    await delete(store)

    since = created["metadata"]["resourceVersion"]
    async with aclosing(store.watch(MACHINE_INVENTORY, since=since)) as events:
        assert await take(events, 2) == [("MODIFIED", "press-1"), ("DELETED", "press-1")]


async def test_the_last_event_of_an_object_has_a_version_of_its_own(store: Store) -> None:
    created = await store.create(MACHINE_INVENTORY, machine())
    async with aclosing(store.watch(MACHINE_INVENTORY)) as events:
        await next_event(events)
        await delete(store)

        deleted = (await next_event(events)).document
        assert int(deleted["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])


async def test_a_watch_from_before_the_history_is_gone(store: Store) -> None:
    created = await store.create(MACHINE_INVENTORY, machine())
    for index in range(LIMITS.history + 10):
        await patch(store, {"spec": {"machineHash": str(index)}})

    with pytest.raises(Gone, match="too old"):
        await anext(store.watch(MACHINE_INVENTORY, since=created["metadata"]["resourceVersion"]))


async def test_a_watch_from_a_version_that_never_was_is_gone(store: Store) -> None:
    with pytest.raises(Gone, match="not known"):
        await anext(store.watch(MACHINE_INVENTORY, since="123456"))


@pytest.mark.parametrize("since", ["x", "-1", "1.5", "9" * 30])
async def test_a_watch_from_nonsense_is_refused(store: Store, since: str) -> None:
    with pytest.raises(Malformed, match="no resource version"):
        await anext(store.watch(MACHINE_INVENTORY, since=since))


async def test_objects_come_into_and_leave_what_is_selected(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine())
    selection = Selection(namespace=NAMESPACE, labels="site=north")
    async with aclosing(store.watch(MACHINE_INVENTORY, selection)) as events:
        await anext(events)  # the bookmark: nothing is selected yet
        for site in ("south", "north", "north", "south"):
            await patch(store, {"metadata": {"labels": {"site": site}}})
            await patch(store, {"spec": {"machineHash": site}})
        await store.create(MACHINE_INVENTORY, machine("elsewhere", metadata={"namespace": "other"}))

        assert await take(events, 3) == [
            ("ADDED", "press-1"),
            ("MODIFIED", "press-1"),
            ("DELETED", "press-1"),
        ]


async def test_a_watch_of_one_name_sees_nothing_else(store: Store) -> None:
    selection = Selection(namespace=NAMESPACE, fields="metadata.name=press-2")
    async with aclosing(store.watch(MACHINE_INVENTORY, selection)) as events:
        await anext(events)
        for name in ("press-1", "press-2", "press-3"):
            await store.create(MACHINE_INVENTORY, machine(name))
        await delete(store, "press-2")

        assert await take(events, 2) == [("ADDED", "press-2"), ("DELETED", "press-2")]


async def test_a_watcher_that_reads_slowly_misses_nothing(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine())
    async with aclosing(store.watch(MACHINE_INVENTORY)) as events:
        await next_event(events)
        await anext(events)
        for index in range(LIMITS.watch_buffer * 3):  # far over its buffer
            await patch(store, {"spec": {"machineHash": str(index)}})

        seen = [
            (await next_event(events)).document["spec"]["machineHash"] for _ in range(LIMITS.watch_buffer * 3)
        ]
        assert seen == [str(index) for index in range(LIMITS.watch_buffer * 3)]


async def test_a_watcher_that_reads_too_slowly_is_told_so(store: Store) -> None:
    await store.create(MACHINE_INVENTORY, machine())
    async with aclosing(store.watch(MACHINE_INVENTORY)) as events:
        await next_event(events)
        await anext(events)
        for index in range(LIMITS.history * 2):
            await patch(store, {"spec": {"machineHash": str(index)}})

        with pytest.raises(Gone):
            await take(events, LIMITS.history * 2)


async def test_a_quiet_watch_gets_bookmarks_so_that_it_can_resume(store: Store) -> None:
    async with aclosing(store.watch(ROLLOUT)) as events:
        await anext(events)
        await store.create(MACHINE_INVENTORY, machine())
        for index in range(LIMITS.history):
            await patch(store, {"spec": {"machineHash": str(index)}})

        bookmark = await anext(events)
        assert bookmark.type == "BOOKMARK"
        version = int(bookmark.document["metadata"]["resourceVersion"])
        assert version > int((await get(store))["metadata"]["resourceVersion"]) - LIMITS.history * 2


async def test_every_watcher_sees_every_object_once_whenever_it_came(store: Store) -> None:
    async def follow() -> list[str]:
        seen: list[str] = []
        async with aclosing(store.watch(MACHINE_INVENTORY)) as events:
            while "last" not in seen:
                seen.append((await next_event(events)).document["metadata"]["name"])
        return seen

    # Some begin before the writes, some in their middle: what they list and what they are told overlaps.
    watchers = []
    for index in range(20):
        watchers.append(asyncio.create_task(follow()))
        await store.create(MACHINE_INVENTORY, machine(f"press-{index:02}"))
    await store.create(MACHINE_INVENTORY, machine("last"))

    expected = sorted(["last", *(f"press-{index:02}" for index in range(20))])
    assert [sorted(await watcher) for watcher in watchers] == [expected] * 20


# many writers


async def test_of_many_writers_of_one_version_one_wins(store: Store) -> None:
    created = await store.create(MACHINE_INVENTORY, machine())

    async def attempt(index: int) -> bool:
        try:
            await store.update(MACHINE_INVENTORY, {**created, "spec": {"machineHash": str(index)}})
        except Conflict:
            return False
        return True

    assert sum(await asyncio.gather(*(attempt(index) for index in range(20)))) == 1


async def test_many_patches_of_one_object_all_count(store: Store) -> None:
    await store.create(CONFIG_MAP, {"metadata": {"name": "c", "namespace": NAMESPACE}})

    await asyncio.gather(
        *(
            store.patch(CONFIG_MAP, "c", merge({"data": {f"k{index}": "v"}}), namespace=NAMESPACE)
            for index in range(30)
        )
    )

    assert len((await store.get(CONFIG_MAP, "c", namespace=NAMESPACE))["data"]) == 30


async def test_a_refused_write_does_not_take_its_neighbours_along(store: Store) -> None:
    results = await asyncio.gather(
        *(store.create(MACHINE_INVENTORY, machine(f"press-{index // 2}")) for index in range(10)),
        return_exceptions=True,
    )

    assert sum(isinstance(result, AlreadyExists) for result in results) == 5
    assert len(await names(store)) == 5


async def test_what_a_caller_does_to_its_answer_touches_nobody_else(store: Store) -> None:
    async with aclosing(store.watch(MACHINE_INVENTORY)) as events:
        await anext(events)
        created = await store.create(MACHINE_INVENTORY, machine())
        created["spec"]["tpmHash"] = "changed by its caller"

        assert (await next_event(events)).document["spec"]["tpmHash"] == "ab12"
        assert (await get(store))["spec"]["tpmHash"] == "ab12"
