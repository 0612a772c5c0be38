"""AgentConfig: one TOML file, written onto media and into the OEM volume, read at every start.

Everything has a default that fits a real host; a file is only needed to differ. Unknown keys are errors:
a misspelt key on a medium carried to a hundred machines must show at once. Secrets are not in here.
"""

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from agent.errors import ConfigInvalid

CONFIG_PATH = "/etc/skerry/agent.toml"
MAX_CONFIG_BYTES = 256 * 1024
MIB = 1024 * 1024

DiskKind = Literal["partitions", "directories"]
SnapshotFormat = Literal["ext2", "ext4", "tar"]


class VolumeSizes(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """MiB. host-os.md 2.1; `persistent` takes the rest of the disk."""

    efi: int = 64
    oem: int = 64
    recovery: int = 4096
    state: int = 8192

    def __post_init__(self) -> None:
        if min(self.efi, self.oem, self.recovery, self.state) < 1:
            raise ValueError("volume sizes are MiB and must be at least 1")


class DiskConfig(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """`directories` is the simulated disk: a real GPT in a sparse file, volumes as plain directories.

    `device` is the disk that holds the installation, where partition labels alone would not tell.
    """

    kind: DiskKind = "partitions"
    sizes: VolumeSizes = VolumeSizes()
    device: str = ""
    allow_loop: bool = False


class SnapshotConfig(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """`tar` is the simulated host's image format; a boot loader reads only the other two."""

    format: SnapshotFormat = "ext2"
    headroom_mib: int = 256
    max_snaps: int = 2
    max_unpacked_mib: int = 64 * 1024

    def __post_init__(self) -> None:
        if self.max_snaps < 2:
            raise ValueError("max-snaps must be at least 2: the running system and a candidate")


class MirrorConfig(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """`plain_http` is never fallen back to: without it, only TLS is spoken."""

    plain_http: bool = False
    ca_file: str = ""
    timeout_seconds: float = 60.0


class HealthConfig(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Required checkers must pass within `attempts`; wanted ones are only reported."""

    required: str = "/usr/libexec/elemental-checker"
    wanted: str = "/usr/libexec/elemental-checker/wanted"
    attempts: int = 3
    delay_seconds: float = 10.0
    timeout_seconds: float = 120.0


class LoopConfig(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    plan_seconds: float = 5.0
    report_seconds: float = 30.0
    cool_down_seconds: float = 30.0
    retry_seconds: float = 5.0
    instruction_timeout_seconds: float = 3600.0


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """`reboot` is the command that reboots; empty means: end with EXIT_REBOOT and let the parent do it."""

    disk: DiskConfig = DiskConfig()
    snapshot: SnapshotConfig = SnapshotConfig()
    mirror: MirrorConfig = MirrorConfig()
    health: HealthConfig = HealthConfig()
    loop: LoopConfig = LoopConfig()
    discovery: bool = True
    reboot: list[str] = msgspec.field(default_factory=lambda: ["systemctl", "reboot"])


def load_config(path: Path) -> AgentConfig:
    """Read the file, or the defaults where there is none. Raises ConfigInvalid with the key's path."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return AgentConfig()
    except OSError as error:
        raise ConfigInvalid(f"cannot read {path}: {error.strerror}") from error
    return parse_config(content, name=str(path))


def parse_config(content: bytes, *, name: str = "the agent configuration") -> AgentConfig:
    if len(content) > MAX_CONFIG_BYTES:
        raise ConfigInvalid(f"{name} is larger than {MAX_CONFIG_BYTES} bytes")
    try:
        document = tomllib.loads(content.decode())
        return msgspec.convert(document, AgentConfig)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigInvalid(
            f"{name} is not valid: {error}",
            hint="its sections are disk, snapshot, mirror, health and loop; unknown keys are errors",
        ) from error


def render_config(config: AgentConfig) -> bytes:
    """Write what `parse_config` reads: sections of numbers, booleans, strings and lists of strings."""
    document: dict[str, object] = msgspec.to_builtins(config)
    lines = _render_table(document, prefix="")
    return ("\n".join(lines).strip() + "\n").encode()


def _render_table(table: dict[str, object], *, prefix: str) -> list[str]:
    plain = [f"{key} = {_render_value(value)}" for key, value in table.items() if not isinstance(value, dict)]
    lines = [f"[{prefix}]", *plain, ""] if prefix and plain else plain
    for key, value in table.items():
        if isinstance(value, dict):
            lines += ["", *_render_table(value, prefix=f"{prefix}.{key}" if prefix else key)]
    return lines


def _render_value(value: object) -> str:
    """TOML's strings, booleans, numbers and lists of them are written as JSON's."""
    return msgspec.json.encode(value).decode()
