"""Settings: one TOML file for `skerry serve`, one for the clients. Unknown keys are errors.

Flags stand above environment variables, those above the file. Secrets never stand in a file of settings:
`token-file` names the file that holds one.
"""

import os
import tomllib
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from appliance.errors import ConfigurationError

MAX_FILE_BYTES = 64 * 1024


class ServeConfig(
    msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True, omit_defaults=True
):
    """`DIR/skerry.toml`, or the file of `--config`. Addresses are `ADDR:PORT`; port 0 means any free one.

    Sizes are written as in 500G, intervals as in 30m, 24h or 7d; a 0 turns them off.
    """

    data: str = ""
    listen: str = "127.0.0.1:8443"
    mirror_listen: str = "127.0.0.1:5000"
    insecure_http: bool = False
    advertise_url: str = ""
    site: str = ""
    discovery: bool = True
    store: Literal["sqlite", "kubernetes"] = "sqlite"
    kubeconfig: str = ""
    mirror_quota: str = ""
    mirror_keep_free: str = ""
    mirror_htpasswd: str = ""
    mirror_access: str = ""
    mirror_gc_every: str = "24h"
    mirror_verify_every: str = "7d"


class ClientConfig(
    msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True, omit_defaults=True
):
    """`~/.config/skerry/config.toml`: which appliance, and how to know it."""

    server: str = ""
    token_file: str = ""
    ca_file: str = ""
    namespace: str = "fleet-default"


C = TypeVar("C", ServeConfig, ClientConfig)


def load_serve_config(path: Path) -> ServeConfig:
    """Raises ConfigurationError when the file is missing or wrong."""
    return _load(ServeConfig, path)


def load_client_config(path: Path | None = None) -> ClientConfig:
    """A missing default file means defaults; a file that was asked for must be there."""
    chosen = path or client_config_path()
    if path is None and not chosen.exists():
        return ClientConfig()
    return _load(ClientConfig, chosen)


def client_config_path() -> Path:
    """Where the XDG rules put it; SKERRY_CONFIG names another file."""
    if named := os.environ.get("SKERRY_CONFIG"):
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(home) if os.path.isabs(home) else Path.home() / ".config"
    return base / "skerry" / "config.toml"


def _load(type: type[C], path: Path) -> C:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"The settings in {path} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigurationError(f"The settings in {path} are over {MAX_FILE_BYTES} bytes.")
    try:
        return msgspec.convert(tomllib.loads(content.decode()), type)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The settings in {path} are not TOML: {error}.") from error
    except msgspec.ValidationError as error:
        known = ", ".join(field.encode_name for field in msgspec.structs.fields(type))
        raise ConfigurationError(f"The settings in {path}: {error}.", hint=f"Known keys: {known}.") from error
