"""Every request and reply under `/skerry/v1`, as structs; clients and server share this file.

Times are RFC 3339 text, UTC. Fields are only ever added. What people write forbids unknown fields.
"""

from typing import Any, Literal

import msgspec

from agent.protocol.report import HistoryEntry, Slot, Transaction

API_VERSION = "skerry.dev/v1"
PREFIX = "/skerry/v1"
DEFAULT_NAMESPACE = "fleet-default"

HostPhase = Literal[
    "Pending approval",
    "Registered",
    "Installing",
    "Ready",
    "Upgrading",
    "Rolled back",
    "Failed",
    "Rejected",
    "Silent",
]
OperationState = Literal["queued", "running", "succeeded", "failed", "cancelled", "interrupted"]
FINAL_STATES: frozenset[OperationState] = frozenset(("succeeded", "failed", "cancelled", "interrupted"))

# Kinds of `/watch` that are no resources: views the server computes.
HOSTS, INBOX, OPERATIONS = "hosts", "inbox", "operations"


class Reply(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the server says."""


class Request(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a client says."""


class VersionInfo(Reply, frozen=True, kw_only=True):
    version: str
    site: str
    url: str
    mirror: str
    namespace: str
    started_at: str


class Access(Reply, frozen=True, kw_only=True):
    """What another machine needs to reach this appliance as administrator."""

    url: str
    ca: str
    token: str
    site: str


class IssueUser(Request, frozen=True, kw_only=True):
    """A token, or a certificate, for somebody. Roles are viewer, operator and admin."""

    name: str
    role: str
    method: Literal["token", "certificate"] = "token"
    lifetime_seconds: int = 30 * 24 * 3600


class UserView(Reply, frozen=True, kw_only=True):
    """One token or certificate that was issued; never the secret itself."""

    name: str
    role: str
    method: Literal["token", "certificate"]
    id: str
    state: Literal["valid", "revoked", "expired"]
    issued: str
    expires: str
    issued_by: str = ""


class UserList(Reply, frozen=True, kw_only=True):
    items: list[UserView]
    kind: str = "UserList"
    api_version: str = API_VERSION


class UserCredential(Reply, frozen=True, kw_only=True):
    """What is told once, to the one who asked: a token, or a certificate and its key as PEM."""

    user: UserView
    token: str = ""
    certificate: str = ""
    key: str = ""


class HostView(Reply, frozen=True, kw_only=True):
    """One host as people see it: its inventory and its newest report in one row.

    `phase` is the word for its state, `reason` the sentence behind it. `last_seen` is the appliance's
    clock at the newest report, empty when there was none.
    """

    name: str
    namespace: str
    uid: str = ""
    approval: Literal["pending", "approved", "rejected"] = "approved"
    phase: HostPhase = "Registered"
    reason: str = ""
    tpm_hash: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    slot: str = ""
    version: str = ""
    digest: str = ""
    image: str = ""
    mode: str = ""
    hostname: str = ""
    address: str = ""
    addresses: list[str] = msgspec.field(default_factory=list)
    agent_version: str = ""
    uptime_seconds: int = 0
    created: str = ""
    last_seen: str = ""
    transaction: Transaction | None = None
    slots: list[Slot] = msgspec.field(default_factory=list)
    history: list[HistoryEntry] = msgspec.field(default_factory=list)


class HostList(Reply, frozen=True, kw_only=True):
    items: list[HostView]
    kind: str = "HostList"
    api_version: str = API_VERSION


class InboxEntry(Reply, frozen=True, kw_only=True):
    """`found` was only heard by mDNS and proves nothing; `waiting` proved itself and wants a decision."""

    kind: Literal["found", "waiting"]
    id: str
    name: str
    namespace: str = ""
    address: str = ""
    details: dict[str, str] = msgspec.field(default_factory=dict)
    first_seen: str = ""
    last_seen: str = ""


class InboxList(Reply, frozen=True, kw_only=True):
    items: list[InboxEntry]
    kind: str = "InboxList"
    api_version: str = API_VERSION


class PairRequest(Request, frozen=True, kw_only=True):
    """`id` is what the machine is heard by, its id or its name; `code` is what stands on its screen.

    `address` (ADDRESS or ADDRESS:PORT) is asked instead of what was heard, where multicast is filtered.
    """

    id: str
    address: str = ""
    code: str
    registration: str
    namespace: str = DEFAULT_NAMESPACE


class PairedView(Reply, frozen=True, kw_only=True):
    """The machine that took the registration; it registers next."""

    id: str
    name: str
    address: str
    registration: str


class ApproveRequest(Request, frozen=True, kw_only=True):
    by: str = ""


class RejectRequest(Request, frozen=True, kw_only=True):
    by: str = ""
    reason: str = ""


class BundleImage(Reply, frozen=True, kw_only=True):
    reference: str
    digest: str
    version: str = ""
    display_name: str = ""


class BundleView(Reply, frozen=True, kw_only=True):
    """A bundle that was loaded."""

    name: str
    loaded_at: str
    sequence: int = 0
    created: str = ""
    images: list[BundleImage] = msgspec.field(default_factory=list)


class BundleList(Reply, frozen=True, kw_only=True):
    items: list[BundleView]
    kind: str = "BundleList"
    api_version: str = API_VERSION


class TrustRequest(Request, frozen=True, kw_only=True):
    """`public_key` is PEM, Ed25519; `name` becomes the file name of the key."""

    name: str
    public_key: str


class TrustedKey(Reply, frozen=True, kw_only=True):
    name: str
    key_id: str


class TrustList(Reply, frozen=True, kw_only=True):
    items: list[TrustedKey]
    kind: str = "TrustList"
    api_version: str = API_VERSION


class DeviceView(Reply, frozen=True, kw_only=True):
    """A disk of the appliance's machine. With `refusals` it must not be overwritten, and will not be."""

    path: str
    bus: str
    vendor: str = ""
    model: str = ""
    serial: str = ""
    port: str = ""
    size: int = 0
    refusals: list[str] = msgspec.field(default_factory=list)


class DeviceList(Reply, frozen=True, kw_only=True):
    items: list[DeviceView]
    kind: str = "DeviceList"
    api_version: str = API_VERSION


class StartOperation(Request, frozen=True, kw_only=True):
    kind: str
    params: dict[str, Any] = msgspec.field(default_factory=dict)


class OperationProgress(Reply, frozen=True, kw_only=True):
    """`total` is 0 while unknown; `what` names the thing being worked on."""

    phase: str = ""
    done: int = 0
    total: int = 0
    what: str = ""


class OperationError(Reply, frozen=True, kw_only=True):
    reason: str
    message: str
    hint: str = ""


class OperationView(Reply, frozen=True, kw_only=True):
    id: str
    kind: str
    state: OperationState
    params: dict[str, Any] = msgspec.field(default_factory=dict)
    progress: OperationProgress = OperationProgress()
    result: dict[str, Any] | None = None
    error: OperationError | None = None
    created_at: str = ""
    started_at: str = ""
    finished_at: str = ""
    attempts: int = 1

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES


class OperationList(Reply, frozen=True, kw_only=True):
    items: list[OperationView]
    kind: str = "OperationList"
    api_version: str = API_VERSION


class WatchEvent(Reply, frozen=True, kw_only=True):
    """One line of `/watch`. A BOOKMARK carries no object: it says that the line is alive.

    `kind` is the word that was asked for: a plural (`rollouts`), or `hosts`, `inbox`, `operations`.
    SYNCED comes once a kind when all that existed was sent.
    """

    type: Literal["ADDED", "MODIFIED", "DELETED", "SYNCED", "BOOKMARK"]
    kind: str = ""
    object: dict[str, Any] = msgspec.field(default_factory=dict)


class Problem(Reply, frozen=True, kw_only=True):
    """RFC 9457 problem document. `reason` is CamelCase and stable; scripts may match on it."""

    title: str
    status: int
    reason: str
    detail: str
    hint: str = ""
    type: str = "about:blank"
