"""The register: what was issued counts until it expires or is revoked, also after a restart."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from appliance.access.rules import AUTHENTICATED, Caller
from appliance.access.users import KEPT_AFTER, RegisterDamaged, UserInvalid, Users, UserUnknown
from appliance.credentials import Authority

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pki" / "users.json"


@pytest.fixture
def users(path: Path) -> Users:
    return Users.load(path)


def issue(users: Users, name: str = "alice", role: str = "viewer", lifetime: timedelta = DAY) -> str:
    token, _ = users.issue_token(name, role, lifetime=lifetime, by="admin", now=NOW)
    return token.reveal()


def test_a_token_speaks_for_its_user_until_it_expires(users: Users) -> None:
    token = issue(users)

    assert users.identify_token(token, now=NOW) == Caller("alice", ("viewer", AUTHENTICATED))
    assert users.identify_token(token, now=NOW + DAY) is None
    assert users.identify_token(token + "x", now=NOW) is None
    assert users.identify_token("sku1.", now=NOW) is None


def test_the_register_outlives_a_restart_and_holds_no_token(users: Users, path: Path) -> None:
    token = issue(users)

    assert Users.load(path).identify_token(token, now=NOW) is not None
    assert token.encode() not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600


def test_revoking_takes_back_everything_of_one_user_at_once_and_for_good(users: Users, path: Path) -> None:
    tokens = [issue(users), issue(users, role="admin")]
    other = issue(users, name="bob")

    assert len(users.revoke("alice", now=NOW)) == 2

    for register in (users, Users.load(path)):
        assert [register.identify_token(token, now=NOW) for token in tokens] == [None, None]
        assert register.identify_token(other, now=NOW) is not None
    with pytest.raises(UserUnknown):
        users.revoke("alice", now=NOW)


def test_a_certificate_names_its_user_and_counts_by_its_serial(users: Users, tmp_path: Path) -> None:
    authority = Authority.load_or_create(tmp_path / "pki")

    pem, key, record = users.issue_certificate(
        authority, "alice", "operator", lifetime=DAY, by="admin", now=NOW
    )

    certificate = x509.load_pem_x509_certificate(pem.encode())
    names = {each.oid: each.value for each in certificate.subject}
    assert names == {NameOID.COMMON_NAME: "alice", NameOID.ORGANIZATION_NAME: "operator"}
    assert certificate.not_valid_after_utc == NOW + DAY
    assert "PRIVATE KEY" in key.reveal()
    assert "PRIVATE KEY" not in repr(key)
    assert users.identify_certificate(f"00{certificate.serial_number:X}", now=NOW) == Caller(
        "alice", ("operator", AUTHENTICATED)
    )
    users.revoke("alice", now=NOW)
    assert users.identify_certificate(record.id, now=NOW) is None


def test_a_certificate_of_ours_that_is_not_in_the_register_opens_nothing(
    users: Users, tmp_path: Path
) -> None:
    authority = Authority.load_or_create(tmp_path / "pki")
    _, _, serial = authority.issue_client_certificate("alice", "admin", expires=NOW + DAY)

    assert users.identify_certificate(serial, now=NOW) is None
    assert users.identify_certificate("", now=NOW) is None


@pytest.mark.parametrize(
    ("name", "role", "lifetime"),
    [
        ("", "viewer", DAY),
        ("system:admin", "viewer", DAY),
        ("a b", "viewer", DAY),
        ("-a", "viewer", DAY),
        ("a" * 64, "viewer", DAY),
        ("alice", "", DAY),
        ("alice", "cluster-admin", DAY),
        ("alice", "viewer", timedelta(seconds=1)),
        ("alice", "viewer", -DAY),
        ("alice", "viewer", timedelta(days=40_000)),
    ],
)
def test_what_cannot_be_issued_is_refused_and_not_kept(
    users: Users, path: Path, name: str, role: str, lifetime: timedelta
) -> None:
    with pytest.raises(UserInvalid):
        issue(users, name, role, lifetime)

    assert not path.exists()


def test_lines_that_long_stopped_to_count_are_dropped(users: Users) -> None:
    issue(users, name="gone")
    later = NOW + DAY + KEPT_AFTER

    users.issue_token("new", "viewer", lifetime=DAY, by="admin", now=later)

    assert [record.name for record in users.records()] == ["new"]


def test_a_damaged_register_stops_the_start_and_says_what_to_do(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b'[{"name": "alice"')

    with pytest.raises(RegisterDamaged, match="cannot be read") as damaged:
        Users.load(path)
    assert "backup" in damaged.value.hint
