"""Tokens that sign somebody in: a file of their digests, written by whoever hands the tokens out.

A line is the token's SHA-256 in hex, a user, and the groups of that user, separated by commas. The mirror
knows no token and nothing of how one is made, so reading its files lets nobody in, and taking a line away
takes the token back. One plain hash is enough for what is random; passwords belong into `mirror.htpasswd`.
"""

import hashlib
import logging
import re
from pathlib import Path
from typing import Final

from mirror.access import User
from mirror.errors import SettingInvalid
from mirror.settings import read_setting, stamp_of

log = logging.getLogger(__name__)

MAX_FILE_BYTES: Final = 32 * 1024 * 1024

_LINE = re.compile(r"([0-9a-f]{64})\s+(\S{1,512})(?:\s+([a-z0-9-]+(?:,[a-z0-9-]+)*))?")


def parse_tokens(content: bytes, *, name: str) -> dict[str, User]:
    """Digest to user. Raises SettingInvalid with the number of the bad line."""
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError as error:
        raise SettingInvalid(f"{name} is not UTF-8") from error
    users: dict[str, User] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise SettingInvalid(
                f"line {number} of {name} is not a digest, a user and groups",
                hint="make the digest with: printf %s TOKEN | sha256sum",
            )
        users[match[1]] = User(match[2], frozenset(filter(None, (match[3] or "").split(","))))
    return users


def digest_token(token: str) -> str:
    """What stands for a token in the file."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


class TokenFile:
    """The file is read again when it changed; a change that cannot be read leaves it as it was."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = stamp_of(path)
        self._users = self._load()

    def find(self, token: str) -> User | None:
        """Whose token it is, as the file says now."""
        self._refresh()
        return self._users.get(digest_token(token))

    def _load(self) -> dict[str, User]:
        return parse_tokens(read_setting(self._path, most=MAX_FILE_BYTES), name=str(self._path))

    def _refresh(self) -> None:
        try:
            stamp = stamp_of(self._path)
            if stamp == self._stamp:
                return
            self._users = self._load()
        except (OSError, SettingInvalid) as error:
            log.warning("%s: not read again: %s", self._path, error)
            return
        self._stamp = stamp
