"""What a node must be told to pull everything from one mirror: k3s' registries.yaml, containerd's hosts.toml.

Rendered to text only; how the files and the CA get to the node is the caller's affair. k3s and RKE2 read
/etc/rancher/k3s/registries.yaml (or rke2) when they start, and try the internet last unless they run with
`--disable-default-registry-endpoint`. Another containerd reads the folders of /etc/containerd/certs.d, if its
configuration names that as the registries' `config_path`.
"""

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import yaml

from mirror.errors import RequestInvalid
from mirror.upstreams import KNOWN_UPSTREAMS, upstream_of

EVERY_OTHER_REGISTRY = "*"


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    """A user of the mirror."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Login(username={self.username!r}, password='****')"


def render_registries_yaml(
    mirror_url: str,
    *,
    upstreams: Sequence[str] = KNOWN_UPSTREAMS,
    ca_file: str = "",
    login: Login | None = None,
) -> str:
    """The whole file. With `login` it holds a secret, in the clear: k3s knows no other way.

    `mirror_url` is https://HOST[:PORT] or http://HOST[:PORT]; `ca_file` is a path on the node. Raises
    RequestInvalid.
    """
    scheme, host = _checked(mirror_url)
    endpoint = {"endpoint": [f"{scheme}://{host}"]}
    names = [*sorted(set(upstreams) - {host, EVERY_OTHER_REGISTRY}), host, EVERY_OTHER_REGISTRY]
    document: dict[str, object] = {"mirrors": {name: dict(endpoint) for name in names}}
    access: dict[str, object] = {}
    if login is not None:
        access["auth"] = {"username": login.username, "password": login.password}
    if ca_file and scheme == "https":
        access["tls"] = {"ca_file": ca_file}
    if access:
        document["configs"] = {host: access}
    return _render(document)


def render_certs_d(
    mirror_url: str, *, upstreams: Sequence[str] = (), ca: str = "", login: Login | None = None
) -> dict[str, str]:
    """Below certs.d, the name and the text of each file: for every registry, or for those that are named.

    `ca` is the PEM itself, so that the folder can be moved as it is. Errors as of `render_registries_yaml`.
    """
    has_ca = bool(ca) and _checked(mirror_url)[0] == "https"
    hosts_toml = render_hosts_toml(mirror_url, ca_file="ca.crt" if has_ca else "", login=login)
    files = {}
    for folder in sorted({_certs_folder(name) for name in upstreams}) or ["_default"]:
        files[f"{folder}/hosts.toml"] = hosts_toml
        if has_ca:
            files[f"{folder}/ca.crt"] = ca
    return files


def render_hosts_toml(mirror_url: str, *, ca_file: str = "", login: Login | None = None) -> str:
    """One folder's file. The mirror stands in it as the server itself, so nothing else is tried.

    A `ca_file` that is not absolute lies beside the file. Other arguments and errors as of
    `render_registries_yaml`. containerd 1.x ignores a file without a table of hosts; an empty one will do.
    """
    scheme, host = _checked(mirror_url)
    lines = [f"server = {_toml(f'{scheme}://{host}')}", 'capabilities = ["pull", "resolve"]']
    if ca_file and scheme == "https":
        lines.append(f"ca = {_toml(ca_file)}")
    if login is not None:
        basic = b64encode(f"{login.username}:{login.password}".encode()).decode()
        lines += ["", "[header]", f"authorization = {_toml(f'Basic {basic}')}"]
    return "\n".join([*lines, "", "[host]"]) + "\n"


def _certs_folder(upstream: str) -> str:
    """containerd's name for a registry's folder: HOST, or HOST_PORT_."""
    name = upstream_of(upstream)
    return f"{name}_" if "_" in name else name


def _checked(mirror_url: str) -> tuple[str, str]:
    """Scheme and host of the mirror; k3s would take a path for part of every repository's name."""
    try:
        parts = urlsplit(mirror_url)
        has_port = parts.port is not None  # reading it checks it
    except ValueError:
        parts, has_port = urlsplit(""), False
    is_plain = parts.username is None and not (parts.path.strip("/") or parts.query or parts.fragment)
    is_whole = bool(parts.hostname) and (has_port or not parts.netloc.endswith(":"))
    if parts.scheme not in ("http", "https") or not is_whole or not is_plain:
        raise RequestInvalid(
            f"{mirror_url.rpartition('@')[2][:200]!r} is not the address of a mirror",
            hint="write it as https://HOST:PORT",
        )
    return parts.scheme, parts.netloc.lower()


def _render(document: dict[str, object]) -> str:
    text: str = yaml.dump(document, Dumper=_WithoutAliases, sort_keys=False, default_flow_style=False)
    return text


def _toml(text: str) -> str:
    """TOML's basic strings are JSON's, but for DEL, which must be escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


class _WithoutAliases(yaml.SafeDumper):
    """The same endpoint under every name is written out, for people who read and change the file."""

    def ignore_aliases(self, data: object) -> bool:
        return True
