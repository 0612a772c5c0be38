"""Tokens and certificates for people: issued, listed, revoked, each issue and revocation with an Event."""

import logging
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from appliance.access.users import UserRecord, Users
from appliance.api import contract as c
from appliance.api.problems import BadRequest
from appliance.credentials import Authority
from appliance.resources.core import EVENT
from appliance.store.base import Store, StoreError

log = logging.getLogger(__name__)


class UserDesk:
    """`authority` is None when there is no TLS, and so no use for a certificate."""

    def __init__(
        self, store: Store, users: Users, authority: Authority | None, *, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._users = users
        self._authority = authority
        self._now = now

    def list(self) -> c.UserList:
        return c.UserList(items=[self._view(record) for record in self._users.records()])

    async def issue(self, wanted: c.IssueUser, *, by: str) -> c.UserCredential:
        """Raises UserInvalid, and BadRequest for a certificate where there is no TLS."""
        lifetime = timedelta(seconds=wanted.lifetime_seconds)
        now = self._now()
        token = certificate = key = ""
        if wanted.method == "certificate":
            if self._authority is None:
                raise BadRequest("There is no TLS here, so a certificate would open nothing.")
            certificate, secret_key, record = self._users.issue_certificate(
                self._authority, wanted.name, wanted.role, lifetime=lifetime, by=by, now=now
            )
            key = secret_key.reveal()
        else:
            secret, record = self._users.issue_token(
                wanted.name, wanted.role, lifetime=lifetime, by=by, now=now
            )
            token = secret.reveal()
        await self._tell(
            record.name,
            "CredentialIssued",
            f"{by} issued a {record.method} with the role {record.role} to {record.name},"
            f" good until {_time(record.expires)}.",
        )
        return c.UserCredential(user=self._view(record), token=token, certificate=certificate, key=key)

    async def revoke(self, name: str, *, by: str) -> c.UserList:
        """Raises UserUnknown."""
        revoked = self._users.revoke(name, now=self._now())
        await self._tell(name, "CredentialsRevoked", f"{by} revoked {len(revoked)} of {name}.")
        return c.UserList(items=[self._view(record) for record in revoked])

    def _view(self, record: UserRecord) -> c.UserView:
        state: Literal["valid", "revoked", "expired"] = (
            "revoked" if record.revoked else "valid" if record.counts(self._now()) else "expired"
        )
        return c.UserView(
            name=record.name,
            role=record.role,
            method=record.method,
            id=record.id[:16],
            state=state,
            issued=_time(record.issued),
            expires=_time(record.expires),
            issued_by=record.issued_by,
        )

    async def _tell(self, name: str, reason: str, message: str) -> None:
        """The audit's Event. The register is what counts: it is written already."""
        seen = _time(self._now())
        reference = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "User",
            "name": name,
            "namespace": c.DEFAULT_NAMESPACE,
        }
        event = {
            "metadata": {"name": f"user.{secrets.token_hex(8)}", "namespace": c.DEFAULT_NAMESPACE},
            "involvedObject": reference,
            "reason": reason,
            "message": message,
            "type": "Normal",
            "count": 1,
            "firstTimestamp": seen,
            "lastTimestamp": seen,
        }
        log.info("user %s: %s", name, message)
        try:
            await self._store.create(EVENT, event)
        except StoreError as error:
            log.error("user %s: the event %s could not be written: %s", name, reason, error)


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
