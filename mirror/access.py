"""Who may do what in which repository: the rules as a value, and the verdict. Pure: it knows no passwords.

A file of rules is TOML. The first rule whose pattern fits the repository decides; where none fits, anyone may
pull, and whoever is signed in may push and delete. `*` stands for one part of a name, `**` for any number.

    [[rule]]
    repository = "teams/a/**"
    pull = ["alice", "bob"]        # names, or the words "anyone" and "signed-in"; an empty list is nobody
    push = ["alice", "@ci"]        # an action that is left out is as without a rule; @ci is a group

`{user}` in a pattern is the name of who asks, so `{user}/**` is to everybody what is below the own name.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import msgspec

from mirror.errors import SettingInvalid
from mirror.settings import read_setting

Action = Literal["pull", "push", "delete"]
ANYONE: Final = "anyone"
SIGNED_IN: Final = "signed-in"
GROUP: Final = "@"
USER: Final = "{user}"
MAX_RULES_BYTES: Final = 1024 * 1024

_PATTERN = re.compile(r"([a-z0-9*]|\{user\})([a-z0-9._*/-]|\{user\})*")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    repository: str
    pull: tuple[str, ...] = (ANYONE,)
    push: tuple[str, ...] = (SIGNED_IN,)
    delete: tuple[str, ...] = (SIGNED_IN,)


class _Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rule: tuple[Rule, ...] = ()


DEFAULT_RULE: Final = Rule("**")
OPEN_RULE: Final = Rule("**", push=(ANYONE,), delete=(ANYONE,))


@dataclass(frozen=True, slots=True)
class User:
    """Who asks. The name is empty for who is not signed in."""

    name: str = ""
    groups: frozenset[str] = field(default_factory=frozenset)


NOBODY: Final = User()


@dataclass(frozen=True, slots=True)
class Policy:
    """`otherwise` is for repositories that no rule fits."""

    rules: tuple[Rule, ...] = ()
    otherwise: Rule = DEFAULT_RULE

    def may(self, user: User, action: Action, repository: str) -> bool:
        rule = next((rule for rule in self.rules if _fits(rule.repository, repository, user)), self.otherwise)
        return _names(getattr(rule, action), user)

    def may_see_all(self, user: User) -> bool:
        """Nothing is hidden from them: what lists all repositories, or mounts from any, asks this."""
        return all(_names(rule.pull, user) for rule in (*self.rules, self.otherwise))


def parse_rules(content: bytes, *, name: str) -> Policy:
    """Raises SettingInvalid, which says what is wrong in `name`."""
    try:
        rules = msgspec.toml.decode(content, type=_Rules).rule
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise SettingInvalid(f"the rules of access in {name} cannot be read: {error}") from error
    for rule in rules:
        if not _PATTERN.fullmatch(rule.repository):
            raise SettingInvalid(
                f"{rule.repository!r} in {name} is no pattern of repositories",
                hint="write names with * for one part and ** for any number, as in teams/**",
            )
    return Policy(rules)


def load_rules(path: Path) -> Policy:
    return parse_rules(read_setting(path, most=MAX_RULES_BYTES), name=str(path))


def _names(who: Sequence[str], user: User) -> bool:
    if ANYONE in who:
        return True
    if not user.name:
        return False
    is_named = user.name in who and not user.name.startswith(GROUP)
    return SIGNED_IN in who or is_named or any(f"{GROUP}{group}" in who for group in user.groups)


def _fits(pattern: str, repository: str, user: User) -> bool:
    if USER not in pattern:
        return _compile(pattern).fullmatch(repository) is not None
    return user.name != "" and _compile(pattern, user.name).fullmatch(repository) is not None


@lru_cache(maxsize=10_000)
def _compile(pattern: str, user: str = "") -> re.Pattern[str]:
    """`a/**` fits everything below a, and not a itself. A user's name is never itself a pattern."""
    parts = re.split(r"(\*\*|\*|\{user\})", pattern)
    words = {"**": ".+", "*": "[^/]+", USER: re.escape(user)}
    return re.compile("".join(words.get(part, re.escape(part)) for part in parts))
