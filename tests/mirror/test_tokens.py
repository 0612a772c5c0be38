"""Tokens that sign in: the file, and what it means over a real socket, also when a line is taken away."""

from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from mirror.access import User, parse_rules
from mirror.errors import SettingInvalid
from mirror.guard import Guard
from mirror.htpasswd import PasswordFile
from mirror.oci import digest_of
from mirror.tokens import MAX_FILE_BYTES, TokenFile, digest_token, parse_tokens
from tests.mirror.running import RunningMirror
from tests.mirror.serving import ServingMirror
from tests.mirror.test_guard import basic

RULES = parse_rules(
    b"""
[[rule]]
repository = "{user}/**"
push = ["signed-in"]

[[rule]]
repository = "**"
push = ["@admins", "@users"]
""",
    name="rules",
)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def write(path: Path, *tokens: str) -> Path:
    lines = ["# digest user groups"]
    for token in tokens:
        groups = " admins" if token == "root" else " hosts"
        lines.append(f"{digest_token(token)} {'admin' if token == 'root' else token}{groups}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return write(tmp_path / "tokens", "m-1", "m-2", "root")


@pytest.fixture
def mirror(tmp_path: Path, tokens: Path) -> Iterator[RunningMirror]:
    (tmp_path / "htpasswd").write_bytes(b"bob:" + bcrypt.hashpw(b"b-pass", bcrypt.gensalt(4)) + b"\n")
    guard = Guard(passwords=PasswordFile(tmp_path / "htpasswd"), tokens=TokenFile(tokens), policy=RULES)
    with RunningMirror(tmp_path / "root", guard=guard) as running:
        yield running


def push(mirror: RunningMirror | ServingMirror, repository: str, headers: dict[str, str]) -> int:
    path = f"/v2/{repository}/blobs/uploads/?digest={digest_of(b'x')}"
    return mirror.ask("POST", path, b"x", headers=headers).status


@pytest.mark.parametrize("credentials", [bearer("m-1"), basic("whatever", "m-1"), basic("", "m-1")])
def test_a_token_signs_in_as_bearer_or_as_any_users_password(
    mirror: RunningMirror, credentials: dict[str, str]
) -> None:
    assert push(mirror, "m-1/logs", credentials) == 201
    assert push(mirror, "m-2/logs", credentials) == 403
    assert push(mirror, "skerry/os", credentials) == 403


def test_tokens_and_passwords_stand_side_by_side(mirror: RunningMirror) -> None:
    assert push(mirror, "skerry/os", bearer("root")) == 201
    assert push(mirror, "skerry/os", basic("bob", "b-pass")) == 201
    assert push(mirror, "skerry/os", {}) == 401
    assert mirror.ask("GET", f"/v2/skerry/os/blobs/{digest_of(b'x')}").status == 200


@pytest.mark.parametrize("credentials", [bearer("m-3"), bearer(""), basic("m-1", "m-3"), bearer("é")])
def test_a_token_that_is_not_in_the_file_opens_nothing(
    mirror: RunningMirror, credentials: dict[str, str]
) -> None:
    assert push(mirror, "m-3/logs", credentials) == 401
    assert mirror.ask("GET", "/v2/", headers=credentials).status == 401


def test_a_token_whose_line_is_taken_away_is_dead_at_once(mirror: RunningMirror, tokens: Path) -> None:
    assert push(mirror, "m-1/logs", bearer("m-1")) == 201

    write(tokens.with_suffix(".new"), "m-2").replace(tokens)

    assert push(mirror, "m-1/logs", bearer("m-1")) == 401
    assert push(mirror, "m-2/logs", bearer("m-2")) == 201


def test_a_change_that_cannot_be_read_leaves_the_tokens_as_they_were(
    mirror: RunningMirror, tokens: Path
) -> None:
    tokens.write_text("nonsense\n")
    assert push(mirror, "m-1/logs", bearer("m-1")) == 201

    tokens.unlink()
    assert push(mirror, "m-1/logs", bearer("m-1")) == 201


def test_without_rules_whoever_has_a_token_may_push(tmp_path: Path, tokens: Path) -> None:
    with ServingMirror(tmp_path / "root", "--tokens", str(tokens)) as serving:
        assert push(serving, "anywhere", bearer("m-1")) == 201
        assert push(serving, "anywhere", {}) == 401
        assert push(serving, "anywhere", basic("m-1", "wrong")) == 401
        ping = serving.ask("GET", "/v2/")
        assert (ping.status, "WWW-Authenticate" in ping.headers) == (200, True)


@pytest.mark.parametrize(
    "line",
    [
        b"m-1",
        b"0" * 63 + b" m-1",
        b"0" * 64,
        b"G" * 64 + b" m-1",
        b"0" * 64 + b" m-1 Hosts",
        b"0" * 64 + b" m-1 hosts,",
        b"0" * 64 + b" m-1 hosts admins",
        b"0" * 64 + b" " + b"m" * 513,
    ],
)
def test_a_bad_line_is_refused_by_its_number_and_not_shown(line: bytes) -> None:
    with pytest.raises(SettingInvalid, match=r"^line 2 of tokens is not a digest, a user and groups$"):
        parse_tokens(b"# comment\n" + line, name="tokens")


def test_what_is_not_utf_8_is_refused() -> None:
    with pytest.raises(SettingInvalid, match="not UTF-8"):
        parse_tokens(b"\xff", name="tokens")


def test_a_file_of_tokens_has_a_largest_size(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)

    with pytest.raises(SettingInvalid, match="larger than"):
        TokenFile(path)


def test_a_user_may_have_several_tokens_and_no_group() -> None:
    lines = f"{digest_token('a')} alice\n\n{digest_token('b')}   alice\tci,night\n"

    assert parse_tokens(lines.encode(), name="tokens") == {
        digest_token("a"): User("alice"),
        digest_token("b"): User("alice", frozenset({"ci", "night"})),
    }
