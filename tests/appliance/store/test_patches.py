"""RFC 7396 and RFC 6902, by the examples of the RFCs and by properties."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.resources.meta import Document
from appliance.store.base import Invalid, Malformed, TooLarge
from appliance.store.patches import JSON, json_patch, merge_patch

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
KEYS = st.text(alphabet="ab/~", max_size=2)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=4)


@pytest.mark.parametrize(
    ("document", "patch", "expected"),
    [  # RFC 7396, appendix A; those with an object on top
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches_follow_the_rfc(document: Document, patch: Document, expected: Document) -> None:
    assert merge_patch(document, patch) == expected


@given(DOCUMENTS, DOCUMENTS)
def test_a_merge_patch_changes_nothing_that_it_was_given_and_may_be_repeated(
    document: Document, patch: Document
) -> None:
    before = copy.deepcopy((document, patch))

    once = merge_patch(document, patch)

    assert (document, patch) == before
    assert merge_patch(once, patch) == once


@pytest.mark.parametrize(
    ("document", "operations", "expected"),
    [  # RFC 6902, appendix A
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
        ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/0", "value": "qux"}], {"foo": ["qux", "bar"]}),
        ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["a"]}], {"foo": ["bar", ["a"]]}),
        ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
        ({"foo": ["bar", "qux"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar"]}),
        ({"baz": "qux"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo"}),
        (
            {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {}},
            [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
            {"foo": {"bar": "baz"}, "qux": {"thud": "fred"}},
        ),
        (
            {"foo": ["all", "grass", "cows", "eat"]},
            [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
            {"foo": ["all", "cows", "eat", "grass"]},
        ),
        (
            {"a": [1]},
            [{"op": "copy", "from": "/a", "path": "/b"}, {"op": "remove", "path": "/a/0"}],
            {"a": [], "b": [1]},
        ),
        ({"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "qux"}], {"baz": "qux"}),
        ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
        ({"a/b": 1}, [{"op": "replace", "path": "/a~1b", "value": 2}], {"a/b": 2}),
        ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
        ({"a": None}, [{"op": "test", "path": "/a", "value": None}], {"a": None}),
    ],
)
def test_json_patches_follow_the_rfc(
    document: Document, operations: list[Document], expected: Document
) -> None:
    before = copy.deepcopy(document)

    assert json_patch(document, operations) == expected
    assert document == before


@pytest.mark.parametrize(
    ("operation", "complaint"),
    [
        ({"op": "add", "path": "/missing/a", "value": 1}, "does not exist"),
        ({"op": "add", "path": "/list/9", "value": 1}, "no list element '9'"),
        ({"op": "add", "path": "/list/01", "value": 1}, "no list element '01'"),
        ({"op": "add", "path": "/list/-1", "value": 1}, "no list element"),
        ({"op": "add", "path": "/text/a", "value": 1}, "nothing that can hold"),
        ({"op": "remove", "path": "/list/-"}, "no list element"),
        ({"op": "remove", "path": "/missing"}, "does not exist"),
        ({"op": "remove", "path": ""}, "whole object"),
        ({"op": "replace", "path": "/missing", "value": 1}, "does not exist"),
        ({"op": "replace", "path": "", "value": 1}, "no object"),
        ({"op": "explode", "path": "/one"}, "unknown op"),
        ({"op": "move", "from": "/map", "path": "/map/a/b"}, "into itself"),
        ({"op": "copy", "from": "/missing", "path": "/a"}, "does not exist"),
        ({"op": "test", "path": "/one", "value": True}, "another value"),
        ({"op": "test", "path": "/list", "value": [2, 1]}, "another value"),
    ],
)
def test_a_json_patch_that_does_not_fit_is_refused(operation: Document, complaint: str) -> None:
    document: Document = {"list": [1, 2], "text": "t", "map": {"a": {}}, "one": 1}

    with pytest.raises(Invalid, match=complaint) as refused:
        json_patch(document, [operation])
    assert not isinstance(refused.value, Malformed)


@pytest.mark.parametrize(
    "operation",
    [
        {},
        {"op": "add", "value": 1},
        {"op": "add", "path": "/a"},
        {"op": "add", "path": "a", "value": 1},
        {"op": "move", "path": "/a"},
        {"op": "copy", "from": 3, "path": "/a"},
    ],
)
def test_what_is_no_json_patch_is_malformed(operation: Document) -> None:
    with pytest.raises(Malformed, match="operation 0"):
        json_patch({"a": 1}, [operation])


def test_a_json_patch_of_too_many_operations_is_refused() -> None:
    with pytest.raises(Malformed, match="10000"):
        json_patch({"a": 1}, [{"op": "test", "path": "/a", "value": 1}] * 10_001)


@given(DOCUMENTS, KEYS, VALUES)
def test_what_is_added_is_found_there_and_removed_again(document: Document, key: str, value: JSON) -> None:
    pointer = "/" + key.replace("~", "~0").replace("/", "~1")

    added = json_patch(document, [{"op": "add", "path": pointer, "value": value}])
    tested = json_patch(
        added, [{"op": "test", "path": pointer, "value": value}, {"op": "remove", "path": pointer}]
    )

    assert tested == {other: kept for other, kept in document.items() if other != key}


def test_copies_that_double_each_other_end_before_they_fill_the_memory() -> None:
    document: Document = {"a": ["x" * 100]}
    itself_again = [{"op": "copy", "from": "/a", "path": "/a/-"}] * 40

    with pytest.raises(TooLarge, match="copies more than 3145728 bytes"):
        json_patch(document, itself_again)
