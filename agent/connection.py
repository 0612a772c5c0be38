"""Where this host's appliance is and what it answers to: written at registration, 0600, on the OEM volume.

The file is upstream's `elemental_connection.json` (wire-protocol.md 11.3): a kubeconfig as text, a namespace
and the name of the plan Secret; so an upstream agent can take over from ours and the other way round.
"""

import base64
import binascii
from dataclasses import dataclass

import msgspec
import yaml

from agent.errors import ConfigInvalid
from agent.host import Host
from agent.protocol.client_config import Config
from agent.protocol.secrets import SecretText

OEM_NAME = "skerry/elemental_connection.json"
UPSTREAM_PATH = "/var/lib/elemental/agent/elemental_connection.json"
MAX_CONNECTION_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Connection:
    """`url` is the Kubernetes API's; `name` is the Secret's and the host's."""

    url: str
    token: SecretText
    namespace: str
    name: str
    ca_pem: str = ""


class _File(msgspec.Struct, frozen=True, kw_only=True):
    kube_config: str = msgspec.field(name="kubeConfig")
    namespace: str
    secret_name: str = msgspec.field(name="secretName")


class _Cluster(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    server: str
    certificate_authority_data: str = ""


class _NamedCluster(msgspec.Struct, frozen=True, kw_only=True):
    cluster: _Cluster


class _User(msgspec.Struct, frozen=True, kw_only=True):
    token: str


class _NamedUser(msgspec.Struct, frozen=True, kw_only=True):
    user: _User


class _KubeConfig(msgspec.Struct, frozen=True, kw_only=True):
    clusters: list[_NamedCluster]
    users: list[_NamedUser]


def from_config(config: Config) -> Connection:
    """Take the connection out of what registration answered. Raises ConfigInvalid if it names none."""
    agent = config.elemental.system_agent
    if not (agent.url and agent.token and agent.secret_name and agent.secret_namespace):
        raise ConfigInvalid(
            "the registration answered without a system-agent section", hint="is the appliance complete?"
        )
    return Connection(
        url=agent.url.rstrip("/"),
        token=agent.token,
        namespace=agent.secret_namespace,
        name=agent.secret_name,
        ca_pem=config.elemental.registration.ca_cert,
    )


def render_connection(connection: Connection) -> bytes:
    """Return the file's bytes. They hold the token."""
    authority = base64.b64encode(connection.ca_pem.encode()).decode()
    kube_config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "cluster",
                "cluster": {"server": connection.url, "certificate-authority-data": authority},
            }
        ],
        "users": [{"name": "user", "user": {"token": connection.token.reveal()}}],
        "contexts": [{"name": "context", "context": {"cluster": "cluster", "user": "user"}}],
        "current-context": "context",
    }
    file = _File(
        kube_config=yaml.safe_dump(kube_config, sort_keys=False),
        namespace=connection.namespace,
        secret_name=connection.name,
    )
    return msgspec.json.encode(file)


def parse_connection(content: bytes) -> Connection:
    """Raises ConfigInvalid, without showing what was in it."""
    try:
        if len(content) > MAX_CONNECTION_BYTES:
            raise ValueError(f"it is larger than {MAX_CONNECTION_BYTES} bytes")
        file = msgspec.json.decode(content, type=_File)
        kube_config = msgspec.convert(yaml.safe_load(file.kube_config), _KubeConfig)
        cluster, user = kube_config.clusters[0].cluster, kube_config.users[0].user
        authority = base64.b64decode(cluster.certificate_authority_data, validate=True).decode()
    except (msgspec.MsgspecError, yaml.YAMLError, IndexError, ValueError, binascii.Error) as error:
        raise ConfigInvalid(
            f"the connection to the appliance cannot be read ({type(error).__name__})",
            hint="register this host again",
        ) from None
    return Connection(
        url=cluster.server.rstrip("/"),
        token=SecretText(user.token),
        namespace=file.namespace,
        name=file.secret_name,
        ca_pem=authority,
    )


def load_connection(host: Host) -> Connection | None:
    """Read the connection: ours from the OEM volume, or upstream's. None before registration."""
    for path in (host.volume("oem") / OEM_NAME, host.path(f"/oem/{OEM_NAME}"), host.path(UPSTREAM_PATH)):
        try:
            return parse_connection(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            continue
    return None
