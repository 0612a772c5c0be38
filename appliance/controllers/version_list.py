"""What a channel asks for and what its list says: options, intervals, entries. Pure.

The list is a JSON array of ManagedOSVersion-shaped objects, of which `metadata.name` and `spec` matter
(facts: operator 5.3). One entry that makes no sense is left out and named; it does not cost the others.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec

from appliance.resources.managed_os_version_channel import ManagedOSVersionChannelSpec
from appliance.resources.meta import Document

MAX_LIST_BYTES = 4 * 1024 * 1024
MAX_ENTRIES = 5_000
DEFAULT_TIMEOUT = timedelta(seconds=30)
LONGEST_TIMEOUT = timedelta(minutes=10)
IMAGE_KEYS = {"container": "upgradeImage", "iso": "uri"}

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_DURATION = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class InvalidChannel(ValueError):
    """The channel's spec makes no sense; the sentence says where."""


class InvalidList(ValueError):
    """What was read is no list of versions."""


@dataclass(frozen=True, slots=True)
class ListAddress:
    """Where a list is. `uri` is http(s), or a reference into the mirror; with `is_image` it is an image
    that would write the list when run, by the given command."""

    uri: str
    is_image: bool = False
    timeout: timedelta = DEFAULT_TIMEOUT
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    output_file: str = "/data/output"


@dataclass(frozen=True, slots=True)
class ParsedList:
    """The specs by name, and a sentence for each entry that was left out."""

    versions: Mapping[str, Document]
    problems: Sequence[str] = field(default_factory=list)


class _Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of both types, by their names in small letters: upstream does not look at the case."""

    uri: str = ""
    timeout: str = "30s"
    image: str = ""
    command: list[str] = msgspec.field(default_factory=list)
    args: list[str] = msgspec.field(default_factory=list)
    outputfile: str = "/data/output"


def parse_duration(text: str) -> timedelta:
    """Read a Go duration, such as `1h30m`. Raises ValueError."""
    parts = list(_DURATION.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text:
        raise ValueError(f"{text[:40]!r} is not a duration such as 30s or 1h30m")
    seconds = sum(float(part.group(1)) * _UNITS[part.group(2)] for part in parts)
    if seconds > timedelta(days=36_500).total_seconds():
        raise ValueError(f"{text[:40]!r} is longer than a hundred years")
    return timedelta(seconds=seconds)


def read_interval(spec: ManagedOSVersionChannelSpec) -> timedelta:
    """How often to synchronise. Raises InvalidChannel."""
    try:
        interval = parse_duration(spec.sync_interval)
    except ValueError as error:
        raise InvalidChannel(f"spec.syncInterval: {error}") from error
    if interval < timedelta(seconds=1):
        raise InvalidChannel(f"spec.syncInterval: {spec.sync_interval} is less than a second")
    return interval


def read_address(spec: ManagedOSVersionChannelSpec) -> ListAddress:
    """Where the channel's list is. Raises InvalidChannel."""
    try:
        given = {key.lower(): value for key, value in spec.options.items()}
        options = msgspec.convert(given, _Options)
        timeout = parse_duration(options.timeout)
    except (msgspec.ValidationError, ValueError) as error:
        raise InvalidChannel(f"spec.options: {error}") from error
    if not timedelta() < timeout <= LONGEST_TIMEOUT:
        raise InvalidChannel(f"spec.options.timeout: {options.timeout} is not between 0 and 10m")
    match spec.type.lower():
        case "json":
            if not options.uri:
                raise InvalidChannel("spec.options.uri: a json channel names the URI of its list")
            return ListAddress(options.uri, timeout=timeout)
        case "custom":
            if not options.image:
                raise InvalidChannel("spec.options.image: a custom channel names its image")
            return ListAddress(
                options.image,
                is_image=True,
                timeout=timeout,
                command=tuple(options.command),
                args=tuple(options.args),
                output_file=options.outputfile,
            )
        case "":
            raise InvalidChannel("spec.type: a channel is of type json or custom")
        case other:
            raise InvalidChannel(f"spec.type: {other[:40]!r} is neither json nor custom")


def parse_list(content: bytes, spec: ManagedOSVersionChannelSpec) -> ParsedList:
    """Read a list, with the channel's registry and container put in. Raises InvalidList."""
    if len(content) > MAX_LIST_BYTES:
        raise InvalidList(f"the list has {len(content)} bytes; {MAX_LIST_BYTES} are read")
    try:
        entries = msgspec.json.decode(content, type=list[object])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidList(f"the list is not a JSON array: {error}") from error
    if len(entries) > MAX_ENTRIES:
        raise InvalidList(f"the list has {len(entries)} entries; {MAX_ENTRIES} are read")
    versions: dict[str, Document] = {}
    problems = []
    for number, entry in enumerate(entries):
        try:
            name, version = _read_entry(entry)
            versions[name] = _complete(version, spec)
        except ValueError as error:
            problems.append(f"entry {number}: {error}")
    return ParsedList(versions, problems)


def _read_entry(entry: object) -> tuple[str, Document]:
    metadata = entry.get("metadata") if isinstance(entry, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"metadata.name {str(name)[:80]!r} is not a Kubernetes name")
    spec = entry.get("spec") if isinstance(entry, dict) else None
    if not isinstance(spec, dict) or not isinstance(spec.get("metadata", {}), dict):
        raise ValueError(f"{name} has no spec that is an object")
    if not isinstance(spec.get("type", ""), str) or not isinstance(spec.get("version", ""), str):
        raise ValueError(f"{name}: version and type are texts")
    return name, spec


def _complete(version: Document, spec: ManagedOSVersionChannelSpec) -> Document:
    complete = dict(version)
    if spec.upgrade_container is not None:
        complete["upgradeContainer"] = msgspec.to_builtins(spec.upgrade_container)
    key = IMAGE_KEYS.get(str(version.get("type", "")).lower())
    if not spec.registry or key is None:
        return complete
    metadata = dict(version.get("metadata", {}))
    image = metadata.get(key)
    if isinstance(image, str) and image and not image.startswith(("http://", "https://")):
        slash = "" if spec.registry.endswith("/") or image.startswith("/") else "/"
        metadata[key] = f"{spec.registry}{slash}{image}"
    return {**complete, "metadata": metadata}
