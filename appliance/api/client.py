"""The appliance's API as a Python object: synchronous, standard library HTTP, over the socket or TLS.

One connection a call, so one `Client` may serve many threads. It neither retries nor caches; the CLI and
the console decide that. TLS trusts exactly the CA file it was given.

ApplianceError       the appliance answered with a problem; `reason` is stable, `message` is for people
└── Unreachable      it did not answer at all
"""

import http.client
import os
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from appliance.api.contract import (
    DEFAULT_NAMESPACE,
    PREFIX,
    Access,
    ApproveRequest,
    BundleList,
    BundleView,
    DeviceList,
    DeviceView,
    HostList,
    HostView,
    InboxEntry,
    InboxList,
    IssueUser,
    OperationList,
    OperationView,
    PairedView,
    PairRequest,
    RejectRequest,
    StartOperation,
    TrustedKey,
    TrustList,
    TrustRequest,
    UserCredential,
    UserList,
    UserView,
    VersionInfo,
    WatchEvent,
)
from appliance.api.inventory_contract import (
    ApartRequest,
    Conflict,
    ConflictList,
    Details,
    Entry,
    EntryList,
    Event,
    EventList,
    ImportOutcome,
    Location,
    LocationRequest,
    MergeRequest,
    NoteRequest,
    TagRequest,
)
from appliance.api.trusting_contract import (
    ResolveRequest,
    RootList,
    RootsRequest,
    RootView,
    RotatedToken,
    RotateRequest,
)
from appliance.config import ClientConfig, load_client_config
from appliance.resources.meta import Document, Kind

MAX_REPLY_BYTES = 64 * 1024 * 1024
IMPORT_SECONDS = 600.0  # a hundred thousand rows are judged before the answer comes
MAX_LINE_BYTES = 4 * 1024 * 1024
DEFAULT_SOCKET = "/run/skerry/skerry.sock"

T = TypeVar("T")


