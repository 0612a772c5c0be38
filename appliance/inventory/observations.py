"""What one message says of one machine: its record, a report, a registration, an announcement. Pure."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.protocol.discovery import TXT_SERIAL_TAIL
from agent.protocol.documents import JSON
from appliance.discovery import Candidate
from appliance.inventory.entries import Source
from appliance.resources.machine_inventory import MachineInventory
from appliance.resources.meta import Document

REGISTRATION_IP = "elemental.cattle.io/registration-ip"
MAX_ADDRESSES = 64
MAX_TEXT = 256


@dataclass(frozen=True, slots=True)
class Observation:
    """None means that nothing was said of it. `facts` is the tree that the host sent."""

    source: Source
    at: str
    namespace: str = ""
    name: str = ""
    uid: str = ""
    tpm_hash: str = ""
    machine_hash: str = ""
    approval: str = ""
    labels: Mapping[str, str] | None = None
    addresses: tuple[str, ...] | None = None
    facts: Mapping[str, JSON] = field(default_factory=dict)
    is_sign_of_life: bool = False


@dataclass(frozen=True, slots=True)
class Announced:
    """What a machine says of itself to everybody on the link: nothing of it is proved."""

    id: str
    name: str
    address: str
    serial_tail: str
    first_seen: str
    last_seen: str


def observe_machine(
    machine: MachineInventory, *, at: str, facts: Mapping[str, JSON] | None = None
) -> Observation:
    """From the record in the store; with `facts`, from the registration that just wrote it."""
    metadata = machine.metadata
    address = read_address(metadata.annotations.get(REGISTRATION_IP, ""))
    return Observation(
        source="inventory" if facts is None else "registration",
        at=at if facts is not None else metadata.creation_timestamp or at,
        namespace=metadata.namespace,
        name=metadata.name,
        uid=machine.token_uid,
        tpm_hash=machine.spec.tpm_hash,
        machine_hash=machine.spec.machine_hash,
        approval=machine.approval,
        labels=dict(metadata.labels),
        addresses=(address,) if address and facts is not None else None,
        facts=facts or {},
        is_sign_of_life=facts is not None,
    )


def observe_report(document: Document, *, at: str) -> Observation | None:
    """From a HostReport; None when it holds no report. Its facts are whatever tree a host put there."""
    report = document.get("report")
    if not isinstance(report, dict):
        return None
    facts, addresses = report.get("facts"), report.get("addresses")
    found = [read_address(each) for each in addresses if isinstance(each, str)] if addresses else []
    return Observation(
        source="report",
        at=str(document.get("receivedAt") or at),
        namespace=document["metadata"].get("namespace", ""),
        name=document["metadata"]["name"],
        addresses=tuple(dict.fromkeys(each for each in found if each))[:MAX_ADDRESSES],
        facts=facts if isinstance(facts, dict) else {},
        is_sign_of_life=True,
    )


def observe_candidate(candidate: Candidate) -> Announced:
    return Announced(
        id=candidate.id,
        name=candidate.name,
        address=read_address(candidate.address) or candidate.address,
        serial_tail=candidate.details.get(TXT_SERIAL_TAIL, ""),
        first_seen=candidate.first_seen,
        last_seen=candidate.last_seen,
    )


def read_address(text: str) -> str:
    """An address as it is compared: without brackets, length of prefix or zone; empty if it is none."""
    bare = text.strip().strip("[]").partition("/")[0].partition("%")[0]
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return ""
