"""MachineInventorySelector: a claim of one machine by its labels; and the template that makes them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from appliance.resources.machine_registration import GROUP, VERSION
from appliance.resources.meta import (
    Column,
    Condition,
    Document,
    Kind,
    LabelSelector,
    ObjectReference,
    Resource,
)

AddressType = Literal["Hostname", "ExternalIP", "InternalIP", "ExternalDNS", "InternalDNS"]

MachineInventorySelectorCondition = Literal["Ready", "InventoryReady"]
# `FailedToSetAdresses` is upstream's spelling.
MachineInventorySelectorReason = Literal[
    "WaitingForInventory",
    "WaitForInventoryCheck",
    "SuccessfullyAdoptedInventory",
    "FailedToAdoptInventory",
    "SuccessfullyUpdatedPlan",
    "FailedToUpdatePlan",
    "FailedToSetAdresses",
    "SelectorReady",
]


class MachineInventorySelectorSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which machine is wanted.

    provider_id: Accepted for compatibility, not used.
    selector: Labels that the machine must have; an empty one matches any.
    """

    provider_id: str = msgspec.field(name="providerID", default="")
    selector: LabelSelector = LabelSelector()


class MachineAddress(msgspec.Struct, frozen=True, kw_only=True):
    """One address of the machine.

    type: What the address is.
    address: The name or address.
    """

    type: AddressType
    address: Annotated[str, Meta(min_length=1, max_length=256)]


class MachineInventorySelectorStatus(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """Which machine was adopted.

    conditions: `InventoryReady`: a machine was adopted; `Ready`: it has its bootstrap plan.
    ready: Cluster API: the machine can be used.
    addresses: Addresses of the machine.
    bootstrap_plan_checksum: Checksum of the bootstrap plan; set once.
    machine_inventory_ref: The adopted machine.
    """

    conditions: list[Condition] = msgspec.field(default_factory=list)
    ready: bool = False
    addresses: Annotated[list[MachineAddress], Meta(max_length=128)] = msgspec.field(default_factory=list)
    bootstrap_plan_checksum: str = ""
    machine_inventory_ref: ObjectReference | None = None


class MachineInventorySelector(Resource, frozen=True, kw_only=True):
    spec: MachineInventorySelectorSpec = MachineInventorySelectorSpec()
    status: MachineInventorySelectorStatus = MachineInventorySelectorStatus()


class SelectorTemplate(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The selector that is to be made, without a name.

    api_version: Group and version of the selector.
    kind: Kind of the selector.
    metadata: Labels and annotations of the selector.
    spec: Which machine is wanted.
    status: Accepted for compatibility, not used.
    """

    api_version: str = ""
    kind: str = ""
    metadata: Document = msgspec.field(default_factory=dict)
    spec: MachineInventorySelectorSpec = MachineInventorySelectorSpec()
    status: MachineInventorySelectorStatus = MachineInventorySelectorStatus()


class MachineInventorySelectorTemplateSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What selectors are made from.

    template: The selector that is to be made.
    """

    template: SelectorTemplate


class MachineInventorySelectorTemplate(Resource, frozen=True, kw_only=True):
    spec: MachineInventorySelectorTemplateSpec | None = None


MACHINE_INVENTORY_SELECTOR = Kind(
    group=GROUP,
    version=VERSION,
    kind="MachineInventorySelector",
    plural="machineinventoryselectors",
    struct=MachineInventorySelector,
    short_names=("mis",),
    columns=(
        Column("READY", "status.conditions[Ready].status"),
        Column("MACHINE", "status.machineInventoryRef.name"),
        Column("REASON", "status.conditions[Ready].reason", wide=True),
        Column("AGE", "metadata.creationTimestamp", type="date"),
    ),
)
MACHINE_INVENTORY_SELECTOR_TEMPLATE = Kind(
    group=GROUP,
    version=VERSION,
    kind="MachineInventorySelectorTemplate",
    plural="machineinventoryselectortemplates",
    struct=MachineInventorySelectorTemplate,
    short_names=("mist",),
    has_status=False,
    columns=(Column("AGE", "metadata.creationTimestamp", type="date"),),
)
