"""The Authorization header: the captured one, ours, and the ones nobody should get in with."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.protocol.endorsement import hash_endorsement_key, hash_identifier, parse_endorsement
from agent.protocol.errors import Malformed, ProtocolError, TooLarge
from agent.protocol.token import (
    MAX_HEADER_CHARACTERS,
    AttestationKey,
    PlainToken,
    TpmToken,
    parse_authorization,
    render_authorization,
)
from tests.agent.protocol import vectors


def tpm_header(document: object) -> str:
    return "Bearer TPM" + base64.b64encode(json.dumps(document).encode()).decode()


def test_the_captured_header_gives_the_tpm_hash_of_the_vector() -> None:
    token = parse_authorization(vectors.AUTHORIZATION)

    assert isinstance(token, TpmToken)
    assert hash_endorsement_key(parse_endorsement(token.endorsement).key) == vectors.TPM_HASH


def test_the_captured_header_is_written_back_character_for_character() -> None:
    assert render_authorization(parse_authorization(vectors.AUTHORIZATION)) == vectors.AUTHORIZATION


def test_an_identifier_has_the_hash_of_the_vector() -> None:
    token = parse_authorization("Bearer PLAIN" + vectors.IDENTIFIER)

    assert token == PlainToken(vectors.IDENTIFIER)
    assert render_authorization(token) == "Bearer PLAIN" + vectors.IDENTIFIER
    assert hash_identifier(vectors.IDENTIFIER) == vectors.IDENTIFIER_HASH


blob = st.binary(max_size=100)


@given(st.builds(TpmToken, blob, st.builds(AttestationKey, blob, blob, blob, blob)))
def test_a_tpm_token_survives_the_header(token: TpmToken) -> None:
    assert parse_authorization(render_authorization(token)) == token


headers = (
    st.text(max_size=200)
    | st.text(max_size=200).map(lambda rest: f"Bearer TPM{rest}")
    | st.binary(max_size=200).map(lambda rest: f"Bearer TPM{base64.b64encode(rest).decode()}")
)


@given(headers)
def test_any_header_is_read_or_is_our_own_error(header: str) -> None:
    try:
        token = parse_authorization(header)
    except ProtocolError:
        return
    assert isinstance(token, PlainToken)


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Basic dXNlcg==", "bearer TPMe30=", "Bearer  TPMe30=", "Bearer token"],
)
def test_an_unknown_scheme_is_refused(header: str) -> None:
    with pytest.raises(Malformed, match="no known scheme"):
        parse_authorization(header)


@pytest.mark.parametrize("identifier", ["", "   ", "unknown", "Unknown"])
def test_an_identifier_that_many_machines_would_share_is_refused(identifier: str) -> None:
    with pytest.raises(Malformed, match="identifier is"):
        parse_authorization("Bearer PLAIN" + identifier)


@pytest.mark.parametrize(
    ("identifier", "message"),
    [("x" * 129, "129 characters"), ("a\x00b", "printable"), ("schön", "printable"), ("a\nb", "printable")],
)
def test_an_identifier_that_is_no_identifier_is_refused(identifier: str, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        parse_authorization("Bearer PLAIN" + identifier)


def test_an_oversized_header_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(TooLarge, match=str(MAX_HEADER_CHARACTERS)):
        parse_authorization("Bearer TPM" + "!" * MAX_HEADER_CHARACTERS)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "not a mapping"),
        ({}, "Public is not base64 text|EK is not base64 text"),
        ({"EK": "AA==", "AK": []}, "AK is not a mapping"),
        ({"EK": "AA==", "AK": {"Public": 7}}, "Public is not base64"),
        ({"EK": "A", "AK": {}}, "EK is not base64"),
        ({"EK": "AA==", "AK": {"UseTCSDActivationFormat": True}}, "TPM 1.2"),
    ],
)
def test_attestation_data_of_another_shape_is_malformed(document: object, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        parse_authorization(tpm_header(document))


def test_attestation_data_that_is_not_json_is_malformed() -> None:
    with pytest.raises(Malformed, match="not JSON"):
        parse_authorization("Bearer TPM" + base64.b64encode(b"{").decode())
