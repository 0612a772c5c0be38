"""The table of `/skerry/v1`: what can be asked, sent and answered. The server and OpenAPI follow it."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from appliance.api import contract as c


@dataclass(frozen=True, slots=True)
class Route:
    """`name` is the handler's and OpenAPI's name. A stream answers JSON lines of `reply`."""

    method: Literal["GET", "POST"]
    path: str
    name: str
    summary: str
    reply: type[msgspec.Struct]
    request: type[msgspec.Struct] | None = None
    status: int = 200
    is_stream: bool = False
    query: tuple[str, ...] = ()

    @property
    def resource(self) -> str:
        """What roles call it: the first word of the path that is no namespace."""
        return self.path.removeprefix("/namespaces/{namespace}").split("/")[1]

    @property
    def verb(self) -> str:
        """What roles call what is done: reading, making a new one, or changing one that is there."""
        if self.method == "GET":
            return "watch" if self.is_stream else "get" if "{" in self.path else "list"
        return "update" if "{" in self.path else "create"


HOST = "/namespaces/{namespace}/hosts/{name}"
OPERATION = "/operations/{id}"

ROUTES: tuple[Route, ...] = (
    Route("GET", "/version", "show_version", "What runs here", c.VersionInfo),
    Route("GET", "/access", "show_access", "What another machine needs to get in", c.Access),
    Route("GET", "/hosts", "list_hosts", "Every host", c.HostList, query=("namespace", "labelSelector")),
    Route("GET", HOST, "show_host", "One host", c.HostView),
    Route("POST", f"{HOST}/approve", "approve_host", "Let a waiting host in", c.HostView, c.ApproveRequest),
    Route("POST", f"{HOST}/reject", "reject_host", "Turn a host away", c.HostView, c.RejectRequest),
    Route("GET", "/inbox", "list_inbox", "Hosts that were heard of, or wait for a decision", c.InboxList),
    Route(
        "POST",
        "/inbox/pair",
        "pair_machine",
        "Give a machine that shows a code a registration",
        c.PairedView,
        c.PairRequest,
    ),
    Route("GET", "/bundles", "list_bundles", "Bundles that were loaded", c.BundleList),
    Route("GET", "/trust", "list_trusted_keys", "Whose bundles are loaded", c.TrustList),
    Route("POST", "/trust", "trust_key", "Trust a signer", c.TrustedKey, c.TrustRequest, status=201),
    Route("GET", "/users", "list_users", "What was issued to people", c.UserList),
    Route(
        "POST",
        "/users",
        "issue_user",
        "Issue a token or a certificate",
        c.UserCredential,
        c.IssueUser,
        status=201,
    ),
    Route("POST", "/users/{name}/revoke", "revoke_user", "Take back all that was issued to one", c.UserList),
    Route("GET", "/devices", "list_devices", "Disks that an image could be burned to, or not", c.DeviceList),
    Route("GET", "/operations", "list_operations", "Long jobs, newest first", c.OperationList),
    Route(
        "POST",
        "/operations",
        "start_operation",
        "Start a long job",
        c.OperationView,
        c.StartOperation,
        status=202,
    ),
    Route("GET", OPERATION, "show_operation", "One long job", c.OperationView),
    Route("POST", f"{OPERATION}/cancel", "cancel_operation", "Ask a job to end", c.OperationView),
    Route(
        "GET",
        f"{OPERATION}/follow",
        "follow_operation",
        "A job's progress until its end",
        c.OperationView,
        is_stream=True,
    ),
    Route(
        "GET",
        "/watch",
        "watch",
        "What exists, then what changes",
        c.WatchEvent,
        is_stream=True,
        query=("kinds",),
    ),
)
