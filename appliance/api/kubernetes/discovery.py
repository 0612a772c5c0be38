"""What is served: versions, groups and resources, in the older form and the aggregated one.

Pure: kinds in, documents out.
"""

from collections.abc import Sequence
from importlib.metadata import version
from platform import machine, python_version

from appliance.api.kubernetes.reviews import AUTHENTICATION, REVIEWS
from appliance.api.kubernetes.reviews import VERSION as REVIEW_VERSION
from appliance.api.kubernetes.statuses import NotAcceptable
from appliance.resources.meta import Document, Kind, Resource
from appliance.resources.service_account import SERVICE_ACCOUNT

# The Kubernetes release whose API this speaks; kubectl chooses what it may ask for by it.
KUBERNETES_MINOR = "32"

# A box has no Services; `kubectl cluster-info` asks for those of kube-system and gives up without the kind.
SERVICE = Kind(
    group="",
    version="v1",
    kind="Service",
    plural="services",
    struct=Resource,
    has_status=False,
    short_names=("svc",),
)

_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_STATUS_VERBS = ["get", "patch", "update"]
_CATEGORY = "skerry"
_TOKEN_REQUEST = {"group": AUTHENTICATION, "version": REVIEW_VERSION, "kind": "TokenRequest"}


def server_version() -> Document:
    """`/version`: kubectl and k9s read the numbers."""
    return {
        "major": "1",
        "minor": KUBERNETES_MINOR,
        "gitVersion": f"v1.{KUBERNETES_MINOR}.0+skerry-{version('skerry')}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": f"python{python_version()}",
        "platform": f"linux/{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(machine(), machine()) }",
    }


def core_versions() -> Document:
    """`/api`."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    }


def group_list(kinds: Sequence[Kind]) -> Document:
    """`/apis`."""
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [_group(kinds, group) for group in groups(kinds)],
    }


def group(kinds: Sequence[Kind], name: str) -> Document:
    """`/apis/GROUP`."""
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(kinds, name)}


def groups(kinds: Sequence[Kind]) -> list[str]:
    """The named groups, in the order of the kinds."""
    return list(dict.fromkeys(kind.group for kind in kinds if kind.group))


def resource_list(kinds: Sequence[Kind], group: str, version: str) -> Document:
    """`/api/v1` or `/apis/GROUP/VERSION`."""
    resources: list[Document] = []
    for kind in _kinds_of(kinds, group, version):
        resources.append(
            {
                "name": kind.plural,
                "singularName": kind.singular,
                "namespaced": kind.namespaced,
                "kind": kind.kind,
                "verbs": _verbs(kind),
                "shortNames": list(kind.short_names),
                "categories": _categories(kind),
            }
        )
        if kind.has_status:
            resources.append(
                {
                    "name": f"{kind.plural}/status",
                    "singularName": "",
                    "namespaced": kind.namespaced,
                    "kind": kind.kind,
                    "verbs": _STATUS_VERBS,
                }
            )
        if kind == SERVICE_ACCOUNT:
            resources.append(
                {
                    "name": f"{kind.plural}/token",
                    "singularName": "",
                    "namespaced": True,
                    **_TOKEN_REQUEST,
                    "verbs": ["create"],
                }
            )
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": resources,
    }


def aggregated_version(accept: str) -> str | None:
    """The version of aggregated discovery that a client accepts, if it accepts one."""
    for offer in accept.split(","):
        parameters = {part.strip() for part in offer.split(";")}
        if {"as=APIGroupDiscoveryList", "g=apidiscovery.k8s.io"} <= parameters:
            for version in ("v2", "v2beta1"):
                if f"v={version}" in parameters:
                    return version
    return None


def aggregated(kinds: Sequence[Kind], version: str, *, is_core: bool) -> Document:
    """Everything below `/api` or `/apis` in one document."""
    names = [""] if is_core else groups(kinds)
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": [_aggregated_group(kinds, name) for name in names],
    }


def aggregated_type(version: str) -> str:
    return f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"


def check_json_accepted(accept: str) -> None:
    """Raise NotAcceptable unless the client reads plain JSON."""
    types = {offer.partition(";")[0].strip() for offer in accept.split(",")}
    if accept and not types & {"application/json", "application/*", "*/*"}:
        raise NotAcceptable(f"nothing of {accept[:200]!r} is written here; application/json is")


def _aggregated_group(kinds: Sequence[Kind], name: str) -> Document:
    return {
        "metadata": {"name": name, "creationTimestamp": None},
        "versions": [
            {
                "version": version,
                "resources": [_aggregated_resource(kind) for kind in _kinds_of(kinds, name, version)],
                "freshness": "Current",
            }
            for version in _versions(kinds, name)
        ],
    }


def _aggregated_resource(kind: Kind) -> Document:
    response = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    subresources: list[Document] = []
    if kind.has_status:
        subresources.append({"subresource": "status", "responseKind": response, "verbs": _STATUS_VERBS})
    if kind == SERVICE_ACCOUNT:
        subresources.append({"subresource": "token", "responseKind": _TOKEN_REQUEST, "verbs": ["create"]})
    return {
        "resource": kind.plural,
        "responseKind": response,
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": _verbs(kind),
        "shortNames": list(kind.short_names),
        "categories": _categories(kind),
        "subresources": subresources,
    }


def _group(kinds: Sequence[Kind], name: str) -> Document:
    versions = [
        {"groupVersion": f"{name}/{version}", "version": version} for version in _versions(kinds, name)
    ]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _versions(kinds: Sequence[Kind], group: str) -> list[str]:
    return list(dict.fromkeys(kind.version for kind in kinds if kind.group == group))


def _kinds_of(kinds: Sequence[Kind], group: str, version: str) -> list[Kind]:
    return [kind for kind in kinds if (kind.group, kind.version) == (group, version)]


def _verbs(kind: Kind) -> list[str]:
    return ["create"] if kind in REVIEWS else ["get", "list", "watch"] if kind == SERVICE else _VERBS


def _categories(kind: Kind) -> list[str]:
    return [_CATEGORY] if kind.group else []