class ApplianceError(Exception):
    """What the appliance refused, in its own words."""

    def __init__(self, reason: str, message: str, *, hint: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint
        self.status = status


class Unreachable(ApplianceError):
    """No answer: not running, wrong address, wrong CA, or the line broke."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__("Unreachable", message, hint=hint)


class Client:
    """`server` is `unix:PATH`, `https://HOST:PORT` or `http://HOST:PORT`."""

    def __init__(
        self, server: str, *, token: str | None = None, ca_file: Path | None = None, timeout: float = 30
    ) -> None:
        self.server = server
        self._token = token
        self._ca_file = ca_file
        self._timeout = timeout
        self._tls: ssl.SSLContext | None = None

    @classmethod
    def connect_default(cls, server: str | None = None, *, timeout: float = 30) -> "Client":
        """Find the appliance by the flag, then SKERRY_SERVER, then the configuration file."""
        config = load_client_config()
        address = server or os.environ.get("SKERRY_SERVER") or config.server or f"unix:{DEFAULT_SOCKET}"
        return cls(address, token=_find_token(config), ca_file=_find_ca_file(config), timeout=timeout)

    # --- the control API

    def version(self) -> VersionInfo:
        return self._read(VersionInfo, "GET", f"{PREFIX}/version")

    def access(self) -> Access:
        return self._read(Access, "GET", f"{PREFIX}/access")

    def hosts(self, namespace: str | None = None, *, labels: str = "") -> list[HostView]:
        query = {"namespace": namespace or "", "labelSelector": labels}
        return self._read(HostList, "GET", f"{PREFIX}/hosts", query=query).items

    def host(self, name: str, namespace: str = DEFAULT_NAMESPACE) -> HostView:
        return self._read(HostView, "GET", _host_path(name, namespace))

    def inbox(self) -> list[InboxEntry]:
        return self._read(InboxList, "GET", f"{PREFIX}/inbox").items

    def pair(
        self,
        id: str,
        code: str,
        registration: str,
        namespace: str = DEFAULT_NAMESPACE,
        *,
        address: str = "",
    ) -> PairedView:
        body = PairRequest(id=id, code=code, registration=registration, namespace=namespace, address=address)
        return self._read(PairedView, "POST", f"{PREFIX}/inbox/pair", body=body)

    def approve(self, name: str, namespace: str = DEFAULT_NAMESPACE, *, by: str = "") -> HostView:
        body = ApproveRequest(by=by)
        return self._read(HostView, "POST", f"{_host_path(name, namespace)}/approve", body=body)

    def reject(
        self, name: str, namespace: str = DEFAULT_NAMESPACE, reason: str = "", *, by: str = ""
    ) -> HostView:
        body = RejectRequest(by=by, reason=reason)
        return self._read(HostView, "POST", f"{_host_path(name, namespace)}/reject", body=body)

    def bundles(self) -> list[BundleView]:
        return self._read(BundleList, "GET", f"{PREFIX}/bundles").items

    def trusted_keys(self) -> list[TrustedKey]:
        return self._read(TrustList, "GET", f"{PREFIX}/trust").items

    def trust(self, name: str, public_key: str) -> TrustedKey:
        body = TrustRequest(name=name, public_key=public_key)
        return self._read(TrustedKey, "POST", f"{PREFIX}/trust", body=body)

    def users(self) -> list[UserView]:
        return self._read(UserList, "GET", f"{PREFIX}/users").items

    def issue_user(
        self, name: str, role: str, *, method: Literal["token", "certificate"], lifetime_seconds: int
    ) -> UserCredential:
        body = IssueUser(name=name, role=role, method=method, lifetime_seconds=lifetime_seconds)
        return self._read(UserCredential, "POST", f"{PREFIX}/users", body=body)

    def revoke_user(self, name: str) -> list[UserView]:
        return self._read(UserList, "POST", f"{PREFIX}/users/{quote(name, safe='')}/revoke").items

    def devices(self) -> list[DeviceView]:
        return self._read(DeviceList, "GET", f"{PREFIX}/devices").items

    def operations(self) -> list[OperationView]:
        return self._read(OperationList, "GET", f"{PREFIX}/operations").items

    def operation(self, id: str) -> OperationView:
        return self._read(OperationView, "GET", f"{PREFIX}/operations/{quote(id, safe='')}")

    def start_operation(self, kind: str, params: Mapping[str, Any] | None = None) -> OperationView:
        body = StartOperation(kind=kind, params=dict(params or {}))
        return self._read(OperationView, "POST", f"{PREFIX}/operations", body=body)

    def cancel_operation(self, id: str) -> OperationView:
        return self._read(OperationView, "POST", f"{PREFIX}/operations/{quote(id, safe='')}/cancel")

    def follow_operation(self, id: str) -> Iterator[OperationView]:
        """Yield the operation whenever it changes, ending with its final state."""
        view: OperationView | None = None
        for line in self._lines(f"{PREFIX}/operations/{quote(id, safe='')}/follow"):
            yield (view := msgspec.json.decode(line, type=OperationView))
        if view is None or not view.is_final:
            raise Unreachable(
                f"The line to {self.server} broke while operation {id} was running.",
                hint=f"It goes on without us: skerry operation follow {id}.",
            )

    def watch(self, kinds: Sequence[str], *, timeout: float | None = None) -> Iterator[WatchEvent]:
        """Yield what exists, then what changes, for as long as the line holds; BOOKMARKs show that it does.

        The line counts as broken (Unreachable) after `timeout` seconds without any event; the server sends
        one at least every ten.
        """
        path = f"{PREFIX}/watch?{urlencode({'kinds': ','.join(kinds)})}"
        for line in self._lines(path, timeout=timeout):
            yield msgspec.json.decode(line, type=WatchEvent)

    # --- trust

    def resolve(
        self,
        name: str,
        namespace: str = DEFAULT_NAMESPACE,
        *,
        choice: Literal["keep", "replace"],
        by: str = "",
    ) -> HostView:
        body = ResolveRequest(choice=choice, by=by)
        return self._read(HostView, "POST", f"{_host_path(name, namespace)}/resolve", body=body)

    def rotate(
        self, name: str, namespace: str = DEFAULT_NAMESPACE, *, grace_seconds: int = 0
    ) -> RotatedToken:
        path = f"{PREFIX}/namespaces/{quote(namespace, safe='')}/registrations/{quote(name, safe='')}/rotate"
        return self._read(RotatedToken, "POST", path, body=RotateRequest(grace_seconds=grace_seconds))

    def ek_roots(self) -> list[RootView]:
        return self._read(RootList, "GET", f"{PREFIX}/trust/ek-roots").items

    def add_ek_roots(self, pem: str) -> list[RootView]:
        return self._read(RootList, "POST", f"{PREFIX}/trust/ek-roots", body=RootsRequest(pem=pem)).items

    def remove_ek_root(self, id: str) -> list[RootView]:
        path = f"{PREFIX}/trust/ek-roots/{quote(id, safe='')}/remove"
        return self._read(RootList, "POST", path).items

    # --- the inventory

    def machines(
        self, *, limit: int = 1000, query: Mapping[str, str] | None = None, labels: Sequence[str] = ()
    ) -> Iterator[Entry]:
        """Every machine of the inventory by name, a page at a time."""
        token = ""
        while True:
            asked = [("limit", str(limit)), ("continue", token), *(query or {}).items()]
            asked += [("label", label) for label in labels]
            given = urlencode([(key, value) for key, value in asked if value])
            page = self._read(EntryList, "GET", f"{PREFIX}/inventory?{given}")
            yield from page.items
            token = page.continue_token
            if not token:
                return

    def search_machines(self, text: str, *, limit: int = 100) -> EntryList:
        query = {"q": text, "limit": str(limit)}
        return self._read(EntryList, "GET", f"{PREFIX}/inventory/search", query=query)

    def machine(self, name: str) -> Details:
        """By name, serial, MAC, address, asset tag or id."""
        return self._read(Details, "GET", _machine_path(name))

    def machine_history(self, name: str = "", *, limit: int = 100, before: int = 0) -> list[Event]:
        """Newest first; of every machine without a name."""
        path = f"{_machine_path(name)}/history" if name else f"{PREFIX}/inventory/history"
        query = {"limit": str(limit), "before": str(before)}
        return self._read(EventList, "GET", path, query=query).items

    def set_location(self, name: str, location: Location, *, by: str = "") -> Entry:
        body = LocationRequest(location=location, by=by)
        return self._read(Entry, "POST", f"{_machine_path(name)}/location", body=body)

    def set_asset_tag(self, name: str, tag: str, *, by: str = "") -> Entry:
        body = TagRequest(asset_tag=tag, by=by)
        return self._read(Entry, "POST", f"{_machine_path(name)}/tag", body=body)

    def add_note(self, name: str, text: str, *, by: str = "") -> Entry:
        return self._read(Entry, "POST", f"{_machine_path(name)}/notes", body=NoteRequest(text=text, by=by))

    def merge_machines(self, name: str, other: str, *, by: str = "") -> Entry:
        body = MergeRequest(other=other, by=by)
        return self._read(Entry, "POST", f"{_machine_path(name)}/merge", body=body)

    def machine_conflicts(self) -> list[Conflict]:
        return self._read(ConflictList, "GET", f"{PREFIX}/inventory/conflicts").items

    def keep_apart(self, conflict: int, *, by: str = "") -> list[Conflict]:
        path = f"{PREFIX}/inventory/conflicts/{conflict}/apart"
        return self._read(ConflictList, "POST", path, body=ApartRequest(by=by)).items

    def export_machines(self, *, format: Literal["csv", "json"]) -> Iterator[bytes]:
        """The whole inventory as a file, in pieces."""
        with self._exchange("GET", f"{PREFIX}/inventory/export?format={format}") as response:
            while piece := response.read(256 * 1024):
                yield piece

    def import_machines(
        self,
        content: bytes,
        *,
        format: Literal["csv", "json"],
        skip_bad: bool = False,
        dry_run: bool = False,
        by: str = "",
    ) -> ImportOutcome:
        query = {
            "format": format,
            "skipBad": "true" if skip_bad else "",
            "dryRun": "true" if dry_run else "",
            "by": by,
        }
        path = f"{PREFIX}/inventory/import"
        return self._read(
            ImportOutcome,
            "POST",
            path,
            body=content,
            query=query,
            content_type="text/plain",
            timeout=IMPORT_SECONDS,
        )

    # --- the Kubernetes part

    def get_object(self, kind: Kind, name: str, namespace: str = DEFAULT_NAMESPACE) -> Document:
        return self._read(dict, "GET", object_path(kind, name, namespace=namespace))

    def list_objects(self, kind: Kind, namespace: str | None = None, labels: str = "") -> list[Document]:
        """All objects of a kind, of every namespace when `namespace` is None; pages are put together."""
        items: list[Document] = []
        token = ""
        while True:
            query = {"labelSelector": labels, "limit": "500", "continue": token}
            page = self._read(dict, "GET", object_path(kind, "", namespace=namespace or ""), query=query)
            items += page.get("items", [])
            token = page.get("metadata", {}).get("continue", "")
            if not token:
                return items

    def apply_object(self, document: Document, *, manager: str = "skerry", force: bool = True) -> Document:
        """Server-side apply: create it or bring it to what `document` says, keeping what others own."""
        kind = _kind_of(document)
        name = document["metadata"]["name"]
        namespace = document["metadata"].get("namespace") or DEFAULT_NAMESPACE
        query = {"fieldManager": manager, "force": str(force).lower()}
        return self._read(
            dict,
            "PATCH",
            object_path(kind, name, namespace=namespace),
            body=document,
            query=query,
            content_type="application/apply-patch+yaml",
        )

    def create_object(self, document: Document) -> Document:
        """Create it; refused with AlreadyExists when the name is taken."""
        kind = _kind_of(document)
        namespace = document["metadata"].get("namespace") or DEFAULT_NAMESPACE
        return self._read(dict, "POST", object_path(kind, "", namespace=namespace), body=document)

    def delete_object(self, kind: Kind, name: str, namespace: str = DEFAULT_NAMESPACE) -> Document:
        return self._read(dict, "DELETE", object_path(kind, name, namespace=namespace))

    def patch_object(
        self, kind: Kind, name: str, namespace: str = DEFAULT_NAMESPACE, body: Document | None = None
    ) -> Document:
        """An RFC 7396 merge patch."""
        return self._read(
            dict,
            "PATCH",
            object_path(kind, name, namespace=namespace),
            body=body or {},
            content_type="application/merge-patch+json",
        )

    # --- the wire

    def _read(
        self,
        type: type[T],
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        timeout: float | None = None,
    ) -> T:
        given = {key: value for key, value in (query or {}).items() if value}
        target = f"{path}?{urlencode(given)}" if given else path
        with self._exchange(
            method, target, body=body, content_type=content_type, timeout=timeout
        ) as response:
            content = response.read(MAX_REPLY_BYTES + 1)
        if len(content) > MAX_REPLY_BYTES:
            raise Unreachable(f"The answer of {self.server} is over {MAX_REPLY_BYTES} bytes.")
        try:
            return msgspec.json.decode(content, type=type)
        except msgspec.DecodeError as error:
            raise Unreachable(
                f"The answer of {self.server} to {method} {path} is not of the form we know: {error}.",
                hint="Is there really an appliance at that address, and is it of this version?",
            ) from error

    def _lines(self, path: str, *, timeout: float | None = None) -> Iterator[bytes]:
        with self._exchange("GET", path, timeout=timeout) as response:
            while line := response.readline(MAX_LINE_BYTES):
                if line.strip():
                    yield line

    @contextmanager
    def _exchange(
        self,
        method: str,
        target: str,
        *,
        body: object = None,
        content_type: str = "application/json",
        timeout: float | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            headers["Content-Type"] = content_type
        connection = self._connection(timeout or self._timeout)
        try:
            with self._as_unreachable():
                content = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
                connection.request(method, target, body=content, headers=headers)
                response = connection.getresponse()
            if response.status >= 400:
                with self._as_unreachable():
                    raise parse_problem(response.status, response.read(MAX_LINE_BYTES))
            with self._as_unreachable():
                yield response
        finally:
            connection.close()

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self.server.startswith("unix:"):
            return _UnixConnection(self.server.removeprefix("unix:"), timeout)
        parts = urlsplit(self.server)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unreachable(
                f"{self.server!r} is not an appliance's address.",
                hint="Say unix:/path/to/skerry.sock or https://HOST:PORT.",
            )
        if parts.scheme == "http":
            return http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout)
        return http.client.HTTPSConnection(
            parts.hostname, parts.port or 443, timeout=timeout, context=self._tls_context()
        )

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=self._ca_file)
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        return self._tls

    @contextmanager
    def _as_unreachable(self) -> Iterator[None]:
        """Name whatever the network did in one kind of error."""
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(
                f"{self.server} is not the appliance we trust: {error.verify_message}.",
                hint="Check the CA file (SKERRY_CA_FILE or ca-file in the configuration).",
            ) from error
        except FileNotFoundError as error:
            raise Unreachable(
                f"There is no appliance at {self.server}.",
                hint="Start one with skerry serve, or say --server unix:DIR/skerry.sock or https://HOST:PORT.",
            ) from error
        except TimeoutError as error:
            raise Unreachable(f"{self.server} has not answered in time.") from error
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(
                f"{self.server} cannot be reached: {error or type(error).__name__}.",
                hint="Is the appliance running, and is the address right?",
            ) from error


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        directory, name = os.path.split(os.path.abspath(self._path))
        descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # By way of the directory: the kernel takes at most 107 bytes for a socket's path.
            self.sock.connect(f"/proc/self/fd/{descriptor}/{name}")
        finally:
            os.close(descriptor)


def object_path(kind: Kind, name: str, *, namespace: str = "") -> str:
    """The Kubernetes path of one object, or of the collection when `name` is empty."""
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    scope = f"/namespaces/{quote(namespace, safe='')}" if namespace and kind.namespaced else ""
    return f"{root}{scope}/{kind.plural}" + (f"/{quote(name, safe='')}" if name else "")


def parse_problem(status: int, content: bytes) -> ApplianceError:
    """Read a problem document, or Kubernetes' Status, or whatever else stands in an error's body."""
    try:
        document = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        text = content.decode(errors="replace").strip()[:200]
        return ApplianceError("Unexpected", f"The appliance answered {status}: {text}", status=status)
    return ApplianceError(
        str(document.get("reason") or document.get("title") or "Unexpected"),
        str(document.get("detail") or document.get("message") or f"The appliance answered {status}."),
        hint=str(document.get("hint") or ""),
        status=status,
    )


def _kind_of(document: Document) -> Kind:
    """The kind of a document that somebody wrote. Raises ApplianceError when it is none, or has no name."""
    from appliance.resources.kinds import find_kind

    metadata, kind = document.get("metadata"), find_kind(str(document.get("kind", "")))
    if kind is None or not isinstance(metadata, dict) or not metadata.get("name"):
        raise ApplianceError(
            "BadRequest",
            f"The document of kind {document.get('kind')!r} cannot be written.",
            hint="It needs a kind that the appliance knows (skerry help kinds) and a metadata.name.",
            status=400,
        )
    return kind


def _host_path(name: str, namespace: str) -> str:
    return f"{PREFIX}/namespaces/{quote(namespace, safe='')}/hosts/{quote(name, safe='')}"


def _machine_path(name: str) -> str:
    return f"{PREFIX}/inventory/machines/{quote(name, safe='')}"


def _find_token(config: ClientConfig) -> str | None:
    """Tokens come from files only: an environment variable or a flag would show in a listing of processes."""
    path = os.environ.get("SKERRY_TOKEN_FILE") or config.token_file
    if not path:
        return None
    try:
        return Path(path).expanduser().read_text().strip()
    except OSError as error:
        raise ApplianceError(
            "Configuration", f"The token file {path} cannot be read: {error.strerror}."
        ) from error


def _find_ca_file(config: ClientConfig) -> Path | None:
    path = os.environ.get("SKERRY_CA_FILE") or config.ca_file
    return Path(path).expanduser() if path else None
