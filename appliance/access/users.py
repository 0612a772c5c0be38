"""The register of what was issued to people: a line a token or certificate, and whether it still counts.

What is not in the register opens nothing, whoever signed it; a token is kept as its digest only. The file is
written whole and durably before an issue or a revocation is acknowledged. Lines are dropped a while after
they stopped to count.

UserFault            (an ApplianceFault)
├── UserInvalid      a name, role or lifetime that cannot be
├── UserUnknown      nothing was issued to that name, or all of it was revoked
└── RegisterDamaged  the file cannot be read
"""

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec

from agent.protocol.secrets import SecretText
from appliance.access.roles import ROLES, RoleName
from appliance.access.rules import AUTHENTICATED, Caller
from appliance.credentials import Authority
from appliance.errors import ApplianceFault
from appliance.files import PRIVATE, make_private_directory, write_durably

TOKEN_PREFIX = "sku1."  # noqa: S105 - a format name, not a secret
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=10 * 365)
MAX_RECORDS = 10_000
KEPT_AFTER = timedelta(days=30)
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._@-]{0,61}[A-Za-z0-9])?")

Method = Literal["token", "certificate"]


class UserFault(ApplianceFault):
    """The register said no."""


class UserInvalid(UserFault):
    pass


class UserUnknown(UserFault):
    pass


class RegisterDamaged(UserFault):
    pass


class UserRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One token or certificate. `id` is a token's SHA-256 or a certificate's serial; times are RFC 3339."""

    name: str
    role: RoleName
    method: Method
    id: str
    issued: datetime
    expires: datetime
    issued_by: str = ""
    revoked: datetime | None = None

    def counts(self, now: datetime) -> bool:
        return self.revoked is None and now < self.expires


class Users:
    """The register, in memory and in its file. Belongs to one event loop."""

    def __init__(self, path: Path, records: Sequence[UserRecord]) -> None:
        self._path = path
        self._records = {(record.method, record.id): record for record in records}

    @classmethod
    def load(cls, path: Path) -> "Users":
        """Read the register; none yet is an empty one. Raises RegisterDamaged."""
        if not path.exists():
            return cls(path, ())
        try:
            return cls(path, msgspec.json.decode(path.read_bytes(), type=list[UserRecord]))
        except msgspec.DecodeError as error:
            raise RegisterDamaged(
                f"The register of users at {path} cannot be read: {error}.",
                hint="Restore it from a backup; removing it revokes all that was issued to people.",
            ) from error

    def issue_token(
        self, name: str, role: str, *, lifetime: timedelta, by: str, now: datetime
    ) -> tuple[SecretText, UserRecord]:
        """A new token and its line. Raises UserInvalid."""
        token = f"{TOKEN_PREFIX}{secrets.token_urlsafe(32)}"
        record = _new_record(name, role, "token", _digest(token), lifetime=lifetime, by=by, now=now)
        self._write(record, now=now)
        return SecretText(token), record

    def issue_certificate(
        self, authority: Authority, name: str, role: str, *, lifetime: timedelta, by: str, now: datetime
    ) -> tuple[str, SecretText, UserRecord]:
        """A new certificate and its key as PEM, and its line. Raises UserInvalid."""
        record = _new_record(name, role, "certificate", "", lifetime=lifetime, by=by, now=now)
        certificate, key, serial = authority.issue_client_certificate(name, role, expires=record.expires)
        record = msgspec.structs.replace(record, id=serial)
        self._write(record, now=now)
        return certificate.decode(), SecretText(key.decode()), record

    def identify_token(self, token: str, *, now: datetime) -> Caller | None:
        if not token.startswith(TOKEN_PREFIX) or len(token) > 128:
            return None
        return self._identify("token", _digest(token), now=now)

    def identify_certificate(self, serial: str, *, now: datetime) -> Caller | None:
        """Whom a certificate speaks for that the TLS layer has found to be ours; `serial` is hex."""
        return self._identify("certificate", serial.lower().lstrip("0"), now=now)

    def records(self) -> list[UserRecord]:
        """Every line, oldest first."""
        return sorted(self._records.values(), key=lambda record: (record.issued, record.id))

    def revoke(self, name: str, *, now: datetime) -> list[UserRecord]:
        """Take back all that counts under that name; returns those lines. Raises UserUnknown."""
        revoked = [
            msgspec.structs.replace(record, revoked=now.replace(microsecond=0))
            for record in self.records()
            if record.name == name and record.counts(now)
        ]
        if not revoked:
            raise UserUnknown(
                f"Nothing that still counts was issued to {name[:80]!r}.", hint="skerry user list"
            )
        self._write(*revoked, now=now)
        return revoked

    def _identify(self, method: Method, id: str, *, now: datetime) -> Caller | None:
        record = self._records.get((method, id))
        if record is None or not record.counts(now):
            return None
        return Caller(record.name, (record.role, AUTHENTICATED))

    def _write(self, *changed: UserRecord, now: datetime) -> None:
        records = self._records | {(record.method, record.id): record for record in changed}
        kept = {
            key: record
            for key, record in records.items()
            if now < (record.revoked or record.expires) + KEPT_AFTER
        }
        if len(kept) > MAX_RECORDS:
            raise UserInvalid(f"The register of users is full: it holds {MAX_RECORDS} lines.")
        make_private_directory(self._path.parent)
        write_durably(self._path, msgspec.json.encode(list(kept.values())), mode=PRIVATE)
        self._records = kept


def _new_record(
    name: str, role: str, method: Method, id: str, *, lifetime: timedelta, by: str, now: datetime
) -> UserRecord:
    if not NAME.fullmatch(name):
        raise UserInvalid(
            f"A user cannot be called {name[:80]!r}.",
            hint="Letters, digits, dot, dash, underscore and @; at most 63.",
        )
    if role not in ROLES:
        raise UserInvalid(f"There is no role {role[:40]!r}.", hint=f"Roles are {', '.join(ROLES)}.")
    if not SHORTEST <= lifetime <= LONGEST:
        raise UserInvalid("What is issued to people lives a minute to ten years.", hint="--expires 30d")
    issued = now.astimezone(UTC).replace(microsecond=0)
    fields = {"name": name, "role": role, "method": method, "id": id, "issued": issued}
    return msgspec.convert({**fields, "expires": issued + lifetime, "issuedBy": by[:256]}, UserRecord)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
