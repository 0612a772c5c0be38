"""Documents, reports and times for the controllers' tests."""

import base64
import gzip
import json
from datetime import UTC, datetime, timedelta

import msgspec

from agent.protocol.report import Mode, Outcome, Phase, Report, Slot, SlotName, SlotState, Transaction
from appliance.controllers.settings import ControllerSettings, ImageUnresolved
from appliance.controllers.version_list import ListAddress
from appliance.resources.machine_inventory import APPROVAL
from appliance.resources.meta import Document

NAMESPACE = "fleet-default"
START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
V1 = "sha256:" + "1" * 64
V2 = "sha256:" + "2" * 64
V3 = "sha256:" + "3" * 64
MIRROR = "10.0.0.1:5000"


class Clock:
    """A time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **duration: float) -> None:
        self.now += timedelta(**duration)


def resolve(reference: str) -> str:
    """The mirror, reduced to three tags."""
    digests = {"demo:v1": V1, "demo:v2": V2, "demo:v3": V3}
    if reference not in digests:
        raise ImageUnresolved(f"the mirror has no image {reference}")
    return f"{MIRROR}/demo@{digests[reference]}"


def read_list(address: ListAddress) -> bytes:
    """The list of a channel, reduced to one version."""
    metadata = {"upgradeImage": "demo:v2", "displayName": "Demo"}
    spec = {"type": "container", "version": "v2", "metadata": metadata}
    return json.dumps([{"metadata": {"name": "v2"}, "spec": spec}]).encode()


def settings(clock: Clock, *, server_url: str = "https://box.lan") -> ControllerSettings:
    return ControllerSettings(server_url=server_url, resolve=resolve, read_list=read_list, clock=clock)


def registration(name: str = "plant", **spec: object) -> Document:
    return {
        "apiVersion": "elemental.cattle.io/v1beta1",
        "kind": "MachineRegistration",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


def inventory(name: str = "host-0", *, approval: str = "approved", **annotations: str) -> Document:
    return {
        "apiVersion": "elemental.cattle.io/v1beta1",
        "kind": "MachineInventory",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"line": "demo"},
            "annotations": {APPROVAL: approval, **annotations},
        },
        "spec": {"tpmHash": name.encode().hex().ljust(64, "0")},
    }


def selector(name: str = "node-0", *, owner: Document | None = None, **labels: str) -> Document:
    """A MachineInventorySelector; `owner` is the Machine that it is made for."""
    metadata: Document = {"name": name, "namespace": NAMESPACE}
    if owner is not None:
        metadata["ownerReferences"] = [
            {
                "apiVersion": owner["apiVersion"],
                "kind": owner["kind"],
                "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"],
                "controller": True,
            }
        ]
    return {
        "apiVersion": "elemental.cattle.io/v1beta1",
        "kind": "MachineInventorySelector",
        "metadata": metadata,
        "spec": {"selector": {"matchLabels": labels or {"line": "demo"}}},
    }


def machine_of(name: str, *, secret: str | None = None) -> Document:
    """The Cluster API Machine whose infrastructure is the selector of the same name."""
    return {
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "Machine",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "clusterName": "plant",
            "bootstrap": {"dataSecretName": f"{name}-bootstrap" if secret is None else secret},
            "infrastructureRef": {"kind": "MachineInventorySelector", "name": name},
        },
    }


def bootstrap_secret(name: str) -> Document:
    """What a bootstrap provider leaves for that Machine."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"{name}-bootstrap", "namespace": NAMESPACE},
        "data": {"value": encode(f"#!/bin/sh\necho {name} joins\n")},
    }


def pool(name: str, *addresses: str, **spec: object) -> Document:
    return {
        "apiVersion": "ipam.cluster.x-k8s.io/v1alpha2",
        "kind": "InClusterIPPool",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"addresses": list(addresses), "prefix": 24, **spec},
    }


def rollout(name: str = "to-v2", *, image: str = "demo:v2", **spec: object) -> Document:
    return {
        "apiVersion": "skerry.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"image": image, "selector": {"matchLabels": {"line": "demo"}}, **spec},
    }


def report(
    *,
    digest: str = V1,
    booted: SlotName = "a",
    mode: Mode = "active",
    transaction: Transaction | None = None,
    bad: str = "",
    state: SlotState = "good",
) -> Report:
    """A host that runs `digest` from slot `booted`; `bad` is what the other slot is remembered bad for."""
    other: SlotName = "b" if booted == "a" else "a"
    return Report(
        agent_version="0.1.0",
        boot_id="boot",
        mode=mode,
        booted_slot=booted,
        digest=digest,
        version="v1",
        slots=[
            Slot(name=booted, state=state, digest=digest),
            Slot(name=other, state="bad" if bad else "empty", digest=bad, reason="50-demo.sh failed"),
        ],
        transaction=transaction,
    )  # fmt: skip


def transaction(
    digest: str = V2,
    *,
    phase: Phase = "pulling",
    outcome: Outcome = "",
    reason: str = "",
    correlation: str = "",
) -> Transaction:
    return Transaction(
        id="1",
        action="upgrade",
        digest=digest,
        slot="b",
        phase=phase,
        outcome=outcome,
        reason=reason,
        correlation_id=correlation,
    )


def host_report(name: str, report: Report, *, received_at: str) -> Document:
    return {
        "apiVersion": "skerry.dev/v1alpha1",
        "kind": "HostReport",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "report": msgspec.to_builtins(report),
        "receivedAt": received_at,
    }


def encode(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def failure_output(text: str) -> str:
    """`failed-output` as the system agent writes it."""
    return encode(gzip.compress(json.dumps({"upgrade": encode(text)}).encode()))
