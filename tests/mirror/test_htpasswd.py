"""htpasswd files and Authorization headers, right and wrong."""

import base64
import os
from pathlib import Path

import bcrypt
import pytest

from mirror.errors import CredentialsInvalid, SettingInvalid
from mirror.htpasswd import (
    MAX_FILE_BYTES,
    MAX_HEADER,
    REMEMBERED_SECONDS,
    Credentials,
    PasswordFile,
    parse_authorization,
    parse_htpasswd,
)

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4))
ALICE = Credentials("alice", "secret")


def basic(text: str | bytes) -> str:
    raw = text if isinstance(text, bytes) else text.encode()
    return "Basic " + base64.b64encode(raw).decode()


def written(tmp_path: Path, *users: str) -> Path:
    path = tmp_path / "htpasswd"
    path.write_bytes(b"".join(user.encode() + b":" + HASH + b"\n" for user in users))
    return path


@pytest.mark.parametrize(
    ("header", "user", "password"),
    [
        (basic("alice:secret"), "alice", "secret"),
        (basic("alice:se:cr:et"), "alice", "se:cr:et"),
        (basic("alice:"), "alice", ""),
        (basic("zoë:pässword"), "zoë", "pässword"),
        ("bAsIc   " + basic("a:b")[6:] + "  ", "a", "b"),
    ],
)
def test_a_good_header(header: str, user: str, password: str) -> None:
    assert parse_authorization(header) == Credentials(user, password)


def test_empty_credentials_are_nobodys() -> None:
    assert parse_authorization(basic(":")) is None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic YTp",
        "Basic YTpi YTpi",
        basic("nocolon"),
        basic(b"\xff\xfe:x"),
        "Bearer ",
        "Digest username=x",
        "YTpi",
        "Basic " + "A" * MAX_HEADER,
    ],
)
def test_a_bad_header_is_refused_and_not_repeated(header: str) -> None:
    with pytest.raises(CredentialsInvalid) as refused:
        parse_authorization(header)

    assert len(str(refused.value)) < 100


def test_a_password_is_in_no_representation() -> None:
    assert "secret" not in repr(ALICE)


@pytest.mark.parametrize(
    "line",
    [
        b"alice",
        b"alice:",
        b":" + HASH,
        b"alice:secret",
        b"alice:$apr1$abcdefgh$abcdefghijklmnopqrstuv",
        b"alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        b"alice:" + HASH[:-1],
        b"alice:" + HASH.replace(b"$04$", b"$31$"),
        b"\xff:" + HASH,
    ],
)
def test_a_bad_line_is_told_by_its_number(line: bytes) -> None:
    with pytest.raises(SettingInvalid, match="line 3 of passwords") as refused:
        parse_htpasswd(b"# who may push\n\n" + line + b"\n", name="passwords")

    assert "secret" not in str(refused.value)


def test_a_good_file() -> None:
    content = b"# c\n\nalice:" + HASH + b"\r\nbob:" + HASH.replace(b"$2b$", b"$2y$")

    assert list(parse_htpasswd(content, name="x")) == ["alice", "bob"]


def test_a_file_has_a_largest_size(tmp_path: Path) -> None:
    path = tmp_path / "htpasswd"
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))

    with pytest.raises(SettingInvalid, match="larger"):
        PasswordFile(path)


@pytest.mark.parametrize(
    ("user", "password", "is_right"),
    [
        ("alice", "secret", True),
        ("alice", "Secret", False),
        ("alice", "", False),
        ("alice", "secret\0", False),
        ("alice", "secret" + "x" * 100, False),
        ("bob", "secret", False),
        ("", "secret", False),
        ("bob", "nobody", False),  # the hash that stands in for missing users opens nothing
    ],
)
def test_who_is_right(tmp_path: Path, user: str, password: str, is_right: bool) -> None:
    assert PasswordFile(written(tmp_path, "alice")).is_right(Credentials(user, password)) is is_right


def test_who_was_right_is_remembered_for_a_while(tmp_path: Path) -> None:
    now = [0.0]
    passwords = PasswordFile(written(tmp_path, "alice"), now=lambda: now[0])
    assert not passwords.is_remembered(ALICE)

    passwords.is_right(Credentials("alice", "wrong"))
    passwords.is_right(ALICE)

    assert passwords.is_remembered(ALICE)
    assert not passwords.is_remembered(Credentials("alice", "wrong"))
    now[0] = REMEMBERED_SECONDS
    assert not passwords.is_remembered(ALICE)


def test_the_file_is_read_again_when_it_changed(tmp_path: Path) -> None:
    path = written(tmp_path, "alice")
    passwords = PasswordFile(path)
    assert passwords.is_right(ALICE)

    written(tmp_path, "bob", "carol")

    assert not passwords.is_right(ALICE)
    assert not passwords.is_remembered(ALICE)
    assert passwords.is_right(Credentials("carol", "secret"))


def test_a_change_that_cannot_be_read_leaves_it_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, "alice")
    passwords = PasswordFile(path)

    path.write_bytes(b"half a li")
    assert passwords.is_right(ALICE)
    os.unlink(path)
    assert passwords.is_right(ALICE)

    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
