"""The documents that configure a host: the registration document and the reply to Get.

`Registration` is what a plain GET of the registration URL answers, and what the install medium carries: six
keys and nothing else of the registration. `Config` is the whole answer to a machine that was
admitted. Both are YAML on the wire; `cloud-config` values travel as lists of the bytes of their JSON.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeVar

import msgspec

from agent.protocol.documents import JSON, as_object, parse_json, parse_yaml, render_json, render_yaml
from agent.protocol.errors import Malformed
from agent.protocol.messages import MAX_MESSAGE_BYTES
from agent.protocol.secrets import SecretText

MAX_REGISTRATION_BYTES = 256 * 1024
AUTH_METHODS = ("tpm", "mac", "sys-uuid")


class Registration(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", omit_defaults=True):
    """`elemental.registration`. `auth` is tpm (also when empty), mac or sys-uuid.

    `no_toolkit` and `labels` are a host's own configuration; servers do not send them.
    """

    url: str = ""
    ca_cert: str = ""
    emulate_tpm: bool = False
    emulated_tpm_seed: int = 0
    no_smbios: bool = False
    auth: str = ""
    no_toolkit: bool = False
    labels: dict[str, str | int | float | bool] = msgspec.field(default_factory=dict)


class DeviceSelector(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    key: Literal["Name", "Size"]
    operator: Literal["In", "NotIn", "Gt", "Lt"]
    values: list[str] = msgspec.field(default_factory=list)


class Snapshotter(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    type: str = ""
    max_snaps: int = 0


class Install(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", omit_defaults=True):
    """`elemental.install`: where and how to put the OS. Everything may be absent."""

    firmware: str = ""
    device: str = ""
    device_selector: list[DeviceSelector] = msgspec.field(default_factory=list)
    no_format: bool = False
    config_urls: list[str] = msgspec.field(default_factory=list)
    iso: str = ""
    system_uri: str = ""
    debug: bool = False
    tty: str = ""
    poweroff: bool = False
    reboot: bool = False
    eject_cd: bool = False
    disable_boot_entry: bool = False
    config_dir: str = ""
    snapshotter: Snapshotter = Snapshotter()


class Reset(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", omit_defaults=True):
    """`elemental.reset`; the real server writes `enabled` whenever it writes the section."""

    enabled: bool = False
    reset_persistent: bool = False
    reset_oem: bool = False
    config_urls: list[str] = msgspec.field(default_factory=list)
    system_uri: str = ""
    debug: bool = False
    poweroff: bool = False
    reboot: bool = False
    disable_boot_entry: bool = False


class SystemAgent(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", omit_defaults=True):
    """`elemental.system-agent`: where the host finds its plans, and its token for them."""

    strict_tls_mode: bool = msgspec.field(name="strictTLSMode", default=False)
    url: str = ""
    token: SecretText = SecretText("")
    secret_name: str = ""
    secret_namespace: str = ""


class Elemental(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", omit_defaults=True):
    install: Install = Install()
    reset: Reset = Reset()
    registration: Registration = Registration()
    system_agent: SystemAgent = SystemAgent()


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Only from version 12 on, and only when a configurator is set. `config` values are templates."""

    configurator: str = ""
    ip_addresses: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Config:
    """The reply to Get, decoded: cloud-config values are plain JSON here, byte lists only on the wire."""

    elemental: Elemental = field(default_factory=Elemental)
    cloud_config: Mapping[str, JSON] = field(default_factory=dict)
    network: NetworkConfig = field(default_factory=NetworkConfig)


def render_registration(registration: Registration) -> bytes:
    """The YAML of the plain GET; zero values are left out."""
    return render_yaml({"elemental": {"registration": msgspec.to_builtins(registration)}})


