"""Who is asking, and whether they may: one middleware and one callback.

Over the socket the kernel says who it is: the daemon's own uid and root are administrators. Over TLS a
bearer token says it: the administrator's, or a host's. A host reaches its own plan Secret and its own
report, nothing else; its token dies with its MachineInventory.
"""

import os
import socket
import struct
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Literal

from aiohttp import web
from aiohttp.typedefs import Middleware

from appliance.api.kubernetes.statuses import Forbidden as KubernetesForbidden
from appliance.api.problems import Forbidden, Unauthorized
from appliance.credentials import AdminToken, HostTokens
from appliance.resources.machine_inventory import MACHINE_INVENTORY, MachineInventory
from appliance.resources.meta import Kind, decode
from appliance.store.base import NotFound, Store

IDENTITY = "identity"  # the key under which a request carries who is asking
PLAN_VERBS = frozenset(("get", "list", "watch", "patch", "update"))  # the system-agent writes it back whole

# Paths that anybody may ask for: they name no host.
PUBLIC_PATHS = frozenset(("/healthz", "/livez", "/readyz", "/metrics"))


@dataclass(frozen=True, slots=True)
class Identity:
    kind: Literal["admin", "host", "anonymous"]
    name: str = ""
    namespace: str = ""
    uid: str = ""


ANONYMOUS = Identity("anonymous")
ADMINISTRATOR = Identity("admin")

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


def identify_callers(
    store: Store, hosts: HostTokens, admin: AdminToken, *, open_routes: Collection[str] = ()
) -> Middleware:
    """Middleware that puts an `Identity` on every request, and refuses strangers where they have no business.

    `open_routes` are route patterns whose handlers authenticate in their own way (a TPM, a host's token).
    """

    @web.middleware
    async def identify(request: web.Request, handler: Next) -> web.StreamResponse:
        request[IDENTITY] = ANONYMOUS
        if _pattern(request) not in {*PUBLIC_PATHS, *open_routes}:
            request[IDENTITY] = await _identify(request, store, hosts, admin)
        return await handler(request)

    return identify


def check_admin(request: web.Request) -> None:
    """Raise Forbidden unless an administrator asks."""
    if request[IDENTITY].kind != "admin":
        raise Forbidden(
            "Only an administrator may do this.", hint="A host's token opens that host's plan only."
        )


def check_kubernetes(request: web.Request, verb: str, kind: Kind, namespace: str, name: str) -> None:
    """The Kubernetes routes' callback: administrators may all, a host its own plan Secret."""
    identity: Identity = request[IDENTITY]
    if identity.kind == "admin":
        return
    wanted = name or _named_by_selector(request)
    owns = (identity.kind, identity.namespace, identity.name) == ("host", namespace, wanted)
    if not owns or kind.plural != "secrets" or verb not in PLAN_VERBS:
        who = f"Host {identity.name}" if identity.kind == "host" else "A stranger"
        target = f"{kind.plural}/{name}" if name else kind.plural
        raise KubernetesForbidden(
            f"{who} may not {verb} {target} in namespace {namespace or 'all namespaces'}."
        )


async def _identify(request: web.Request, store: Store, hosts: HostTokens, admin: AdminToken) -> Identity:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if not scheme:
        if is_trusted_peer(request):
            return ADMINISTRATOR
        raise Unauthorized("This needs a token.", hint="skerry kubeconfig on the box prints one.")
    if scheme.lower() != "bearer":
        raise Unauthorized(f"The authorization scheme {scheme[:20]!r} is not known here; it is Bearer.")
    if admin.matches(token.strip()):
        return ADMINISTRATOR
    claimed = hosts.identify(token.strip())
    if claimed is not None:
        identity = Identity("host", claimed.name, claimed.namespace, claimed.uid)
        if await _is_still_known(store, identity):
            return identity
    raise Unauthorized("The token is not valid here.", hint="A host gets a new one by registering again.")


async def _is_still_known(store: Store, identity: Identity) -> bool:
    try:
        document = await store.get(MACHINE_INVENTORY, identity.name, namespace=identity.namespace)
    except NotFound:
        return False
    inventory = decode(MachineInventory, document)
    return inventory.metadata.uid == identity.uid and inventory.approval == "approved"


def is_trusted_peer(request: web.Request) -> bool:
    """Whether the other end of a unix socket is a process of our own user, or of root."""
    connection = request.transport.get_extra_info("socket") if request.transport else None
    if connection is None or connection.family != socket.AF_UNIX:
        return False
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid in (0, os.geteuid())


def _pattern(request: web.Request) -> str:
    """The pattern of the route that will answer; empty when there is none."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""


def _named_by_selector(request: web.Request) -> str:
    """The one name that a list or watch asks for by field selector, or nothing."""
    key, _, name = request.query.get("fieldSelector", "").partition("=")
    return name.removeprefix("=") if key == "metadata.name" and "," not in name else ""
