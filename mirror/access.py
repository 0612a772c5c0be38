"""Who may do what in which repository: the rules as a value, and the verdict. Pure: it knows no passwords.

A file of rules is TOML. The first rule whose pattern fits the repository decides; where none fits, anyone may
pull, and whoever is signed in may push and delete. `*` stands for one part of a name, `**` for any number.

    [[rule]]
    repository = "teams/a/**"
    pull = ["alice", "bob"]        # names, or the words "anyone" and "signed-in"; an empty list is nobody
    push = ["alice"]               # an action that is left out is as without a rule
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

import msgspec

from mirror.errors import SettingInvalid

Action = Literal["pull", "push", "delete"]
ANYONE: Final = "anyone"
SIGNED_IN: Final = "signed-in"
MAX_RULES_BYTES: Final = 1024 * 1024

_PATTERN = re.compile(r"[a-z0-9*][a-z0-9._*/-]*")


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
class Policy:
    """`otherwise` is for repositories that no rule fits. A user is a name, or nothing when not signed in."""

    rules: tuple[Rule, ...] = ()
    otherwise: Rule = DEFAULT_RULE

    def may(self, user: str, action: Action, repository: str) -> bool:
        rule = next((rule for rule in self.rules if _fits(rule.repository, repository)), self.otherwise)
        return _names(getattr(rule, action), user)

    def may_see_all(self, user: str) -> bool:
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
    with path.open("rb") as file:
        content = file.read(MAX_RULES_BYTES + 1)
    if len(content) > MAX_RULES_BYTES:
        raise SettingInvalid(f"{path} has more than the {MAX_RULES_BYTES} bytes that rules may have")
    return parse_rules(content, name=str(path))


def _names(who: Sequence[str], user: str) -> bool:
    return ANYONE in who or (user != "" and (SIGNED_IN in who or user in who))


def _fits(pattern: str, repository: str) -> bool:
    return _compile(pattern).fullmatch(repository) is not None


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    """`a/**` fits everything below a, and not a itself."""
    parts = re.split(r"(\*\*|\*)", pattern)
    words = {"**": ".+", "*": "[^/]+"}
    return re.compile("".join(words.get(part, re.escape(part)) for part in parts))
