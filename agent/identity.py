"""Who this host is to the appliance: its TPM, or an identifier where a registration asks for one.

The choices are upstream's: the lowest MAC address of a real network interface, the SMBIOS system UUID, or
a TPM, real or emulated. An emulated TPM is a pure function of its seed.
"""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

from agent.errors import AgentError, ConfigInvalid
from agent.host import Host
from agent.protocol.client_config import Registration
from agent.tpm.base import Tpm
from agent.tpm.software import SoftwareTpm

DEFAULT_SEED = 1  # what Elemental's client uses when the document gives none: zero is left out of it
SEED_OF_ITS_OWN = -1  # a seed of this host's own, for fleets
MAX_SEED = 2**63 - 1

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True, slots=True)
class TpmIdentity:
    tpm: Tpm


@dataclass(frozen=True, slots=True)
class PlainIdentity:
    """`auth` is mac or sys-uuid, for the annotations; the header does not tell them apart."""

    identifier: str
    auth: str


Identity: TypeAlias = "TpmIdentity | PlainIdentity"
OpenTpm: TypeAlias = Callable[[Host], Tpm]


def open_identity(
    host: Host, registration: Registration, *, seed: int, open_tpm: OpenTpm | None = None
) -> Identity:
    """What the registration asks this host to prove itself with. Raises AgentError when it cannot.

    `seed` is the emulated TPM's, already chosen; `open_tpm` opens the real one.
    """
    match registration.auth or "tpm":
        case "mac":
            return PlainIdentity(find_mac(host), "mac")
        case "sys-uuid":
            return PlainIdentity(find_system_uuid(host), "sys-uuid")
        case _ if registration.emulate_tpm:
            return TpmIdentity(SoftwareTpm.from_seed(seed))
        case _:
            return TpmIdentity((open_tpm or open_hardware)(host))


def open_hardware(host: Host) -> Tpm:
    """This machine's TPM 2.0. The library is imported only here, for hosts without it register too."""
    device = find_device(host)
    try:
        from agent.tpm.hardware import HardwareTpm
    except ImportError as error:
        raise ConfigInvalid(
            "the TPM library is not installed on this host",
            hint="install the `tpm` extra, or register with --emulate-tpm, mac or sys-uuid",
        ) from error
    return HardwareTpm(f"device:{device}")


def find_device(host: Host) -> Path:
    """The TPM 2.0's device, the resource manager's where there is one. Raises AgentError without a TPM."""
    for tpm in sorted(host.path("/sys/class/tpm").glob("tpm[0-9]*")):
        if (tpm / "caps").exists():  # only TPM 1.2 has that file
            continue
        managed = sorted(path.name for path in (tpm / "device" / "tpmrm").glob("tpmrm*"))
        return host.path(f"/dev/{managed[0] if managed else tpm.name}")
    raise AgentError(
        "this host has no TPM 2.0", hint="enable it in the firmware, or register with --emulate-tpm"
    )


def choose_seed(host: Host, *, configured: int, remembered: int) -> int:
    """The emulated TPM's seed: what was used before, what is configured, or one of this host's own."""
    if remembered:
        return remembered
    if configured != SEED_OF_ITS_OWN:
        return configured or DEFAULT_SEED
    try:
        uuid = UUID(find_system_uuid(host))
    except (AgentError, ValueError):
        return secrets.randbelow(MAX_SEED) + 1
    return (uuid.int & MAX_SEED) or DEFAULT_SEED


def find_mac(host: Host) -> str:
    """The lowest MAC address, as text, of the interfaces that are not virtual."""
    found = []
    for interface in host.path("/sys/class/net").glob("*"):
        if "/devices/virtual/net/" in f"{interface.resolve()}/":
            continue
        address = host.read_text(f"/sys/class/net/{interface.name}/address").lower()
        if _MAC.fullmatch(address) and address != "00:00:00:00:00:00":
            found.append(address)
    if not found:
        raise AgentError(
            "this host has no network interface with a MAC address", hint="register it by TPM or sys-uuid"
        )
    return min(found)


def find_system_uuid(host: Host) -> str:
    """The SMBIOS system UUID as the kernel gives it; firmware's ways of saying nothing are refused."""
    uuid = host.read_text("/sys/class/dmi/id/product_uuid")
    if not uuid or uuid in ("Unspecified", "None") or uuid.startswith("Not "):
        raise AgentError(
            f"this host's firmware gives no system UUID ({uuid or 'nothing'})",
            hint="register it by TPM or mac; reading the UUID needs root",
        )
    return uuid
