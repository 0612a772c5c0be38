"""Bodies in YAML: what words mean, and texts that are small and would take the process or its time."""

import pytest

from appliance.api.kubernetes.bodies import MAX_YAML_BYTES, parse_yaml
from appliance.store.base import Malformed, TooLarge


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("22:30", "22:30"),
        ("1:20:30.5", "1:20:30.5"),
        ("2026-01-01", "2026-01-01"),
        ("1e3", 1000.0),
        ("0x1F", 31),
        ("0755", 493),
        ("-7", -7),
        ("1_000", 1000),
        ("on", True),
        ("~", None),
        ("!!str 5", "5"),
    ],
)
def test_words_mean_what_they_mean_to_kubernetes(text: str, value: object) -> None:
    assert parse_yaml(f"a: {text}".encode()) == {"a": value}


@pytest.mark.parametrize(
    "content",
    [
        b"- " * 100_000 + b"x",
        b"a: " + b"[" * 100_000,
        b"a: " + b"{b: " * 1_000,
        b"a: !!int '1" + b":1" * 100_000 + b"'",
        b"a: !!float '1" + b":1" * 1_000 + b"'",
        b"a: !!int ''",
        b"a: !!bool perhaps",
        b"a: 1e999",
        b"a: \xff",
    ],
    ids=[
        "lists in lines",
        "lists",
        "objects",
        "base 60",
        "base 60, float",
        "no digits",
        "no truth",
        "too large",
        "no UTF-8",
    ],
)
def test_what_would_hang_or_end_the_process_is_malformed(content: bytes) -> None:
    with pytest.raises(Malformed):
        parse_yaml(content)


def test_yaml_is_read_up_to_a_size_and_json_in_its_place_beyond_it() -> None:
    value = "x" * MAX_YAML_BYTES

    with pytest.raises(TooLarge, match="send application/json"):
        parse_yaml(f"a: {value}".encode())
    assert parse_yaml(f'{{"a": "{value}"}}'.encode()) == {"a": value}
