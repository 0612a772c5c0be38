"""The bootstrap plan: how an adopted machine becomes a node of the cluster that claimed it.

Pure. Files, modes and instructions are upstream's (facts: operator 4.3), so that a stock agent finds what it
expects; labels are sorted, so that the same machine always gets the same bytes and the same checksum.
"""

import base64
from collections.abc import Mapping

import msgspec

from appliance.resources.meta import Document

BOOTSTRAP_SCRIPT = "/var/lib/rancher/bootstrap.sh"
BOOTSTRAP_DONE = "/var/lib/rancher/bootstrap_done"
NODE_CONFIGS = ("/etc/rancher/rke2/config.yaml.d", "/etc/rancher/k3s/config.yaml.d")
HOSTNAME_FILES = ("/usr/local/etc/hostname", "/run/elemental/persistent/etc/hostname")


def render_bootstrap_plan(name: str, labels: Mapping[str, str], script: bytes) -> bytes:
    """The plan that runs a Cluster API bootstrap script once, on a node that is named like its machine."""
    files = [_file(BOOTSTRAP_SCRIPT, script, "0700")]
    for folder in NODE_CONFIGS:
        files.append(_file(f"{folder}/99-elemental-name.yaml", _render_node_name(name), "0600"))
        files.append(_file(f"{folder}/99-elemental-inventory-labels.yaml", _render_labels(labels), "0600"))
    files += [_file(path, name.encode(), "0644") for path in HOSTNAME_FILES]
    instructions: list[Document] = [
        {
            "name": "configure hostname",
            "command": "hostnamectl",
            "args": ["set-hostname", "--transient", name],
        },
        {
            "command": "bash",
            "args": ["-c", f"[ -f {BOOTSTRAP_DONE} ] || {{ {BOOTSTRAP_SCRIPT} && touch {BOOTSTRAP_DONE}; }}"],
        },
    ]
    return msgspec.json.encode({"files": files, "instructions": instructions})


def _render_node_name(name: str) -> bytes:
    return f"node-name: {_quote(name)}\n".encode()


def _render_labels(labels: Mapping[str, str]) -> bytes:
    if not labels:
        return b"node-label+: []\n"
    lines = [f"- {_quote(f'{key}={value}')}\n" for key, value in sorted(labels.items())]
    return ("node-label+:\n" + "".join(lines)).encode()


def _quote(text: str) -> str:
    """A JSON string is a YAML string too, whatever is in it."""
    return msgspec.json.encode(text).decode()


def _file(path: str, content: bytes, permissions: str) -> Document:
    return {"path": path, "content": base64.b64encode(content).decode(), "permissions": permissions}
