"""The CA, the server certificate and the tokens: private from the first byte, found again, never mixed up."""

import base64
import os
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from appliance.credentials import SERVER_LIFETIME, AdminToken, Authority, HostTokens

NAMES = ("localhost", "127.0.0.1", "::1", "box.local")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_keys_and_tokens_are_readable_by_their_owner_alone_under_any_umask(
    tmp_path: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        authority = Authority.load_or_create(tmp_path / "pki")
        authority.keep_server_certificate(tmp_path / "pki", NAMES)
        HostTokens.load_or_create(tmp_path / "pki" / "host-token.key")
        AdminToken.load_or_create(tmp_path / "admin.token")
    finally:
        os.umask(before)

    secrets = ("pki/ca.key", "pki/server.key", "pki/host-token.key", "admin.token")
    assert {name: mode(tmp_path / name) for name in secrets} == dict.fromkeys(secrets, 0o600)
    assert mode(tmp_path / "pki") == 0o700


def test_a_second_start_finds_the_same_authority_certificate_and_tokens(tmp_path: Path) -> None:
    def start() -> dict[str, bytes]:
        authority = Authority.load_or_create(tmp_path / "pki")
        authority.keep_server_certificate(tmp_path / "pki", NAMES)
        AdminToken.load_or_create(tmp_path / "admin.token")
        return {str(path): path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}

    first = start()

    assert start() == first
    assert len(first) == 5


def test_nothing_temporary_is_left_beside_the_keys(tmp_path: Path) -> None:
    Authority.load_or_create(tmp_path).keep_server_certificate(tmp_path, NAMES)

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ca.crt",
        "ca.key",
        "server.crt",
        "server.key",
    ]


def test_an_authority_torn_by_a_crash_is_made_anew(tmp_path: Path) -> None:
    Authority.load_or_create(tmp_path)
    (tmp_path / "ca.key").unlink()

    again = Authority.load_or_create(tmp_path)

    chain, _ = again.issue_server_certificate(NAMES)
    leaf = x509.load_pem_x509_certificate(chain)
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate((tmp_path / "ca.crt").read_bytes()))


def issued(tmp_path: Path, names: tuple[str, ...], now: datetime) -> bytes:
    authority = Authority.load_or_create(tmp_path)
    return authority.keep_server_certificate(tmp_path, names, now=now).certificate.read_bytes()


def test_the_server_certificate_is_renewed_when_its_names_change_or_its_end_is_near(tmp_path: Path) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    first = issued(tmp_path, NAMES, start)

    assert issued(tmp_path, NAMES, start + timedelta(days=300)) == first
    other_names = issued(tmp_path, (*NAMES, "10.0.0.9"), start)
    assert other_names != first
    assert issued(tmp_path, (*NAMES, "10.0.0.9"), start + SERVER_LIFETIME - timedelta(days=30)) != other_names


def test_a_server_key_that_does_not_fit_its_certificate_is_replaced(tmp_path: Path) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    first = issued(tmp_path / "a", NAMES, now)
    issued(tmp_path / "b", NAMES, now)
    (tmp_path / "a" / "server.key").write_bytes((tmp_path / "b" / "server.key").read_bytes())

    assert issued(tmp_path / "a", NAMES, now) != first
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "a" / "server.crt", tmp_path / "a" / "server.key")


@pytest.mark.parametrize(
    "content", [b"", b"not PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_damaged_server_certificate_is_replaced(tmp_path: Path, content: bytes) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    issued(tmp_path, NAMES, now)
    (tmp_path / "server.crt").write_bytes(content)

    x509.load_pem_x509_certificate(issued(tmp_path, NAMES, now))


def test_certificates_are_valid_for_a_machine_whose_clock_stands_at_the_epoch(tmp_path: Path) -> None:
    chain = issued(tmp_path, NAMES, datetime(2026, 1, 1, tzinfo=UTC))

    for certificate in x509.load_pem_x509_certificates(chain):
        assert certificate.not_valid_before_utc <= datetime(1970, 1, 2, tzinfo=UTC)


def test_a_host_token_is_the_same_every_time_and_identifies_its_host() -> None:
    tokens = HostTokens(b"k" * 32)

    token = tokens.issue(namespace="fleet-default", name="m-1", uid="u1")

    assert token == tokens.issue(namespace="fleet-default", name="m-1", uid="u1")
    identity = tokens.identify(token.reveal())
    assert identity is not None
    assert (identity.namespace, identity.name, identity.uid) == ("fleet-default", "m-1", "u1")


def test_a_host_token_shows_nothing_of_itself() -> None:
    token = HostTokens(b"k" * 32).issue(namespace="n", name="m", uid="u")

    assert token.reveal() not in f"{token} {token!r} {[token]}"


def test_tokens_of_another_appliance_are_not_known() -> None:
    token = HostTokens(b"a" * 32).issue(namespace="n", name="m", uid="u").reveal()

    assert HostTokens(b"b" * 32).identify(token) is None


@given(position=st.integers(min_value=0), replacement=st.characters(min_codepoint=33, max_codepoint=126))
def test_changing_any_character_of_a_host_token_spoils_it(position: int, replacement: str) -> None:
    tokens = HostTokens(b"k" * 32)
    token = tokens.issue(namespace="fleet-default", name="m-1", uid="u1").reveal()
    at = position % len(token)
    changed = token[:at] + replacement + token[at + 1 :]

    identity = tokens.identify(changed)

    # The last character of base64 carries spare bits; whatever decodes to the same bytes is the same token.
    if identity is not None:
        assert same_bytes(changed, token)


def same_bytes(one: str, two: str) -> bool:
    def decode(text: str) -> list[bytes]:
        return [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in text.split(".")[1:]]

    return one.split(".")[0] == two.split(".")[0] and decode(one) == decode(two)


@pytest.mark.parametrize(
    "token", ["", ".", "..", "skh1..", "skh1.e30.AAAA", "skh1." + "A" * 4096 + ".AAAA", "skh1.ü.AAAA"]
)
def test_what_is_no_token_identifies_nobody(token: str) -> None:
    assert HostTokens(b"k" * 32).identify(token) is None


@given(st.text(max_size=200))
def test_no_text_makes_identify_fail(text: str) -> None:
    assert HostTokens(b"k" * 32).identify(f"skh1.{text}") is None


def test_the_admin_token_matches_itself_only(tmp_path: Path) -> None:
    admin = AdminToken.load_or_create(tmp_path / "admin.token")
    text = (tmp_path / "admin.token").read_text().strip()

    assert admin.matches(text)
    assert not admin.matches(text[:-1])
    assert not admin.matches("")
    assert not admin.matches("\udcff")
    assert text not in repr(admin.secret)
