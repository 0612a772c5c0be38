"""What a machine says of itself that should be its own: serial, system UUID, MAC addresses. Pure.

None of it is proved; it is what tells a cloned disk or a copied TPM state apart from the original. Values
that firmware makers leave in every board are nothing.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agent.protocol.documents import JSON
from appliance.resources.machine_inventory import MACS, SERIAL, SYSTEM_UUID

MAX_MACS = 16
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PLACEHOLDERS = frozenset(
    (
        *("to be filled by o.e.m.", "to be filled by o.e.m", "default string", "system serial number"),
        *("not specified", "not applicable", "not available", "unspecified", "unknown", "none", "n/a", "na"),
        *(
            "123456789",
            "1234567890",
            "0123456789",
            "chassis serial number",
            "empty",
            "o.e.m.",
            "oem",
            "serial",
        ),
        *("03000200-0400-0500-0006-000700080009", "12345678-1234-5678-90ab-cddeefaabbcc"),
    )
)


@dataclass(frozen=True, slots=True)
class Claims:
    serial: str = ""
    uuid: str = ""
    macs: tuple[str, ...] = ()

    def names(self) -> Iterator[str]:
        """Each value under its kind, as machines are compared by it."""
        if self.serial:
            yield f"serial={self.serial}"
        for mac in self.macs:
            yield f"mac={mac}"
        if self.uuid:
            yield f"uuid={self.uuid}"

    def annotations(self) -> dict[str, str]:
        """How a MachineInventory remembers them; what is not known is left out."""
        values = {SERIAL: self.serial, SYSTEM_UUID: self.uuid, MACS: ",".join(self.macs)}
        return {key: value for key, value in values.items() if value}


def read_claims(data: Mapping[str, JSON]) -> Claims:
    """From the tree that templates read; whatever has another shape is not there."""
    system = data.get("System Information")
    facts = system if isinstance(system, dict) else {}
    macs: list[str] = []
    whole = data.get("System Data")
    for network in (data.get("Network"), whole.get("Network") if isinstance(whole, dict) else None):
        macs += _find_macs(network, depth=4)
    return Claims(
        serial=clean_serial(facts.get("Serial Number")),
        uuid=clean_uuid(facts.get("UUID")),
        macs=tuple(sorted(set(macs)))[:MAX_MACS],
    )


def recorded_claims(annotations: Mapping[str, str]) -> Claims:
    """What a MachineInventory remembers."""
    macs = tuple(mac for mac in annotations.get(MACS, "").split(",") if mac)
    return Claims(annotations.get(SERIAL, ""), annotations.get(SYSTEM_UUID, ""), macs)


def find_changes(before: Claims, now: Claims) -> str:
    """What a machine says otherwise than before, as words; a new network card is nothing to wonder about."""
    changes = [
        f"{word} {new}, which was {old}"
        for word, old, new in (("serial", before.serial, now.serial), ("system UUID", before.uuid, now.uuid))
        if old and new and old != new
    ]
    return " and ".join(changes)


def clean_serial(value: object) -> str:
    text = str(value).strip()[:128] if isinstance(value, str | int) else ""
    is_filler = text.lower() in _PLACEHOLDERS or len(set(text)) < 2 or not text.isprintable()
    return "" if is_filler else text


def clean_uuid(value: object) -> str:
    text = value.strip().lower() if isinstance(value, str) else ""
    is_filler = text in _PLACEHOLDERS or len(set(text)) <= 2
    return text if _UUID.fullmatch(text) and not is_filler else ""


def clean_mac(value: object) -> str:
    """The address of one interface: no multicast, no zeros."""
    text = value.strip().lower().replace("-", ":") if isinstance(value, str) else ""
    if not _MAC.fullmatch(text) or len(set(text)) <= 2:
        return ""
    return "" if int(text[:2], 16) & 0x01 else text


def _find_macs(tree: JSON, *, depth: int) -> list[str]:
    if depth == 0:
        return []
    if isinstance(tree, list):
        return [mac for each in tree[:256] for mac in _find_macs(each, depth=depth - 1)]
    if not isinstance(tree, dict):
        return []
    if "MacAddress" in tree:
        mac = clean_mac(tree["MacAddress"])
        is_virtual = str(tree.get("IsVirtual", "")).lower() == "true"
        return [mac] if mac and not is_virtual else []
    return [mac for each in list(tree.values())[:256] for mac in _find_macs(each, depth=depth - 1)]
