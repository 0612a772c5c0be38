"""The requests and replies about whom the appliance trusts: TPM makers, tokens, doubtful identities."""

from typing import Literal

import msgspec

from appliance.api.contract import API_VERSION, Reply, Request


class ResolveRequest(Request, frozen=True, kw_only=True):
    """`keep`: the record is right as it is. `replace`: what came newly is the machine."""

    choice: Literal["keep", "replace"]
    by: str = ""


class RotateRequest(Request, frozen=True, kw_only=True):
    """How long media with the old token go on working."""

    grace_seconds: int = msgspec.field(default=0)


class RotatedToken(Reply, frozen=True, kw_only=True):
    registration: str
    token: str
    url: str


class RootsRequest(Request, frozen=True, kw_only=True):
    """Certificates of TPM makers, and revocation lists, as PEM."""

    pem: str


class RootView(Reply, frozen=True, kw_only=True):
    id: str
    type: Literal["root", "intermediate", "revocations"]
    name: str
    ends: str = ""


class RootList(Reply, frozen=True, kw_only=True):
    items: list[RootView]
    kind: str = "RootList"
    api_version: str = API_VERSION
