"""The rules of access, purely: tables of who may what, and files of rules that are wrong."""

from pathlib import Path

import pytest

from mirror.access import (
    DEFAULT_RULE,
    MAX_RULES_BYTES,
    NOBODY,
    OPEN_RULE,
    Action,
    Policy,
    User,
    load_rules,
    parse_rules,
)
from mirror.errors import SettingInvalid

RULES = b"""
[[rule]]
repository = "teams/a/*"
pull = ["alice", "bob"]
push = ["alice"]
delete = []

[[rule]]
repository = "teams/**"
pull = ["signed-in"]
"""


@pytest.mark.parametrize(
    ("user", "action", "repository", "is_allowed"),
    [
        ("alice", "push", "teams/a/app", True),
        ("bob", "pull", "teams/a/app", True),
        ("bob", "push", "teams/a/app", False),
        ("alice", "delete", "teams/a/app", False),
        ("", "pull", "teams/a/app", False),
        ("carol", "pull", "teams/a/app", False),
        ("carol", "pull", "teams/a/deep/app", True),  # one star is one part
        ("carol", "push", "teams/b", True),
        ("", "pull", "teams/b", False),
        ("", "pull", "teams", True),  # no rule fits it
        ("", "pull", "teamsters/x", True),
        ("", "push", "other", False),
        ("carol", "delete", "other", True),
        ("anyone", "push", "teams/a/app", False),  # a user of that name is nobody special
        ("signed-in", "push", "teams/a/app", False),
    ],
)
def test_the_first_rule_that_fits_decides(
    user: str, action: Action, repository: str, is_allowed: bool
) -> None:
    assert parse_rules(RULES, name="rules").may(User(user), action, repository) is is_allowed


def test_without_rules_reading_is_free_and_writing_is_for_users() -> None:
    policy = Policy(otherwise=DEFAULT_RULE)

    assert [policy.may(NOBODY, action, "a") for action in ("pull", "push", "delete")] == [True, False, False]
    assert [policy.may(User("u"), action, "a") for action in ("pull", "push", "delete")] == [True, True, True]
    assert Policy(otherwise=OPEN_RULE).may(NOBODY, "delete", "a")


def test_who_may_see_all() -> None:
    policy = parse_rules(RULES, name="rules")

    assert policy.may_see_all(User("alice"))
    assert not policy.may_see_all(User("carol"))
    assert not policy.may_see_all(NOBODY)
    assert Policy().may_see_all(NOBODY)


GROUPS = b"""
[[rule]]
repository = "{user}/**"
push = ["signed-in"]

[[rule]]
repository = "**"
push = ["@admins", "eve"]
"""


@pytest.mark.parametrize(
    ("name", "groups", "repository", "may_push"),
    [
        ("hosts/m-1", ["hosts"], "hosts/m-1/logs", True),
        ("hosts/m-1", ["hosts"], "hosts/m-1/deep/logs", True),
        ("hosts/m-1", ["hosts"], "hosts/m-1", False),
        ("hosts/m-1", ["hosts"], "hosts/m-2/logs", False),
        ("hosts/m-1", ["hosts"], "skerry/os", False),
        ("hosts", ["hosts"], "hosts/m-1/logs", True),
        ("admin", ["admins"], "hosts/m-1/logs", True),
        ("admin", ["users", "admins"], "skerry/os", True),
        ("eve", [], "skerry/os", True),
        ("@admins", [], "skerry/os", False),  # a user of that name is no group
        ("*", [], "a/b", False),  # nor is a user a pattern
        (".*", [], "a/b", False),
        ("", ["admins"], "skerry/os", False),
    ],
)
def test_groups_and_the_place_of_ones_own(
    name: str, groups: list[str], repository: str, may_push: bool
) -> None:
    user = User(name, frozenset(groups))

    assert parse_rules(GROUPS, name="rules").may(user, "push", repository) is may_push


@pytest.mark.parametrize(
    "content",
    [
        b"[[rule]]\nrepository = '{host}/a'",
        b"[[rule]]\npull = ['a']",
        b"[[rule]]\nrepository = 'a'\npul = ['a']",
        b"[[rule]]\nrepository = 'a'\npull = 'a'",
        b"[[rule]]\nrepository = ''",
        b"[[rule]]\nrepository = '/a'",
        b"[[rule]]\nrepository = 'A b'",
        b"rule = 7",
        b"not toml",
        b"\xff",
    ],
)
def test_rules_that_are_wrong_are_refused_with_the_files_name(content: bytes) -> None:
    with pytest.raises(SettingInvalid, match=r"access\.toml"):
        parse_rules(content, name="access.toml")


def test_a_file_of_rules_has_a_largest_size(tmp_path: Path) -> None:
    path = tmp_path / "access.toml"
    path.write_bytes(b"#" * (MAX_RULES_BYTES + 1))

    with pytest.raises(SettingInvalid, match="larger than"):
        load_rules(path)

    path.write_bytes(RULES)
    assert len(load_rules(path).rules) == 2
