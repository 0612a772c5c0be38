"""Framing, payloads, versions and limits of the conversation's messages."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.protocol.errors import Malformed, ProtocolError, TooLarge, Unexpected
from agent.protocol.messages import (
    MAX_CHALLENGE_BYTES,
    MAX_DATA_BYTES,
    MAX_MAP_BYTES,
    MAX_MESSAGE_BYTES,
    Challenge,
    Message,
    MessageType,
    choose_version,
    expect_message,
    parse_challenge,
    parse_challenge_answer,
    parse_error,
    parse_message,
    parse_object,
    parse_string_map,
    parse_version,
    render_challenge,
    render_challenge_answer,
    render_error,
    render_object,
    render_version,
)


def test_the_numbers_are_those_of_the_wire() -> None:
    assert {number.name: number.value for number in MessageType} == {
        "READY": 1, "SMBIOS": 2, "LABELS": 3, "GET": 4, "VERSION": 5, "SYSTEM": 6, "CONFIG": 7, "ERROR": 8,
        "ANNOTATIONS": 9, "UPDATE": 10, "SYSTEM_DATA_V2": 11,
    }  # fmt: skip


def test_a_version_is_two_bytes() -> None:
    assert render_version(12) == b"\x05\x0c"
    assert parse_version(parse_message(b"\x05\x0c").payload) == 12


@pytest.mark.parametrize("payload", [b"", b"\x0c\x00"])
def test_a_version_of_another_length_is_malformed(payload: bytes) -> None:
    with pytest.raises(Malformed, match="one byte"):
        parse_version(payload)


@pytest.mark.parametrize(("offered", "chosen"), [(5, 5), (11, 11), (12, 12), (13, 12), (255, 12)])
def test_the_lower_version_is_used(offered: int, chosen: int) -> None:
    assert choose_version(offered) == chosen


@pytest.mark.parametrize("offered", [0, 4])
def test_a_version_that_is_too_old_is_refused(offered: int) -> None:
    with pytest.raises(Unexpected, match="too old"):
        choose_version(offered)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x0c", b"\xff{}"])
def test_a_message_without_a_known_type_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_message(data)


def test_a_message_over_the_limit_is_refused() -> None:
    assert parse_message(b"\x02" * MAX_MESSAGE_BYTES).type == MessageType.SMBIOS
    with pytest.raises(TooLarge, match=str(MAX_MESSAGE_BYTES)):
        parse_message(b"\x02" * (MAX_MESSAGE_BYTES + 1))


def test_an_expected_message_comes_through_and_another_does_not() -> None:
    assert expect_message(b"\x01", MessageType.READY) == Message(MessageType.READY)
    with pytest.raises(Unexpected, match="expected READY, got CONFIG"):
        expect_message(b"\x07{}", MessageType.READY)
    with pytest.raises(Unexpected, match="no such machine"):
        expect_message(render_error("no such machine"), MessageType.READY)


def test_an_error_is_written_as_the_real_server_writes_it() -> None:
    assert render_error("MachineInventory not found") == b"\x08message: MachineInventory not found\n"


@given(st.text(max_size=200).filter(str.strip))
def test_an_errors_text_survives_the_wire(text: str) -> None:
    try:
        rendered = render_error(text)
    except UnicodeEncodeError:  # a lone surrogate is not text
        return
    assert parse_error(rendered[1:]) == text


@pytest.mark.parametrize("payload", [b"", b"message:", b"[", b"- 1", b"\xff", b"message: x\n" * 10_000])
def test_an_unreadable_error_is_still_an_error(payload: bytes) -> None:
    assert parse_error(payload).startswith("an error without a")


def test_a_challenge_is_compact() -> None:
    assert render_challenge(Challenge(b"abc", b"d")) == b'{"EC":{"Credential":"YWJj","Secret":"ZA=="}}'


@given(st.builds(Challenge, st.binary(max_size=80), st.binary(max_size=260)))
def test_a_challenge_survives_the_wire(challenge: Challenge) -> None:
    assert parse_challenge(render_challenge(challenge)) == challenge


def test_a_challenge_longer_than_the_client_reads_is_never_sent() -> None:
    room = MAX_CHALLENGE_BYTES - len(render_challenge(Challenge(b"", b"")))
    fits = Challenge(bytes(room // 4 * 3), b"")

    assert len(render_challenge(fits)) <= MAX_CHALLENGE_BYTES
    with pytest.raises(TooLarge):
        render_challenge(Challenge(fits.credential + bytes(3), b""))


def test_an_answer_is_read_as_the_real_client_sends_it() -> None:
    captured = b'{"Secret":"ChOvcbLKKYZpCKs4ZSpr6+6ZEwS0lPQHBiQHnraRtJo="}\n'

    assert len(captured) == 58
    assert len(parse_challenge_answer(captured)) == 32
    assert render_challenge_answer(parse_challenge_answer(captured)) == captured.rstrip()


def test_an_oversized_answer_is_refused() -> None:
    with pytest.raises(TooLarge):
        parse_challenge_answer(b" " * (MAX_CHALLENGE_BYTES + 1))


def test_an_object_is_sent_with_a_newline() -> None:
    assert render_object(MessageType.LABELS, {"foo": "bar"}) == b'\x03{"foo":"bar"}\n'


def test_an_object_over_the_limit_is_refused() -> None:
    with pytest.raises(TooLarge):
        parse_object(b" " * (MAX_DATA_BYTES + 1), what="the SMBIOS data")


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'"x"', b"7", b"\xff", b'{"a":1}x'])
def test_data_that_is_no_object_is_malformed(payload: bytes) -> None:
    with pytest.raises(Malformed, match="the SMBIOS data"):
        parse_object(payload, what="the SMBIOS data")


@pytest.mark.parametrize("payload", [b"[]", b'{"a":1}', b'{"a":null}', b'{"a":{}}', b'{"a":"b"', b""])
def test_labels_that_are_not_all_strings_are_malformed(payload: bytes) -> None:
    with pytest.raises(Malformed, match="the labels"):
        parse_string_map(payload, what="the labels")


def test_labels_over_the_limit_are_refused() -> None:
    payload = json.dumps({"a": "x" * MAX_MAP_BYTES}).encode()

    with pytest.raises(TooLarge):
        parse_string_map(payload, what="the labels")


keys = st.sampled_from(["EC", "Secret", "Credential", "a"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner),
)


@given(st.binary(max_size=300) | values.map(lambda value: json.dumps(value).encode()))
def test_any_payload_is_read_or_is_our_own_error(payload: bytes) -> None:
    def parse_map(data: bytes) -> object:
        return parse_string_map(data, what="x")

    def parse_tree(data: bytes) -> object:
        return parse_object(data, what="x")

    for parse in (
        parse_challenge,
        parse_challenge_answer,
        parse_map,
        parse_tree,
        parse_version,
        parse_message,
    ):
        try:
            parse(payload)
        except ProtocolError:
            continue


@pytest.mark.parametrize("payload", [b"[" * 100_000, b'{"a":' * 100_000])
def test_deep_nesting_is_our_own_error(payload: bytes) -> None:
    with pytest.raises(Malformed):
        parse_object(payload, what="the system data")
