"""What a ManagedOSImage becomes where the system-upgrade-controller runs: its Plan and what the Plan needs.

Pure. Names, secrets and environment are upstream's (facts: operator 5.1), so that a Plan of theirs and one of
ours are the same object. The user's own spec is only read (D16), and a digest stays one (D19).
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from appliance.controllers.cloud_config import render_cloud_config
from appliance.resources.core import MANAGED, SECRET
from appliance.resources.managed_os_image import ManagedOSImage
from appliance.resources.managed_os_version import ManagedOSVersion
from appliance.resources.meta import Document, Kind, Resource
from appliance.resources.service_account import SERVICE_ACCOUNT
from appliance.resources.system_upgrade_plan import SYSTEM_UPGRADE_PLAN, ContainerSpec

NAMESPACE = "cattle-system"
OWNER = "skerry.dev/managed-os-image"  # annotation: namespace/name, for an owner in another namespace
COMMAND = "/usr/sbin/suc-upgrade"
DRAIN: Document = {
    "force": True,
    "skipWaitForDeleteTimeout": 60,
    "ignoreDaemonSets": True,
    "deleteLocalData": True,
}
RULES: Sequence[Document] = (
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["update", "get", "list", "watch", "patch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
    {"apiGroups": ["apps"], "resources": ["daemonsets"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
)
RBAC = "rbac.authorization.k8s.io"
CLUSTER_ROLE = Kind(
    group=RBAC,
    version="v1",
    kind="ClusterRole",
    plural="clusterroles",
    struct=Resource,
    has_status=False,
    namespaced=False,
    is_partial=True,
)
CLUSTER_ROLE_BINDING = replace(CLUSTER_ROLE, kind="ClusterRoleBinding", plural="clusterrolebindings")


def name_plan(image: str) -> str:
    """The name of the Plan and of all that belongs to it."""
    name = shorten(f"os-upgrader-{image}")
    name = re.sub(r"[^A-Za-z0-9\- ]+", "-", name)
    return name.removeprefix("-").removesuffix("-")


def shorten(name: str) -> str:
    """Upstream's rule of 63 characters: the front, and the start of the whole's SHA-256."""
    if len(name) < 64:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()
    is_plain = re.fullmatch(r"[a-z0-9]", name[56]) is not None
    return f"{name[:57]}-{digest[:5]}" if is_plain else f"{name[:56]}-{digest[:6]}"


def split_image(reference: str) -> tuple[str, str]:
    """The image and the version that the system-upgrade-controller puts together with a colon again."""
    name, _, digest = reference.partition("@")
    folder, slash, last = name.rpartition("/")
    bare, _, tag = last.partition(":")
    if digest:
        algorithm, _, encoded = digest.partition(":")
        return f"{folder}{slash}{bare}@{algorithm}", encoded
    return f"{folder}{slash}{bare}", tag or "latest"


def render_environment(metadata: Mapping[str, object], given: Sequence[Document]) -> list[Document]:
    """The version's metadata as METADATA_*, before what the user gave of the same name, sorted."""
    named = {str(variable.get("name", "")): dict(variable) for variable in given}
    for key, value in metadata.items():
        text = msgspec.json.encode(value).decode().strip('"')
        named[f"METADATA_{key.upper()}"] = {"name": f"METADATA_{key.upper()}", "value": text}
    return [named[name] for name in sorted(named)]


def render_upgrade(
    image: ManagedOSImage, document: Document, version: ManagedOSVersion | None, *, reference: str
) -> list[tuple[Kind, Document]]:
    """Everything to apply, in the order in which it is needed. `document` is the image as it is stored."""
    name = name_plan(image.metadata.name)
    owner = f"{image.metadata.namespace}/{image.metadata.name}"
    subject = {"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}
    role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}
    config = base64.b64encode(render_cloud_config(image.spec.cloud_config)).decode()
    bodies: list[tuple[Kind, Document]] = [
        (CLUSTER_ROLE, {"rules": list(RULES)}),
        (CLUSTER_ROLE_BINDING, {"roleRef": role, "subjects": [subject]}),
        (SERVICE_ACCOUNT, {}),
        (SECRET, {"type": "Opaque", "data": {"cloud-config": config}}),
        (SYSTEM_UPGRADE_PLAN, {"spec": _render_spec(image, document, version, reference=reference)}),
    ]
    return [(kind, {**_head(kind, name, owner), **body}) for kind, body in bodies]


def _render_spec(
    image: ManagedOSImage, document: Document, version: ManagedOSVersion | None, *, reference: str
) -> Document:
    spec, name = image.spec, name_plan(image.metadata.name)
    repository, tag = split_image(reference)
    given = document.get("spec") or {}
    container = spec.upgrade_container or (version.spec.upgrade_container if version else None)
    upgrade: Document = msgspec.to_builtins(container or ContainerSpec())
    upgrade["image"] = upgrade.get("image") or repository
    upgrade["command"] = upgrade.get("command") or [COMMAND]
    envs = render_environment(version.spec.metadata if version else {}, upgrade.get("envs", []))
    if envs:
        upgrade["envs"] = envs
    plan: Document = {
        "concurrency": spec.concurrency or 1,
        "version": tag,
        "tolerations": [{"operator": "Exists"}],
        "serviceAccountName": name,
        "nodeSelector": given.get("nodeSelector") or {},
        "cordon": True if spec.cordon is None else spec.cordon,
        "secrets": [{"name": name, "path": "/run/data"}],
        "upgrade": upgrade,
    }
    if not ("drain" in given and given["drain"] is None):
        plan["drain"] = given.get("drain") or DRAIN
    if given.get("prepare"):
        plan["prepare"] = given["prepare"]
    return plan


def _head(kind: Kind, name: str, owner: str) -> Document:
    metadata: Document = {"name": name, "labels": {MANAGED: "true"}, "annotations": {OWNER: owner}}
    if kind.namespaced:
        metadata["namespace"] = NAMESPACE
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