def parse_registration(payload: bytes) -> Registration:
    """Read the document of the plain GET, or a client's configuration file. Raises TooLarge, Malformed."""
    what = "the registration document"
    document = as_object(parse_yaml(payload, what=what, limit=MAX_REGISTRATION_BYTES), what=what)
    elemental = as_object(document.get("elemental"), what=f"{what}'s elemental")
    section = as_object(elemental.get("registration"), what=f"{what}'s elemental.registration")
    registration = _convert(section, Registration, what=what)
    check_auth(registration.auth)
    return registration


def check_auth(auth: str) -> None:
    if auth and auth not in AUTH_METHODS:
        raise Malformed(f"there is no authentication method {auth!r}", hint="use tpm, mac or sys-uuid")


def render_config(config: Config) -> bytes:
    """The payload of message 7, as JSON: every YAML reader takes it and it costs a fiftieth."""
    wire = _WireConfig(
        elemental=config.elemental,
        cloud_config={key: _to_raw(value) for key, value in config.cloud_config.items()} or None,
        configurator=config.network.configurator,
        ip_addresses=dict(config.network.ip_addresses) or None,
        config={key: _to_raw(value) for key, value in config.network.config.items()} or None,
    )
    text = msgspec.json.encode(wire, enc_hook=_encode_secret).decode()
    return _BEYOND_YAML.sub(_escape, text).encode()


def parse_config(payload: bytes, *, local: Registration | None = None) -> Config:
    """Read the payload of message 7; registration keys that are absent keep their `local` value."""
    what = "the configuration"
    document = as_object(parse_yaml(payload, what=what, limit=MAX_MESSAGE_BYTES), what=what)
    wire = _convert(document, _WireConfig, what=what)
    elemental = wire.elemental
    if local is not None:
        answered = as_object(as_object(document.get("elemental"), what=what).get("registration"), what=what)
        overlaid = {**msgspec.to_builtins(local), **answered}
        registration = _convert(overlaid, Registration, what=what)
        elemental = msgspec.structs.replace(elemental, registration=registration)
    return Config(
        elemental=elemental,
        cloud_config=_from_raw(wire.cloud_config, what="cloud-config"),
        network=NetworkConfig(
            configurator=wire.configurator,
            ip_addresses=wire.ip_addresses or {},
            config=_from_raw(wire.config, what="the network configuration"),
        ),
    )


_Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]


class _RawValue(msgspec.Struct, frozen=True):
    """One value as Kubernetes' RawExtension looks in YAML: its JSON text as a list of bytes."""

    raw: list[_Byte] | None = None


class _WireConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    elemental: Elemental = Elemental()
    cloud_config: dict[str, _RawValue] | None = msgspec.field(name="cloud-config", default=None)
    configurator: str = ""
    ip_addresses: dict[str, str] | None = msgspec.field(name="ipAddresses", default=None)
    config: dict[str, _RawValue] | None = None


# What YAML calls unprintable or a line break but JSON leaves as it is; written as an escape it is both.
_BEYOND_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"


def _to_raw(value: JSON) -> _RawValue:
    return _RawValue(list(render_json(value)))


def _from_raw(values: Mapping[str, _RawValue] | None, *, what: str) -> dict[str, JSON]:
    return {
        key: parse_json(bytes(value.raw or b"null"), what=f"{what}'s {key}", limit=MAX_MESSAGE_BYTES)
        for key, value in (values or {}).items()
    }


_T = TypeVar("_T")


def _convert(value: JSON, type: type[_T], *, what: str) -> _T:
    try:
        return msgspec.convert(_without_nulls(value), type, dec_hook=_decode_secret)
    except (msgspec.ValidationError, RecursionError) as error:
        raise Malformed(f"{what} does not have its shape: {error}") from error


def _without_nulls(value: JSON) -> JSON:
    """A key without a value counts as an absent key, as it does for Go's decoder."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value


def _encode_secret(value: object) -> object:
    if isinstance(value, SecretText):
        return value.reveal()
    raise NotImplementedError(f"no encoding for {type(value).__name__}")


def _decode_secret(type: type, value: object) -> object:
    if type is SecretText and isinstance(value, str):
        return SecretText(value)
    raise NotImplementedError(f"no decoding into {type.__name__}")
