"""What an air-gapped k3s node needs, as files: pure, so that a dry run shows exactly what an install writes.

Paths are below the root of choice. k3s reads config.yaml and registries.yaml when it starts, imports the
images below agent/images, and applies what lies in server/manifests. Source: k3s documentation, "Air-Gap
Install" and "Private Registry Configuration".
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import yaml

from appliance.k3s.chart import render
from appliance.k3s.documents import BOX_LABEL, Hosted, documents, namespace
from appliance.resources import crds
from mirror.nodes import Login, render_registries_yaml

BINARY = "usr/local/bin/k3s"
TOOLS = ("kubectl", "crictl", "ctr")  # k3s answers to these names
CONFIG = "etc/rancher/k3s/config.yaml"
REGISTRIES = "etc/rancher/k3s/registries.yaml"
CA = "etc/rancher/k3s/mirror-ca.crt"
UNIT = "etc/systemd/system/k3s.service"
WANTED = "etc/systemd/system/multi-user.target.wants/k3s.service"
KUBECONFIG = "etc/rancher/k3s/k3s.yaml"
IMAGES = "var/lib/rancher/k3s/agent/images"
MANIFESTS = "var/lib/rancher/k3s/server/manifests"
PREPARATION = f"{MANIFESTS}/skerry-00-preparation.yaml"
APPLIANCE = f"{MANIFESTS}/skerry-10-appliance.yaml"

PUBLIC, PRIVATE, PROGRAM = 0o644, 0o600, 0o755


@dataclass(frozen=True, slots=True)
class NodeFile:
    """A file or a symbolic link of the node. `content` is a link's target where `is_link`."""

    path: str
    content: bytes
    mode: int = PUBLIC
    is_link: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Node:
    """How this k3s is set up. `mirror_url` is where its containerd pulls from; `ca_pem` is empty for http.

    `is_first` makes a cluster that others can join (embedded etcd); `server_url` and `token` join one.
    """

    hosted: Hosted
    mirror_url: str
    ca_pem: str = ""
    login: Login | None = None
    names: Sequence[str] = ()  # further names in the API server's certificate
    disabled: Sequence[str] = ("traefik", "servicelb", "metrics-server")
    is_first: bool = False
    server_url: str = ""
    token: str = field(default="")

    def __repr__(self) -> str:
        return f"Node({self.mirror_url!r})"


def node_files(node: Node) -> list[NodeFile]:
    """All but the binary, the images, and the appliance itself, which starts only once its store moved."""
    return [
        NodeFile(CONFIG, render_config(node).encode(), PRIVATE),
        NodeFile(
            REGISTRIES,
            render_registries_yaml(
                node.mirror_url, ca_file=f"/{CA}" if node.ca_pem else "", login=node.login
            ).encode(),
            PRIVATE,
        ),
        *([NodeFile(CA, node.ca_pem.encode())] if node.ca_pem else []),
        NodeFile(PREPARATION, render_preparation(node.hosted).encode(), PRIVATE),
        NodeFile(UNIT, UNIT_TEXT.encode()),
        NodeFile(WANTED, f"/{UNIT}".encode(), is_link=True),
        *(NodeFile(f"usr/local/bin/{tool}", b"k3s", is_link=True) for tool in TOOLS),
    ]


def render_config(node: Node) -> str:
    """k3s' own settings. The upstream registries are shut off: a floor has no internet to wait for."""
    settings: dict[str, object] = {
        "write-kubeconfig-mode": "0600",
        "disable-default-registry-endpoint": True,
    }
    if not node.server_url:  # a node that joins has not the folder
        settings["node-label"] = [f"{BOX_LABEL}=true"]
    if node.disabled:
        settings["disable"] = list(node.disabled)
    if node.names:
        settings["tls-san"] = list(node.names)
    if node.is_first:
        settings["cluster-init"] = True
    if node.server_url:
        settings |= {"server": node.server_url, "token": node.token}
    text: str = yaml.safe_dump(settings, sort_keys=False, default_flow_style=False)
    return text


def render_preparation(hosted: Hosted) -> str:
    """What must be there before the store can move: CRDs and the namespace."""
    return render([*(crds.definition(kind) for kind in crds.custom_kinds()), namespace(hosted.namespace)])


def render_appliance(hosted: Hosted) -> str:
    """The appliance in the cluster; k3s starts it as soon as the file is there."""
    return render(documents(hosted))


# After the network, without ever waiting for the internet; killed with its shims only by k3s' own rules.
UNIT_TEXT = """\
[Unit]
Description=Lightweight Kubernetes, holding Skerry
Documentation=man:skerry(1)
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
EnvironmentFile=-/etc/default/k3s
EnvironmentFile=-/etc/sysconfig/k3s
KillMode=process
Delegate=yes
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe br_netfilter
ExecStartPre=-/sbin/modprobe overlay
ExecStart=/usr/local/bin/k3s server

[Install]
WantedBy=multi-user.target
"""
