"""The appliance's API as a Python object, synchronous, for the CLI and the console.

One connection a call, so one `Client` may serve many threads. How a call is made, and its errors, are
`appliance.api.wire`'s.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode

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
from appliance.api.inventory_client import InventoryCalls
from appliance.api.trusting_contract import (
    ResolveRequest,
    RootList,
    RootsRequest,
    RootView,
    RotatedToken,
    RotateRequest,
)
from appliance.api.wire import ApplianceError, Unreachable
from appliance.config import ClientConfig, load_client_config
from appliance.resources.meta import Document, Kind

__all__ = ["ApplianceError", "Client", "Unreachable", "object_path"]

DEFAULT_SOCKET = "/run/skerry/skerry.sock"


class Client(InventoryCalls):
    """The appliance. One may serve many threads."""

    @classmethod
    def connect_default(cls, server: str | None = None, *, timeout: float = 30) -> "Client":
        """Find the appliance by the flag, then SKERRY_SERVER, then the configuration file."""
        config = load_client_config()
        address = server or os.environ.get("SKERRY_SERVER") or config.server or f"unix:{DEFAULT_SOCKET}"
        return cls(address, token=_find_token(config), ca_file=_find_ca_file(config), timeout=timeout)

    # --- the control API

    def version(self) -> VersionInfo:
        return self.read(VersionInfo, "GET", f"{PREFIX}/version")

    def access(self) -> Access:
        return self.read(Access, "GET", f"{PREFIX}/access")

    def hosts(self, namespace: str | None = None, *, labels: str = "") -> list[HostView]:
        query = {"namespace": namespace or "", "labelSelector": labels}
        return self.read(HostList, "GET", f"{PREFIX}/hosts", query=query).items

    def host(self, name: str, namespace: str = DEFAULT_NAMESPACE) -> HostView:
        return self.read(HostView, "GET", _host_path(name, namespace))

    def inbox(self) -> list[InboxEntry]:
        return self.read(InboxList, "GET", f"{PREFIX}/inbox").items

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
        return self.read(PairedView, "POST", f"{PREFIX}/inbox/pair", body=body)

    def approve(self, name: str, namespace: str = DEFAULT_NAMESPACE, *, by: str = "") -> HostView:
        body = ApproveRequest(by=by)
        return self.read(HostView, "POST", f"{_host_path(name, namespace)}/approve", body=body)

    def reject(
        self, name: str, namespace: str = DEFAULT_NAMESPACE, reason: str = "", *, by: str = ""
    ) -> HostView:
        body = RejectRequest(by=by, reason=reason)
        return self.read(HostView, "POST", f"{_host_path(name, namespace)}/reject", body=body)

    def bundles(self) -> list[BundleView]:
        return self.read(BundleList, "GET", f"{PREFIX}/bundles").items

    def trusted_keys(self) -> list[TrustedKey]:
        return self.read(TrustList, "GET", f"{PREFIX}/trust").items

    def trust(self, name: str, public_key: str) -> TrustedKey:
        body = TrustRequest(name=name, public_key=public_key)
        return self.read(TrustedKey, "POST", f"{PREFIX}/trust", body=body)

    def users(self) -> list[UserView]:
        return self.read(UserList, "GET", f"{PREFIX}/users").items

    def issue_user(
        self, name: str, role: str, *, method: Literal["token", "certificate"], lifetime_seconds: int
    ) -> UserCredential:
        body = IssueUser(name=name, role=role, method=method, lifetime_seconds=lifetime_seconds)
        return self.read(UserCredential, "POST", f"{PREFIX}/users", body=body)

    def revoke_user(self, name: str) -> list[UserView]:
        return self.read(UserList, "POST", f"{PREFIX}/users/{quote(name, safe='')}/revoke").items

    def devices(self) -> list[DeviceView]:
        return self.read(DeviceList, "GET", f"{PREFIX}/devices").items

    def operations(self) -> list[OperationView]:
        return self.read(OperationList, "GET", f"{PREFIX}/operations").items

    def operation(self, id: str) -> OperationView:
        return self.read(OperationView, "GET", f"{PREFIX}/operations/{quote(id, safe='')}")

    def start_operation(self, kind: str, params: Mapping[str, Any] | None = None) -> OperationView:
        body = StartOperation(kind=kind, params=dict(params or {}))
        return self.read(OperationView, "POST", f"{PREFIX}/operations", body=body)

    def cancel_operation(self, id: str) -> OperationView:
        return self.read(OperationView, "POST", f"{PREFIX}/operations/{quote(id, safe='')}/cancel")

    def follow_operation(self, id: str) -> Iterator[OperationView]:
        """Yield the operation whenever it changes, ending with its final state."""
        view: OperationView | None = None
        for line in self.lines(f"{PREFIX}/operations/{quote(id, safe='')}/follow"):
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
        for line in self.lines(path, timeout=timeout):
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
        return self.read(HostView, "POST", f"{_host_path(name, namespace)}/resolve", body=body)

    def rotate(
        self, name: str, namespace: str = DEFAULT_NAMESPACE, *, grace_seconds: int = 0
    ) -> RotatedToken:
        path = f"{PREFIX}/namespaces/{quote(namespace, safe='')}/registrations/{quote(name, safe='')}/rotate"
        return self.read(RotatedToken, "POST", path, body=RotateRequest(grace_seconds=grace_seconds))

    def ek_roots(self) -> list[RootView]:
        return self.read(RootList, "GET", f"{PREFIX}/trust/ek-roots").items

    def add_ek_roots(self, pem: str) -> list[RootView]:
        return self.read(RootList, "POST", f"{PREFIX}/trust/ek-roots", body=RootsRequest(pem=pem)).items

    def remove_ek_root(self, id: str) -> list[RootView]:
        path = f"{PREFIX}/trust/ek-roots/{quote(id, safe='')}/remove"
        return self.read(RootList, "POST", path).items

    # --- the Kubernetes part

    def get_object(self, kind: Kind, name: str, namespace: str = DEFAULT_NAMESPACE) -> Document:
        return self.read(dict, "GET", object_path(kind, name, namespace=namespace))

    def list_objects(self, kind: Kind, namespace: str | None = None, labels: str = "") -> list[Document]:
        """All objects of a kind, of every namespace when `namespace` is None; pages are put together."""
        items: list[Document] = []
        token = ""
        while True:
            query = {"labelSelector": labels, "limit": "500", "continue": token}
            page = self.read(dict, "GET", object_path(kind, "", namespace=namespace or ""), query=query)
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
        return self.read(
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
        return self.read(dict, "POST", object_path(kind, "", namespace=namespace), body=document)

    def delete_object(self, kind: Kind, name: str, namespace: str = DEFAULT_NAMESPACE) -> Document:
        return self.read(dict, "DELETE", object_path(kind, name, namespace=namespace))

    def patch_object(
        self, kind: Kind, name: str, namespace: str = DEFAULT_NAMESPACE, body: Document | None = None
    ) -> Document:
        """An RFC 7396 merge patch."""
        return self.read(
            dict,
            "PATCH",
            object_path(kind, name, namespace=namespace),
            body=body or {},
            content_type="application/merge-patch+json",
        )


def object_path(kind: Kind, name: str, *, namespace: str = "") -> str:
    """The Kubernetes path of one object, or of the collection when `name` is empty."""
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    scope = f"/namespaces/{quote(namespace, safe='')}" if namespace and kind.namespaced else ""
    return f"{root}{scope}/{kind.plural}" + (f"/{quote(name, safe='')}" if name else "")


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
