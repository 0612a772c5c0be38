"""Passwords as htpasswd keeps them (`htpasswd -B`), and only as bcrypt. The only file that imports bcrypt.

bcrypt is slow on purpose, a twentieth of a second or more, so who was right a minute ago is not asked again.
"""

import base64
import binascii
import hashlib
import hmac
import logging
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import bcrypt

from mirror.errors import CredentialsInvalid, SettingInvalid
from mirror.settings import read_setting, stamp_of

log = logging.getLogger(__name__)

REMEMBERED_SECONDS: Final = 60.0
REMEMBERED_COUNT: Final = 1000
MAX_HEADER: Final = 4096
MAX_FILE_BYTES: Final = 1024 * 1024
MAX_COST: Final = 16  # seconds on a small box; more would hold a thread for minutes

_HASH = re.compile(rb"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_NOBODY: Final = bcrypt.hashpw(b"nobody", bcrypt.gensalt(10))


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client says it is. A bearer token comes without a user."""

    user: str
    password: str = field(repr=False)
    is_bearer: bool = False


def parse_authorization(header: str) -> Credentials | None:
    """Of `Basic` or `Bearer`. None for an empty user and password, which some clients send for nobody.

    Raises CredentialsInvalid.
    """
    if len(header) > MAX_HEADER:
        raise CredentialsInvalid(f"the Authorization header is longer than {MAX_HEADER} bytes")
    scheme, _, encoded = header.strip().partition(" ")
    if scheme.lower() == "bearer" and encoded.strip():
        return Credentials("", encoded.strip(), is_bearer=True)
    if scheme.lower() != "basic":
        raise CredentialsInvalid("this mirror takes Authorization: Basic, or Bearer where it knows tokens")
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise CredentialsInvalid("the Authorization header cannot be read") from error
    if not colon:
        raise CredentialsInvalid("the Authorization header has no password")
    return Credentials(user, password) if user or password else None


def parse_htpasswd(content: bytes, *, name: str) -> dict[str, bytes]:
    """User to hash. Raises SettingInvalid with the number of the bad line, never with its text."""
    users: dict[str, bytes] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip() or line.startswith(b"#"):
            continue
        user, _, hashed = line.strip().partition(b":")
        match = _HASH.fullmatch(hashed)
        if not user or match is None:
            raise SettingInvalid(
                f"line {number} of {name} is not a user and a bcrypt hash", hint="make it with: htpasswd -B"
            )
        if int(match[1]) > MAX_COST:
            raise SettingInvalid(f"line {number} of {name} has a cost over {MAX_COST}")
        try:
            users[user.decode()] = hashed
        except UnicodeDecodeError as error:
            raise SettingInvalid(f"line {number} of {name} has a user that is not UTF-8") from error
    return users


class PasswordFile:
    """The file is read again when it changed; a change that cannot be read leaves it as it was."""

    def __init__(self, path: Path, *, now: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._now = now
        self._key = os.urandom(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._stamp = stamp_of(path)
        self._users: Mapping[str, bytes] = _load(path)

    def is_remembered(self, credentials: Credentials) -> bool:
        """They were right not long ago. Quick, for the event loop."""
        until = self._right.get(self._mark(credentials))
        return until is not None and self._now() < until

    def is_right(self, credentials: Credentials) -> bool:
        """Slow, for a thread. Takes as long for users that there are not."""
        self._refresh()
        hashed = self._users.get(credentials.user)
        password = credentials.password.encode()
        is_checkable = len(password) <= 72 and b"\0" not in password  # what bcrypt can tell apart
        is_same = bcrypt.checkpw(password if is_checkable else b"", hashed or _NOBODY)
        if hashed is None or not is_checkable or not is_same:
            return False
        self._right[self._mark(credentials)] = self._now() + REMEMBERED_SECONDS
        while len(self._right) > REMEMBERED_COUNT:
            self._right.popitem(last=False)
        return True

    def _mark(self, credentials: Credentials) -> bytes:
        """What is remembered is no password, and is worth nothing to another process."""
        text = f"{credentials.user}:{credentials.password}".encode()
        return hmac.digest(self._key, text, hashlib.sha256)

    def _refresh(self) -> None:
        try:
            stamp = stamp_of(self._path)
            if stamp == self._stamp:
                return
            self._users = _load(self._path)
        except (OSError, SettingInvalid) as error:
            log.warning("%s: not read again: %s", self._path, error)
            return
        self._stamp = stamp
        self._right.clear()


def _load(path: Path) -> dict[str, bytes]:
    return parse_htpasswd(read_setting(path, most=MAX_FILE_BYTES), name=str(path))
