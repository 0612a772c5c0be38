"""Label and field selectors in Kubernetes' text form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.resources.core import EVENT, SECRET
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.store.base import Malformed
from appliance.store.selectors import parse_field_selector, parse_label_selector, selectable_fields

LABELS = {"site": "north", "example.com/line": "7", "empty": ""}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("  ", True),
        ("site=north", True),
        ("site==north", True),
        ("site = north", True),
        ("site=south", False),
        ("site!=south", True),
        ("missing!=x", True),
        ("site in (south, north)", True),
        ("site notin (south,west)", True),
        ("missing notin (a)", True),
        ("missing in (a)", False),
        ("site", True),
        ("!site", False),
        ("!missing", True),
        ("empty=", True),
        ("missing=", False),
        ("example.com/line>6", True),
        ("example.com/line<7", False),
        ("site>1", False),
        ("missing<1", False),
        ("site=north,example.com/line in (6,7),!missing", True),
        ("site=north,missing", False),
    ],
)
def test_label_selectors_match_as_kubernetes_matches(text: str, matches: bool) -> None:
    assert parse_label_selector(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    "text",
    [
        "=",
        "a=b=c",
        "a b",
        "a in b",
        "a in (b",
        "a,,b",
        ",",
        "-a=b",
        "a=-",
        "a=" + "x" * 64,
        "a>b",
        "a/b/c=d",
        "x" * 20_000,
    ],
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_label_selector(text)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_label_selector(text).matches(LABELS)
    except Malformed:
        return


def test_fields_that_differ_by_kind_are_selected_by_name() -> None:
    event = {"metadata": {"name": "e", "namespace": "n"}, "involvedObject": {"uid": "1"}, "reason": "Ready"}
    fields = selectable_fields(EVENT, event)

    assert parse_field_selector("involvedObject.uid=1,reason!=Failed,metadata.namespace=n", EVENT).matches(
        fields
    )
    assert not parse_field_selector("involvedObject.uid=2", EVENT).matches(fields)
    assert parse_field_selector("type=Opaque", SECRET).matches({"type": "Opaque"})


def test_a_field_that_cannot_be_selected_by_is_named_with_those_that_can() -> None:
    with pytest.raises(
        Malformed, match=r"machineinventories cannot be selected by the field 'spec\.tpmHash'"
    ) as refused:
        parse_field_selector("spec.tpmHash=1", MACHINE_INVENTORY)
    assert "metadata.name" in refused.value.hint


def test_only_an_exact_name_is_pinned() -> None:
    def pinned(text: str) -> str | None:
        return parse_field_selector(text, MACHINE_INVENTORY).pinned("metadata.name")

    assert pinned("metadata.name=a") == "a"
    assert pinned("metadata.namespace=a") is None
    assert pinned("metadata.name!=a") is None
