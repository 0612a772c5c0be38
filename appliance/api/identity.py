"""Who is asking, and whether they may: one middleware and one check, for every route of the appliance.

Over the socket the kernel says who it is: the daemon's own uid and root are administrators. Over TLS it is a
bearer token (the administrator's, a user's, a ServiceAccount's, a host's) or a client certificate that is in
the register of users. What they may is `appliance.access`'s to say. A host's token dies with its
MachineInventory. An administrator may ask as somebody else (`kubectl --as`).
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web
from aiohttp.typedefs import Middleware

from appliance.access.accounts import ACCOUNTS, AccountTokens
from appliance.access.evaluator import Evaluator
from appliance.access.roles import HOST_PREFIX, HOSTS
from appliance.access.rules import ACCOUNT_PREFIX, AUTHENTICATED, Asked, Caller
from appliance.access.users import Users
from appliance.api.problems import BadRequest, Forbidden, Unauthorized
from appliance.credentials import AdminToken, HostTokens
from appliance.errors import ApplianceFault
from appliance.resources.machine_inventory import MACHINE_INVENTORY, MachineInventory
from appliance.resources.meta import decode
from appliance.store.base import NotFound, Store, StoreError

CALLER = web.RequestKey("caller", Caller)  # who is asking
RECHECKED = web.RequestKey("rechecked", float)  # when that was last looked up again, by the loop's clock
SPEAKER = web.RequestKey("speaker", Caller)  # who proved themselves, whomever they ask to be taken for
EVALUATOR = web.AppKey("evaluator", Evaluator)
RECHECK_SECONDS = 5.0  # how long a stream may outlive the right to it
HOST_RECHECK_SECONDS = 60.0

# Paths that anybody may ask for: they name no host.
PUBLIC_PATHS = frozenset(("/healthz", "/livez", "/readyz", "/metrics"))
MAX_IMPERSONATED_GROUPS = 64

ANONYMOUS = Caller("system:anonymous", ("system:unauthenticated",))
ADMINISTRATOR = Caller("skerry:admin", ("admin", AUTHENTICATED))

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Authenticator:
    """The ways in."""

    store: Store
    hosts: HostTokens
    admin: AdminToken
    users: Users
    accounts: AccountTokens
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def identify(self, request: web.Request) -> Caller:
        """Who sent the request. A token that was given counts alone. Raises Unauthorized."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme:
            if scheme.lower() != "bearer":
                raise Unauthorized(
                    f"The authorization scheme {scheme[:20]!r} is not known here; it is Bearer."
                )
            caller = await self.identify_token(token.strip())
            if caller is None:
                raise Unauthorized(
                    "The token is not valid here.", hint="A host gets a new one by registering again."
                )
            return caller
        if is_trusted_peer(request):
            return ADMINISTRATOR
        if serial := _certificate_serial(request):
            caller = self.users.identify_certificate(serial, now=self.now())
            if caller is None:
                raise Unauthorized(
                    "The certificate is not valid here: it expired, was revoked or is no user's.",
                    hint="skerry kubeconfig --mtls on the box makes a new one.",
                )
            return caller
        raise Unauthorized("This needs a token.", hint="skerry kubeconfig on the box prints one.")

    async def identify_token(self, token: str) -> Caller | None:
        """Whom a bearer token speaks for now, if for anybody. Raises StoreError."""
        if self.admin.matches(token):
            return ADMINISTRATOR
        claimed = self.hosts.identify(token)
        if claimed is not None:
            if await self._is_still_known(claimed.namespace, claimed.name, claimed.uid):
                name = f"{HOST_PREFIX}{claimed.namespace}:{claimed.name}"
                return Caller(name, (HOSTS, AUTHENTICATED), claimed.uid)
            return None
        now = self.now()
        return self.users.identify_token(token, now=now) or await self.accounts.identify(token, now=now)

    async def _is_still_known(self, namespace: str, name: str, uid: str) -> bool:
        try:
            document = await self.store.get(MACHINE_INVENTORY, name, namespace=namespace)
        except NotFound:
            return False
        inventory = decode(MachineInventory, document)
        return inventory.token_uid == uid and inventory.approval == "approved"


AUTHENTICATOR = web.AppKey("authenticator", Authenticator)


