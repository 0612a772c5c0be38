"""MachineInventory: one known machine. Created by its first registration, named once, never renamed."""

from typing import Any, Literal

import msgspec

from appliance.resources.machine_registration import GROUP, VERSION, Configurator, TypedLocalReference
from appliance.resources.meta import Column, Condition, Kind, ObjectReference, Resource

# What a person decided about a waiting machine: pending, approved or rejected.
APPROVAL = "skerry.dev/approval"
APPROVED_BY = "skerry.dev/approved-by"
REJECTION_REASON = "skerry.dev/rejection-reason"  # what the person said who rejected it
REGISTERED_WITH = "skerry.dev/machine-registration"
APPROVALS_NEEDED = "skerry.dev/approvals-needed"  # "2" where two people must agree
FIRST_APPROVED_BY = "skerry.dev/first-approved-by"  # the first of the two
IDENTITY_DOUBT = "skerry.dev/identity-doubt"  # why this may be two machines, or another one
IDENTITY_ACCEPTED = "skerry.dev/identity-accepted"  # the doubt that a person looked at and put aside
WANTED_REGISTRATION = "skerry.dev/wanted-registration"  # another one, by which this machine came again
SERIAL = "skerry.dev/serial"  # what the machine says of itself, as it was first or as a person accepted it
SYSTEM_UUID = "skerry.dev/system-uuid"
MACS = "skerry.dev/macs"
REPORTED = "skerry.dev/reported-"  # before a name of what it says of itself now, while that is in doubt
UNRESOLVED_TEMPLATES = "skerry.dev/unresolved-templates"  # one sentence a line
FIRST_UID = "skerry.dev/first-uid"  # what it had before it moved to this store

# Upstream's vocabulary on machines.
RESETTABLE = "elemental.cattle.io/resettable"
OS_UNMANAGED = "elemental.cattle.io/os.unmanaged"
FINALIZER = "machineinventory.elemental.cattle.io"

Approval = Literal["pending", "approved", "rejected"]

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
    """Network configuration of this machine.

    configurator: Which tool the configuration is for.
    ip_addresses: Address claimed for each placeholder.
    config: The tool's own configuration, still with placeholders.
    """

    configurator: Configurator = "none"
    ip_addresses: dict[str, str] = msgspec.field(default_factory=dict)
    config: dict[str, Any] = msgspec.field(default_factory=dict)


class MachineInventorySpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which machine this is.

    tpm_hash: SHA-256 of the TPM's endorsement key, in hex.
    machine_hash: SHA-256 of the MAC address or SMBIOS UUID, in hex, where there is no TPM.
    ip_address_pools: Pool of each placeholder in the network configuration.
    ip_address_claims: Claim made for each placeholder.
    network: Network configuration of this machine.
    """

    tpm_hash: str = ""
    machine_hash: str = ""
    ip_address_pools: dict[str, TypedLocalReference] = msgspec.field(default_factory=dict)
    ip_address_claims: dict[str, ObjectReference] = msgspec.field(default_factory=dict)
    network: Network = Network()


class PlanStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of the machine's newest plan.

    secret_ref: Secret that holds the plan.
    checksum: Checksum of the plan that the machine answered for, or that it was asked to apply.
    state: What the machine answered: Applied or Failed.
    """

    secret_ref: ObjectReference | None = None
    checksum: str = ""
    state: Literal["", "Applied", "Failed"] = ""


class MachineInventoryStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is known of the machine.

    conditions: `Ready`: it applied its plan; `AdoptionReady`: a selector has it; `NetworkConfigReady`: its
        addresses are there.
    plan: What became of the machine's newest plan.
    """

    conditions: list[Condition] = msgspec.field(default_factory=list)
    plan: PlanStatus = PlanStatus()


class MachineInventory(Resource, frozen=True, kw_only=True):
    spec: MachineInventorySpec = MachineInventorySpec()
    status: MachineInventoryStatus = MachineInventoryStatus()

    @property
    def token_uid(self) -> str:
        """The uid that the host's token names; a token outlives a move to another store."""
        return self.metadata.annotations.get(FIRST_UID, self.metadata.uid)

    @property
    def approval(self) -> Approval:
        """Machines made by other means than our registration (kubectl, a restore) count as approved."""
        annotations = self.metadata.annotations
        decided = annotations.get(APPROVAL, "approved")
        if decided not in ("rejected", "pending") and annotations.get(APPROVALS_NEEDED) == "2":
            people = {annotations.get(FIRST_APPROVED_BY, ""), annotations.get(APPROVED_BY, "")} - {""}
            return "approved" if len(people) == 2 else "pending"
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
        Column("PLAN", "status.plan.state", wide=True),
        Column("ADOPTED", "status.conditions[AdoptionReady].status", wide=True),
        Column("TPM", "spec.tpmHash", wide=True),
        Column("AGE", "metadata.creationTimestamp", type="date"),
    ),
)
