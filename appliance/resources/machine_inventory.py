"""MachineInventory: one known machine. Created by its first registration, named once, never renamed."""

from typing import Any, Literal

import msgspec

from appliance.resources.machine_registration import GROUP, VERSION, TypedLocalReference
from appliance.resources.meta import Column, Condition, Kind, ObjectReference, Resource

# What a person decided about a waiting machine: pending, approved or rejected.
APPROVAL = "skerry.dev/approval"
APPROVED_BY = "skerry.dev/approved-by"
REGISTERED_WITH = "skerry.dev/machine-registration"

# Upstream's vocabulary on machines.
RESETTABLE = "elemental.cattle.io/resettable"
OS_UNMANAGED = "elemental.cattle.io/os.unmanaged"
FINALIZER = "machineinventory.elemental.cattle.io"

Approval = Literal["pending", "approved", "rejected"]

Configurator = Literal["none", "nmc", "nmstate", "nmconnections"]
MachineInventoryCondition = Literal["Ready", "AdoptionReady", "NetworkConfigReady"]
# `PlanCreationFailureReason` is upstream's spelling.
MachineInventoryReason = Literal[
    "PlanCreationFailureReason",
    "WaitingForPlan",
    "PlanFailure",
    "PlanSuccessfullyApplied",
    "IPReleaseFailure",
    "WaitingToBeAdopted",
    "ValidatingAdoption",
    "SuccessfullyAdopted",
    "AdoptionFailure",
    "ReconcilingNetworkConfig",
    "WaitingForIPAddress",
    "NetworkConfigFailure",
]


class Network(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    configurator: str = "none"
    ip_addresses: dict[str, str] = msgspec.field(default_factory=dict)
    config: dict[str, Any] = msgspec.field(default_factory=dict)


class MachineInventorySpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    tpm_hash: str = ""
    machine_hash: str = ""
    ip_address_pools: dict[str, TypedLocalReference] = msgspec.field(default_factory=dict)
    ip_address_claims: dict[str, ObjectReference] = msgspec.field(default_factory=dict)
    network: Network = Network()


class PlanStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    secret_ref: ObjectReference | None = None
    checksum: str = ""
    state: Literal["", "Applied", "Failed"] = ""


class MachineInventoryStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    conditions: list[Condition] = msgspec.field(default_factory=list)
    plan: PlanStatus = PlanStatus()


class MachineInventory(Resource, frozen=True, kw_only=True):
    spec: MachineInventorySpec = MachineInventorySpec()
    status: MachineInventoryStatus = MachineInventoryStatus()

    @property
    def approval(self) -> Approval:
        """Machines made by other means than our registration (kubectl, a restore) count as approved."""
        decided = self.metadata.annotations.get(APPROVAL, "approved")
        return "rejected" if decided == "rejected" else "pending" if decided == "pending" else "approved"


MACHINE_INVENTORY = Kind(
    group=GROUP,
    version=VERSION,
    kind="MachineInventory",
    plural="machineinventories",
    struct=MachineInventory,
    short_names=("mi", "host"),
    columns=(
        Column("READY", "status.conditions[Ready].status"),
        Column("APPROVED", "status.conditions[Approved].status"),
        Column("REASON", "status.conditions[Ready].reason", wide=True),
        Column("TPM", "spec.tpmHash", wide=True),
        Column("AGE", "metadata.creationTimestamp", type="date"),
    ),
)