def identify_callers(authenticator: Authenticator, *, open_routes: Collection[str] = ()) -> Middleware:
    """Middleware that puts a `Caller` on every request, and refuses strangers where they have no business.

    `open_routes` are route patterns whose handlers authenticate in their own way (a TPM, a host's token).
    """

    @web.middleware
    async def identify(request: web.Request, handler: Next) -> web.StreamResponse:
        request[CALLER] = ANONYMOUS
        if _pattern(request) not in {*PUBLIC_PATHS, *open_routes}:
            speaker = request[SPEAKER] = await authenticator.identify(request)
            request[CALLER] = await _impersonated(request, speaker)
        return await handler(request)

    return identify


async def check_access(request: web.Request, asked: Asked) -> None:
    """Raise Forbidden unless the caller may."""
    caller = request[CALLER]
    if not await request.app[EVALUATOR].is_allowed(caller, asked):
        raise Forbidden(_refusal(caller, asked), hint=_hint(caller))


async def recheck_access(request: web.Request, asked: Asked) -> None:
    """Ask again who this is and whether they may, for what lasts. Raises Unauthorized, Forbidden.

    A host must be looked up for that, and thousands of them watch: those once a minute.
    """
    now = asyncio.get_running_loop().time()
    if HOSTS in request[CALLER].groups and now - request.setdefault(RECHECKED, now) < HOST_RECHECK_SECONDS:
        return
    request[RECHECKED] = now
    authenticator = request.app[AUTHENTICATOR]
    request[CALLER] = await _impersonated(request, await authenticator.identify(request))
    await check_access(request, asked)


async def cancel_when_refused(task: asyncio.Task[object], request: web.Request, asked: Asked) -> None:
    """Cancel what serves a stream as soon as its caller may no longer."""
    with contextlib.suppress(ApplianceFault, StoreError):
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            await recheck_access(request, asked)
    task.cancel()


def is_trusted_peer(request: web.Request) -> bool:
    """Whether the other end of a unix socket is a process of our own user, or of root."""
    connection = request.transport.get_extra_info("socket") if request.transport else None
    if connection is None or connection.family != socket.AF_UNIX:
        return False
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid in (0, os.geteuid())


async def _impersonated(request: web.Request, caller: Caller) -> Caller:
    """The caller, or whom they ask to be taken for, as Kubernetes' Impersonate headers say it."""
    if not any(header.startswith("Impersonate-") for header in map(str.title, request.headers)):
        return caller
    name = request.headers.get("Impersonate-User", "")
    groups = request.headers.getall("Impersonate-Group", [])
    if not name or len(groups) > MAX_IMPERSONATED_GROUPS:
        raise BadRequest("Impersonation needs an Impersonate-User and at most 64 groups.")
    evaluator = request.app[EVALUATOR]
    for resource, wanted in (("users", name), *(("groups", group) for group in groups)):
        asked = Asked("impersonate", resource=resource, name=wanted)
        if not await evaluator.is_allowed(caller, asked):
            raise Forbidden(_refusal(caller, asked), hint=_hint(caller))
    if name.startswith(ACCOUNT_PREFIX) and not groups:
        groups = [ACCOUNTS, f"{ACCOUNTS}:{name.split(':')[2]}"]
    return Caller(name, (*groups, AUTHENTICATED), request.headers.get("Impersonate-Uid", ""))


def _refusal(caller: Caller, asked: Asked) -> str:
    """In Kubernetes' own words, which people search for."""
    if asked.path:
        return f'User "{caller.name}" cannot {asked.verb} path "{asked.path}"'
    resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    subject = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    name = f' "{asked.name}"' if asked.name else ""
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    return (
        f'{subject}{name} is forbidden: User "{caller.name}" cannot {asked.verb} resource "{resource}"'
        f' in API group "{asked.group}" {where}'
    )


def _hint(caller: Caller) -> str:
    return "A host's token opens that host's plan only." if HOSTS in caller.groups else ""


def _certificate_serial(request: web.Request) -> str:
    """The serial of the client's certificate, hex; empty without one. TLS has verified that we issued it."""
    certificate = request.transport.get_extra_info("peercert") if request.transport else None
    return str(certificate.get("serialNumber", "")) if certificate else ""


def _pattern(request: web.Request) -> str:
    """The pattern of the route that will answer; empty when there is none."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""
