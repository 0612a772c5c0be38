"""YAML and JSON from the other end: read alike, bounded, and never somebody else's exception."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.protocol.documents import (
    JSON,
    MAX_DEPTH,
    as_object,
    parse_json,
    parse_yaml,
    render_json,
    render_yaml,
)
from agent.protocol.errors import Malformed, ProtocolError, TooLarge

LIMIT = 100_000

printable = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20)
trees: st.SearchStrategy[JSON] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | printable,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(printable, inner, max_size=4),
    max_leaves=12,
)


def read_yaml(payload: bytes) -> JSON:
    return parse_yaml(payload, what="the document", limit=LIMIT)


@given(trees)
def test_yaml_that_we_write_is_read_back(tree: JSON) -> None:
    assert read_yaml(render_yaml(tree)) == tree


@given(trees)
def test_json_is_read_as_yaml_too(tree: JSON) -> None:
    assert read_yaml(render_json({"a": tree})) == {"a": tree}


def test_a_flow_mapping_that_is_not_json_is_still_yaml() -> None:
    assert read_yaml(b"{a: [1, b]}") == {"a": [1, "b"]}


def test_text_of_several_lines_is_a_block() -> None:
    assert render_yaml({"ca": "a\nb\n"}) == b"ca: |\n    a\n    b\n"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-11-20T19:05:01.894092196Z", "2026-11-20T19:05:01.894092196Z"),
        ("2024-01-01", "2024-01-01"),
        ("on", "on"),
        ("yes", "yes"),
        ("12:30", "12:30"),
        ("02:03:04:05:06:07", "02:03:04:05:06:07"),
        ("1_000", "1_000"),
        ("true", True),
        ("42", 42),
        ("-1", -1),
        ("0x10", 16),
        ("0o17", 15),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("~", None),
        ("", None),
    ],
)
def test_plain_words_mean_what_go_takes_them_for(written: str, read: JSON) -> None:
    assert read_yaml(f"word: {written}".encode()) == {"word": read}


@pytest.mark.parametrize("key", ["1", "true", "null", "1.5", "on"])
def test_keys_become_text(key: str) -> None:
    assert read_yaml(f"{key}: a".encode()) == {key: "a"}


@pytest.mark.parametrize(
    "payload",
    [
        b"a: [",
        b"\xff\xfe\xfd",
        b"a: !!python/object:os.system {}",
        b"a: !!binary AAAA",
        b"a: !!set {x}",
        b"a: !!int x",
        b"a: !!float [1]",
        b"[a, b]: c",
        b"? {a: b}\n: c",
        b"--- a\n--- b",
        b"a: \x00",
        b"x: !!bool maybe",
    ],
)  # fmt: skip
def test_what_has_no_place_in_a_document_is_malformed(payload: bytes) -> None:
    with pytest.raises(Malformed, match="the document"):
        read_yaml(payload)


def test_aliases_are_refused_before_they_multiply() -> None:
    bomb = b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"

    with pytest.raises(Malformed, match="alias"):
        read_yaml(bomb)


@pytest.mark.parametrize("opening", [b"[", b"{a: ", b"- "])
def test_deep_nesting_is_refused(opening: bytes) -> None:
    with pytest.raises(Malformed, match=str(MAX_DEPTH)):
        read_yaml(opening * 10_000)


def test_a_document_over_its_limit_is_refused() -> None:
    with pytest.raises(TooLarge, match=r"the document has 100001 bytes; at most 100000"):
        read_yaml(b" " * (LIMIT + 1))
    with pytest.raises(TooLarge):
        parse_json(b" " * (LIMIT + 1), what="the document", limit=LIMIT)


@given(st.binary(max_size=200) | st.text("{}[]:,-&*!|>'\"#%@ab1 \n", max_size=60).map(str.encode))
def test_any_bytes_are_read_or_are_our_own_error(payload: bytes) -> None:
    for parse in (read_yaml, lambda data: parse_json(data, what="the document", limit=LIMIT)):
        try:
            parse(payload)
        except ProtocolError:
            continue


def test_an_absent_mapping_is_empty_and_a_list_is_none() -> None:
    assert as_object(None, what="it") == {}
    with pytest.raises(Malformed, match="it is not a mapping"):
        as_object([], what="it")
