"""Machines as the store and hosts describe them, and an inventory in a folder of its own."""

from datetime import UTC, datetime
from typing import Any

from agent.protocol.documents import JSON
from appliance.resources.machine_inventory import MachineInventory
from appliance.resources.meta import Document, decode

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
AT = "2026-03-01T12:00:00Z"
LATER = "2026-03-02T12:00:00Z"


def record(name: str, *, tpm: str = "", uid: str = "", **metadata: Any) -> Document:
    return {
        "metadata": {
            "name": name,
            "namespace": "fleet-default",
            "uid": uid or f"uid-{name}",
            "creationTimestamp": AT,
            **metadata,
        },
        "spec": {"tpmHash": tpm or f"tpm-{name}"},
    }


def machine(name: str, *, tpm: str = "", uid: str = "", **metadata: Any) -> MachineInventory:
    return decode(MachineInventory, record(name, tpm=tpm, uid=uid, **metadata))


def nic(name: str, mac: str, **more: str) -> dict[str, JSON]:
    return {"Name": name, "MacAddress": mac, "IsVirtual": "false", **more}


def disk(name: str, serial: str = "", size: int = 500, **more: str) -> dict[str, JSON]:
    return {"Name": name, "Size": str(size * 10**9), "SerialNumber": serial or "unknown", **more}


def facts(
    serial: str = "unknown",
    *,
    nics: list[dict[str, JSON]] | None = None,
    disks: list[dict[str, JSON]] | None = None,
    **branches: JSON,
) -> dict[str, JSON]:
    """The tree that a host sends; parts stand in it by number and by name, as agents send them."""
    tree: dict[str, JSON] = {"System Information": {"Serial Number": serial, "Manufacturer": "ACME"}}
    if nics is not None:
        tree["Network"] = {"NICs": _twice(nics)}
    if disks is not None:
        tree["Storage"] = {"Disks": _twice(disks)}
    return {**tree, **branches}


def _twice(parts: list[dict[str, JSON]]) -> dict[str, JSON]:
    numbered: dict[str, JSON] = {str(index): part for index, part in enumerate(parts)}
    return numbered | {str(part["Name"]): part for part in parts}
