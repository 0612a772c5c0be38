"""Tokens of ServiceAccounts, as `kubectl create token` asks for them: signed, short-lived, kept nowhere.

The account's uid is in the token, so that a namesake gets nothing; deleting the account revokes all of them.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from agent.protocol.secrets import SecretText
from appliance.access.rules import ACCOUNT_PREFIX, AUTHENTICATED, Caller
from appliance.credentials import SignedTokens, load_or_create_key
from appliance.resources.service_account import SERVICE_ACCOUNT
from appliance.store.base import Invalid, NotFound, Store

TOKEN_PREFIX = "sks1"  # noqa: S105 - a format name, not a secret
ACCOUNTS = "system:serviceaccounts"
SHORTEST, LONGEST, USUAL = timedelta(minutes=10), timedelta(days=365), timedelta(hours=1)


class AccountClaim(msgspec.Struct, frozen=True, array_like=True):
    namespace: str
    name: str
    uid: str
    expires: int


class AccountTokens:
    """Issues the tokens and knows whom one speaks for."""

    def __init__(self, store: Store, key: bytes) -> None:
        self._store = store
        self._tokens = SignedTokens(key, prefix=TOKEN_PREFIX, claim=AccountClaim)

    @classmethod
    def load_or_create(cls, store: Store, path: Path) -> "AccountTokens":
        return cls(store, load_or_create_key(path))

    async def issue(
        self, namespace: str, name: str, *, lifetime: timedelta = USUAL, now: datetime
    ) -> tuple[SecretText, datetime]:
        """A token for an account that exists. Raises NotFound, and Invalid for a lifetime out of bounds."""
        if not SHORTEST <= lifetime <= LONGEST:
            raise Invalid(
                "spec.expirationSeconds: a token lives"
                f" {SHORTEST.total_seconds():.0f} to {LONGEST.total_seconds():.0f} seconds"
            )
        account = await self._store.get(SERVICE_ACCOUNT, name, namespace=namespace)
        expires = (now + lifetime).replace(microsecond=0)
        claim = AccountClaim(namespace, name, account["metadata"]["uid"], int(expires.timestamp()))
        return self._tokens.issue(claim), expires

    async def identify(self, token: str, *, now: datetime) -> Caller | None:
        """Whom the token speaks for, while it is fresh and its account exists. Raises StoreError."""
        claim = self._tokens.read(token)
        if claim is None or datetime.fromtimestamp(claim.expires, UTC) <= now:
            return None
        try:
            account = await self._store.get(SERVICE_ACCOUNT, claim.name, namespace=claim.namespace)
        except NotFound:
            return None
        if account["metadata"]["uid"] != claim.uid:
            return None
        groups = (ACCOUNTS, f"{ACCOUNTS}:{claim.namespace}", AUTHENTICATED)
        return Caller(f"{ACCOUNT_PREFIX}{claim.namespace}:{claim.name}", groups, claim.uid)
