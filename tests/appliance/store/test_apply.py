"""Server-side apply: intents merge, managers own, conflicts are named."""

import pytest

from appliance.resources.meta import Document
from appliance.store.apply import apply_intent, record_update
from appliance.store.base import Conflict, Malformed

LATER = "2026-01-02T00:00:00Z"
NOW = "2026-01-01T00:00:00Z"
EMPTY: Document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}


def intent(data: Document, **metadata: object) -> Document:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", **metadata}, "data": data}


def apply(
    live: Document, data: Document, manager: str = "me", *, force: bool = False, time: str = NOW
) -> Document:
    return apply_intent(live, intent(data), manager=manager, time=time, force=force)


def owned(document: Document) -> dict[tuple[str, str], Document]:
    return {
        (entry["manager"], entry["operation"]): entry["fieldsV1"]
        for entry in document["metadata"].get("managedFields", [])
    }


def test_a_manager_owns_what_it_applied() -> None:
    applied = apply(EMPTY, {"a": "1", "b": {"c": "2", "d": []}})

    assert applied["data"] == {"a": "1", "b": {"c": "2", "d": []}}
    assert owned(applied) == {("me", "Apply"): {"f:data": {"f:a": {}, "f:b": {"f:c": {}, "f:d": {}}}}}


def test_what_a_manager_leaves_out_is_removed() -> None:
    applied = apply(apply(EMPTY, {"a": "1", "b": {"c": "2"}}), {"a": "1"})

    assert applied["data"] == {"a": "1"}


def test_the_same_intent_again_changes_nothing() -> None:
    applied = apply(EMPTY, {"a": "1"})

    assert apply(applied, {"a": "1"}, time=LATER) == applied


def test_a_field_that_another_owns_conflicts_and_says_whose_it_is() -> None:
    applied = apply(EMPTY, {"a": "1"}, "one")

    with pytest.raises(Conflict, match=r"'one' owns \.data\.a"):
        apply(applied, {"a": "2"}, "two")


def test_force_takes_a_field_over() -> None:
    applied = apply(apply(EMPTY, {"a": "1", "b": "1"}, "one"), {"a": "2"}, "two", force=True)

    assert applied["data"] == {"a": "2", "b": "1"}
    assert owned(applied) == {
        ("one", "Apply"): {"f:data": {"f:b": {}}},
        ("two", "Apply"): {"f:data": {"f:a": {}}},
    }


def test_two_managers_of_one_value_share_it_until_both_let_go() -> None:
    shared = apply(apply(EMPTY, {"a": "1"}, "one"), {"a": "1"}, "two")

    left = apply_intent(shared, intent({}), manager="one", time=NOW)
    assert left["data"] == {"a": "1"}

    gone = apply_intent(left, {"metadata": {"name": "c"}}, manager="two", time=NOW)
    assert gone["data"] == {}  # which "one" still wants to be there


def test_a_value_in_place_of_an_owned_object_conflicts() -> None:
    applied = apply(EMPTY, {"a": {"b": "1"}}, "one")

    with pytest.raises(Conflict, match=r"\.data\.a\.b"):
        apply(applied, {"a": "flat"}, "two")


def test_adding_to_an_object_that_another_owns_empty_is_no_conflict() -> None:
    applied = apply(apply(EMPTY, {"a": {}}, "one"), {"a": {"b": "1"}}, "two")

    assert applied["data"] == {"a": {"b": "1"}}


def test_objects_that_nobody_owns_go_when_they_are_empty() -> None:
    assert "data" not in apply_intent(
        apply(EMPTY, {"a": {"b": "1"}}), {"metadata": {}}, manager="me", time=NOW
    )


def test_an_object_nobody_applied_to_belongs_to_before_first_apply() -> None:
    live = {**EMPTY, "data": {"a": "1", "b": "1"}}

    with pytest.raises(Conflict, match="before-first-apply"):
        apply(live, {"a": "2"})
    assert apply(live, {"a": "1"})["data"] == {"a": "1", "b": "1"}


def test_lists_are_owned_whole() -> None:
    applied = apply(EMPTY, {"list": ["1", "2"]}, "one")

    with pytest.raises(Conflict, match=r"\.data\.list"):
        apply(applied, {"list": ["1"]}, "two")


def test_what_identifies_the_object_is_owned_by_nobody() -> None:
    applied = apply_intent(EMPTY, intent({}, uid="1", labels={"a": "b"}), manager="me", time=NOW)

    assert owned(applied)[("me", "Apply")]["f:metadata"] == {"f:labels": {"f:a": {}}}


@pytest.mark.parametrize("manager", ["", "x" * 129, "a\nb"])
def test_an_applier_must_have_a_name(manager: str) -> None:
    with pytest.raises(Malformed, match="fieldManager"):
        apply(EMPTY, {"a": "1"}, manager)


def test_another_write_takes_over_what_it_changes() -> None:
    before = apply(EMPTY, {"a": "1", "b": "1"})
    after = {**before, "data": {"a": "2", "b": "1", "c": "3"}}

    recorded = record_update(before, after, manager="editor", time=LATER)

    assert owned(recorded) == {
        ("me", "Apply"): {"f:data": {"f:b": {}}},
        ("editor", "Update"): {"f:data": {"f:a": {}, "f:c": {}}},
    }
    with pytest.raises(Conflict, match="'editor'"):
        apply(recorded, {"a": "1", "b": "1"})


def test_what_another_write_removes_is_owned_by_nobody() -> None:
    before = apply(EMPTY, {"a": "1", "b": "1"})

    recorded = record_update(before, {**before, "data": {"b": "1"}}, manager="editor", time=LATER)

    assert owned(recorded) == {("me", "Apply"): {"f:data": {"f:b": {}}}}


def test_an_object_that_was_never_applied_to_is_not_tracked() -> None:
    after = {**EMPTY, "data": {"a": "1"}}

    assert record_update(EMPTY, after, manager="editor", time=NOW) is after
