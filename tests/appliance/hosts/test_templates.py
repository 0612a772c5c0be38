"""Templates, sanitising and escaping, with the values that facts/wire-protocol.md records."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.protocol.documents import JSON
from appliance.hosts.templates import (
    Facts,
    Malformed,
    NotKnown,
    escape_text,
    is_random,
    render_template,
    sanitise_label,
    sanitise_name,
)

FACTS: Facts = {
    "System Information": {"Serial Number": "SN-0001", "Flags:": ["a", "b"]},
    "CPU": {"TotalThreads": "8", "Processors": {"0": {"Model": "A<B>"}}},
    "Runtime": {"Hostname": "vm"},
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        ("${Runtime/Hostname}", "vm"),
        ("node-${System Information/Serial Number}-${CPU/TotalThreads}", "node-SN-0001-8"),
        ("${CPU/Processors/0/Model}", "A<B>"),
        ("open ${Runtime/Hostname", "open ${Runtime/Hostname"),
        ("${Random/Int/1}", "0"),
    ],
)
def test_a_variable_becomes_what_the_host_sent(template: str, expected: str) -> None:
    assert render_template(template, FACTS) == expected


CHOICES: Facts = {
    "System Information": {"Serial Number": "To Be Filled By O.E.M.", "Family": "Edge"},
    "Base Board Information": {"Serial Number": "B-1"},
    "Product": {"SerialNumber": "unknown", "SKU": ""},
    "Odd": {"a|b": "odd"},
    "GPU": {"TotalCards": "0"},
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("${Rack/Unit|unknown}", "unknown"),
        ("${System Information/Family|unknown}", "Edge"),
        ("${System Information/Serial Number|none}", "none"),
        ("${System Information/Serial Number|Base Board Information/Serial Number|none}", "B-1"),
        ("${Product/SerialNumber|Product/SKU|x}", "x"),
        ("${Rack/Unit|}", ""),
        ("${GPU/TotalCards|none}", "0"),
        ("${Odd/a|b}", "odd"),
        ("${Rack/Unit|Random/Int/1}", "0"),
        ("a-${Rack/Unit|two words}-b", "a-two words-b"),
    ],
)
def test_a_choice_is_the_first_value_worth_having_or_the_text(template: str, expected: str) -> None:
    assert render_template(template, CHOICES) == expected


@pytest.mark.parametrize("template", ["${Rack/Unit|Rack/Row}", "${Nothing|Rack/Row}", "${Rack/Unit|n/a}"])
def test_a_choice_of_variables_alone_can_be_not_known(template: str) -> None:
    with pytest.raises(NotKnown):
        render_template(template, CHOICES)


def test_the_first_choice_is_a_variable_even_without_a_slash() -> None:
    assert render_template("${Nothing|text}", CHOICES) == "text"


def test_a_variable_alone_is_taken_at_its_word_as_upstream_does() -> None:
    assert render_template("${System Information/Serial Number}", CHOICES) == "To Be Filled By O.E.M."
    assert render_template("${Product/SKU}", CHOICES) == ""


def upstream_value(variable: str, facts: Facts) -> JSON:
    """What upstream's parser finds: the text between the braces is split at slashes, and nothing else."""
    value: JSON = dict(facts)
    for step in variable.split("/"):
        value = value.get(step) if isinstance(value, dict) else None
    return value


@given(
    st.dictionaries(
        st.text("ab|", max_size=3),
        st.dictionaries(st.text("ab|", max_size=3), st.text(max_size=2)),
        max_size=4,
    ),
    st.text("ab|/", max_size=6),
)
def test_whatever_upstream_resolves_is_the_same_here(facts: dict[str, JSON], variable: str) -> None:
    theirs = upstream_value(variable, facts)
    if isinstance(theirs, str):
        assert render_template(f"${{{variable}}}", facts) == theirs


def test_upstream_takes_a_choice_for_one_unknown_name() -> None:
    """So a label of ours that upstream renders is left out there, and never wrong."""
    assert upstream_value("System Information/Family|unknown", CHOICES) is None


@pytest.mark.parametrize(
    "template",
    ["${Nothing}", "${CPU}", "${CPU/TotalThreads/More}", "${System Information/Flags:}", "${}", "${/}"],
)
def test_a_value_that_is_no_text_is_not_known(template: str) -> None:
    with pytest.raises(NotKnown):
        render_template(template, FACTS)


@pytest.mark.parametrize(
    "template",
    [
        "${Random}",
        "${Random/Hex/0}",
        "${Random/Hex/33}",
        "${Random/Hex/x}",
        "${Random/Int/0}",
        "${Random/Int/-1}",
        "${Random/UUID/1}",
        "${Random/Int/99999999999999999999}",
        "${Random/Hex/²}",
    ],
)
def test_a_random_that_makes_no_sense_is_malformed(template: str) -> None:
    with pytest.raises(Malformed, match="Random"):
        render_template(template, FACTS)


def test_random_values_have_their_form() -> None:
    assert re.fullmatch(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", render_template("${Random/UUID}", {}))
    assert re.fullmatch(r"[0-9a-f]{7}", render_template("${Random/Hex/7}", {}))
    assert 0 <= int(render_template("${Random/Int/5}", {})) < 5
    assert is_random("a-${Random/Hex/3}")
    assert is_random("${Runtime/Hostname|Random/UUID}")
    assert not is_random("${Runtime/Hostname}")
    assert not is_random("Random/UUID")


def test_a_template_cannot_multiply_a_large_value_without_end() -> None:
    with pytest.raises(Malformed, match="grows beyond"):
        render_template("${A}" * 1_000_000, {"A": "x" * 100_000})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Static_Name.x!", "static-name.x"),
        ("--a  b--", "a-b"),
        ("ÄÖ", ""),
        ("a" * 57 + "!" + "b" * 10, "a" * 57),
        ("a" * 70, "a" * 58),
    ],
)
def test_names_keep_letters_digits_and_dots(text: str, expected: str) -> None:
    assert sanitise_name(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("Val ue", "Val-ue"), ("a_b.c/d", "a_b.c-d"), ("_x_", "x")])
def test_label_values_also_keep_underscores(text: str, expected: str) -> None:
    assert sanitise_label(text) == expected


@given(st.text(max_size=200))
def test_whatever_was_sent_the_result_is_a_valid_label_value(text: str) -> None:
    for sanitised in (sanitise_label(text), sanitise_name(text)):
        assert len(sanitised) <= 58
        assert re.fullmatch(r"([0-9A-Za-z]([0-9A-Za-z._-]*[0-9A-Za-z])?)?", sanitised)


def test_escaping_is_that_of_go() -> None:
    assert escape_text("a&b<c>d'e\"f\r\n") == "a&amp;b&lt;c&gt;d&#39;e&#34;f"
