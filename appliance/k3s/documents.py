"""The hosted mode as Kubernetes objects: the same appliance, in one pod on the box's own node.

What runs is `skerry serve --store kubernetes`. It stands on the node's network, so that mDNS and the
addresses that hosts know stay as they were, and on a folder of the node with the mirror's blobs and the keys.
One replica, replaced and never doubled: two appliances must not write to one folder. Opens no file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.resources.ipam import IP_ADDRESS, IP_ADDRESS_CLAIM
from appliance.resources.kinds import KINDS
from appliance.resources.machine import MACHINE
from appliance.resources.machine_registration import GROUP as ELEMENTAL
from appliance.resources.meta import Document
from appliance.resources.rollout import GROUP as SKERRY
from appliance.resources.system_upgrade_plan import SYSTEM_UPGRADE_PLAN

NAME = "skerry"
NAMESPACE = "skerry-system"
BOX_LABEL = "skerry.dev/box"  # the node that has the folder
DATA = "/var/lib/skerry"

WRITE = ("get", "list", "watch", "create", "update", "patch", "delete")
READ = ("get", "list", "watch")
STOP_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Hosted:
    """What differs between sites. `data` is a folder of the node; ports are the node's too."""

    image: str
    namespace: str = NAMESPACE
    data: str = DATA
    port: int | str = 8443
    mirror_port: int | str = 5000
    advertise_url: str = ""
    site: str = ""
    replicas: int | str = 1


def documents(hosted: Hosted) -> list[Document]:
    """Everything but the CRDs and the namespace, in the order in which they must exist."""
    return [
        _object("v1", "ServiceAccount", hosted),
        {**_object("rbac.authorization.k8s.io/v1", "ClusterRole"), "rules": rules()},
        {
            **_object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": hosted.namespace}],
        },
        _service(hosted),
        _deployment(hosted),
    ]


def namespace(name: str = NAMESPACE) -> Document:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": _labels()}}


def rules() -> list[Document]:
    """What the appliance may do in its cluster: what its controllers do, and no more.

    A Role that it makes for a registration holds verbs of this list only, so it needs no `escalate`.
    """
    return [
        *(_own_kinds(group) for group in (ELEMENTAL, SKERRY)),
        _rule("", ("secrets", "configmaps", "serviceaccounts", "events"), WRITE),
        _rule("", ("namespaces",), (*READ, "create")),
        _rule("rbac.authorization.k8s.io", ("roles", "rolebindings"), WRITE),
        _rule(MACHINE.group, (MACHINE.plural,), READ),
        _rule(IP_ADDRESS.group, (IP_ADDRESS.plural,), READ),
        _rule(IP_ADDRESS_CLAIM.group, (IP_ADDRESS_CLAIM.plural,), WRITE),
        _rule(SYSTEM_UPGRADE_PLAN.group, (SYSTEM_UPGRADE_PLAN.plural,), WRITE),
    ]


def _own_kinds(group: str) -> Document:
    kinds = [kind for kind in KINDS if kind.group == group]
    parts = [kind.plural for kind in kinds]
    parts += [f"{kind.plural}/status" for kind in kinds if kind.has_status]
    parts += [f"{kind.plural}/finalizers" for kind in kinds]
    return _rule(group, parts, WRITE)


def _rule(group: str, parts: Sequence[str], verbs: Sequence[str]) -> Document:
    return {"apiGroups": [group], "resources": list(parts), "verbs": list(verbs)}


def _service(hosted: Hosted) -> Document:
    ports = [("control", hosted.port), ("mirror", hosted.mirror_port)]
    return {
        **_object("v1", "Service", hosted),
        "spec": {
            "selector": _selector(),
            "ports": [{"name": name, "port": port, "targetPort": name} for name, port in ports],
        },
    }


def _deployment(hosted: Hosted) -> Document:
    return {
        **_object("apps/v1", "Deployment", hosted),
        "spec": {
            "replicas": hosted.replicas,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": _selector()},
            "template": {
                "metadata": {"labels": _labels()},
                "spec": {
                    "serviceAccountName": NAME,
                    "hostNetwork": True,
                    "dnsPolicy": "ClusterFirstWithHostNet",
                    "nodeSelector": {BOX_LABEL: "true"},
                    "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}],
                    "priorityClassName": "system-node-critical",
                    "terminationGracePeriodSeconds": STOP_SECONDS,
                    "containers": [_container(hosted)],
                    "volumes": [
                        {"name": "data", "hostPath": {"path": hosted.data, "type": "DirectoryOrCreate"}},
                        {"name": "tmp", "emptyDir": {}},
                    ],
                },
            },
        },
    }


def _container(hosted: Hosted) -> Document:
    command = [
        *("skerry", "serve", "--store", "kubernetes", "--data", DATA),
        *("--listen", f"0.0.0.0:{hosted.port}", "--mirror-listen", f"0.0.0.0:{hosted.mirror_port}"),
    ]
    if hosted.advertise_url:
        command += ["--advertise-url", hosted.advertise_url]
    if hosted.site:
        command += ["--site", hosted.site]
    return {
        "name": NAME,
        "image": hosted.image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "ports": [
            {"name": "control", "containerPort": hosted.port},
            {"name": "mirror", "containerPort": hosted.mirror_port},
        ],
        "readinessProbe": _probe("/readyz", failures=3),
        "livenessProbe": _probe("/healthz", failures=6),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "data", "mountPath": DATA}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }


def _probe(path: str, *, failures: int) -> Document:
    return {
        "httpGet": {"path": path, "port": "control", "scheme": "HTTPS"},
        "periodSeconds": 10,
        "failureThreshold": failures,
    }


def _object(api_version: str, kind: str, hosted: Hosted | None = None) -> Document:
    where = {"namespace": hosted.namespace} if hosted else {}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": NAME, **where, "labels": _labels()},
    }


def _labels() -> dict[str, str]:
    return {**_selector(), "app.kubernetes.io/part-of": "Skerry"}


def _selector() -> dict[str, str]:
    return {"app.kubernetes.io/name": NAME}
