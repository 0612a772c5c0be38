"""Lists: pages, label and field selectors."""

from contextlib import aclosing

import pytest

from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.store.base import (
    Malformed,
    Selection,
    Store,
)
from tests.conformance.store_engines import NAMESPACE, delete, fill, machine, next_event, patch


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


async def test_labels_that_change_are_found_as_they_are_now(store: Store) -> None:
    await fill(store, 3)

    await patch(store, {"metadata": {"labels": {"site": "west", "index": None}}}, "press-1")
    await delete(store, "press-2")

    async def found(labels: str) -> list[str]:
        page = await store.list(MACHINE_INVENTORY, Selection(labels=labels))
        return [document["metadata"]["name"] for document in page.items]

    assert await found("site=west") == ["press-1"]
    assert await found("site in (north,west,south,east)") == ["press-0", "press-1"]
    assert await found("site=north") == []
    assert await found("index in (1,2)") == []
    assert await found("site=west,index=1") == []
