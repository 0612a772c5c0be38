"""Plans as their Secrets hold them: what the empty, upgrade and reset plans say, and what came of one.

Pure. The keys and the checksum are those of Elemental's system agent (facts: operator 4, host-os 5.3).
A result counts only for the plan it belongs to: an `applied-checksum` of an earlier plan says nothing
about this one (D11), and writing a plan clears what was said of the one before.
"""

import base64
import binascii
import hashlib
import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec

from appliance.controllers.owners import render_owner
from appliance.resources.core import MANAGED, PLAN_SECRET_TYPE, PLAN_TYPE, SECRET
from appliance.resources.machine_inventory import MACHINE_INVENTORY, MachineInventory
from appliance.resources.meta import Document

PlanState = Literal["", "Applied", "Failed"]
PlanType = Literal["empty", "bootstrap", "reset", "upgrade"]

EMPTY_PLAN = b"{}"
UPGRADED_BY = "skerry.dev/rollout"  # annotation on the plan Secret: whose upgrade plan it holds
PLANNED_AT = "skerry.dev/planned-at"  # annotation beside it: since when the Secret holds this plan
UPDATED_AT = "skerry.dev/updated-at"  # annotation beside it: when the host was first seen to run what it asks
UPGRADE_CLOUD_CONFIG = "/oem/90_operator.yaml"  # where upstream's upgrades put it, too
OUTPUT_LIMIT = 64 * 1024  # of a host's failure output, unpacked
REASON_LIMIT = 512


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """One plan Secret, read: `reason` is the last line a failed plan printed, if it kept any."""

    plan: bytes
    checksum: str
    type: str
    state: PlanState
    rollout: str = ""
    reason: str = ""
    planned_at: str = ""
    updated_at: str = ""


def read_plan(secret: Document) -> PlanRecord:
    """What the Secret asks of the host, and what the host answered to exactly that."""
    data = secret.get("data") or {}
    annotations = secret["metadata"].get("annotations") or {}
    plan = _decode(data, "plan")
    checksum = checksum_plan(plan)
    state = _read_state(data, checksum)
    return PlanRecord(
        plan=plan,
        checksum=checksum,
        type=annotations.get(PLAN_TYPE, ""),
        state=state,
        rollout=annotations.get(UPGRADED_BY, ""),
        reason=_read_failure(data) if state == "Failed" else "",
        planned_at=annotations.get(PLANNED_AT, ""),
        updated_at=annotations.get(UPDATED_AT, ""),
    )


def checksum_plan(plan: bytes) -> str:
    """Over the bytes as stored, so that both ends agree whatever wrote them."""
    return hashlib.sha256(plan).hexdigest()


def render_plan_secret(machine: MachineInventory) -> Document:
    """The Secret of a newly approved machine: the empty plan, which the host acknowledges."""
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.kind,
        "metadata": {
            "name": machine.metadata.name,
            "namespace": machine.metadata.namespace,
            "labels": {MANAGED: "true"},
            "annotations": {PLAN_TYPE: "empty"},
            "ownerReferences": [render_owner(MACHINE_INVENTORY, machine.metadata)],
        },
        "type": PLAN_SECRET_TYPE,
        "data": {"plan": _encode(EMPTY_PLAN)},
    }


def render_plan_change(plan: bytes, type: PlanType, *, rollout: str = "", planned_at: str = "") -> Document:
    """The merge patch that replaces a plan and forgets what was said of the one before, in one write."""
    annotations = {
        PLAN_TYPE: type,
        UPGRADED_BY: rollout or None,
        PLANNED_AT: planned_at or None,
        UPDATED_AT: None,
    }
    return {
        "metadata": {"annotations": annotations},
        "data": {
            "plan": _encode(plan),
            "applied-checksum": "",
            "failed-checksum": "",
            "applied-output": None,
            "failed-output": None,
            "failure-count": None,
            "plan-state": None,
        },
    }


def render_upgrade_plan(image: str, correlation_id: str, *, cloud_config: bytes = b"") -> bytes:
    """Ask the host's own agent to upgrade to an image by digest, with the configuration it brings."""
    instruction = {
        "name": "upgrade",
        "command": "skerry-agent",
        "args": ["upgrade", "--image", image, "--correlation-id", correlation_id],
        "saveOutput": True,
    }
    if not cloud_config:
        return msgspec.json.encode({"instructions": [instruction]})
    files = [_file(UPGRADE_CLOUD_CONFIG, cloud_config)]
    return msgspec.json.encode({"files": files, "instructions": [instruction]})


def render_reset_plan(machine: MachineInventory, *, is_managed: bool, now: datetime) -> bytes:
    """Upstream's reset: boot into recovery, where the host registers anew and resets itself."""
    if not is_managed:
        stamp = now.strftime("%Y-%m-%d %H:%M:%S").encode()
        return msgspec.json.encode({"files": [_file("/var/lib/elemental/.unmanaged_reset", stamp)]})
    instructions = [
        {
            "name": "configure next boot to recovery mode",
            "command": "grub2-editenv",
            "args": ["/oem/grubenv", "set", "next_entry=recovery"],
        },
        {"name": "schedule reboot", "command": "shutdown", "args": ["-r", "+1"]},
    ]
    if machine.spec.network.configurator not in ("", "none"):
        restore = {
            "name": "restore first boot config",
            "command": "elemental-register",
            "args": ["--debug", "--reset-network"],
        }
        instructions.insert(0, restore)
    files = [_file("/oem/reset-cloud-config.yaml", _RESET_CLOUD_CONFIG)]
    return msgspec.json.encode({"files": files, "instructions": instructions})


_RESET_CLOUD_CONFIG = b"""\
name: Elemental Reset
stages:
    network.after:
        - name: Trigger the reset
          if: '[ -f /run/cos/recovery_mode ] || [ -f /run/elemental/recovery_mode ]'
          commands:
            - systemctl start elemental-register-reset
"""


def _file(path: str, content: bytes) -> Document:
    return {"path": path, "content": _encode(content), "permissions": "0600"}


def _read_state(data: Document, checksum: str) -> PlanState:
    """`plan-state` speaks first where an agent keeps it: there the checksums mislead (D28)."""
    match _decode(data, "plan-state"):
        case b"succeeded":
            return "Applied"
        case b"failed":
            return "Failed"
        case b"":
            pass
        case _:
            return ""
    if _decode(data, "applied-checksum") == checksum.encode():
        return "Applied"
    return "Failed" if _decode(data, "failed-checksum") == checksum.encode() else ""


def _read_failure(data: Document) -> str:
    """The last line of the last instruction that kept its output; empty if there is none to read."""
    try:
        unpacked = zlib.decompressobj(wbits=31).decompress(_decode(data, "failed-output"), OUTPUT_LIMIT)
        outputs = msgspec.json.decode(unpacked, type=dict[str, str])
        texts = [base64.b64decode(output).decode(errors="replace").strip() for output in outputs.values()]
    except (zlib.error, msgspec.DecodeError, binascii.Error, ValueError):
        return ""
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:REASON_LIMIT] if lines else ""


def _decode(data: Document, key: str) -> bytes:
    try:
        return base64.b64decode(data.get(key) or "", validate=True)
    except (binascii.Error, ValueError):
        return b""


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode()
