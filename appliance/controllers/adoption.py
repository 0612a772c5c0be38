"""Which machine a selector takes, and whether one that it took is still its own. Pure.

Machines of other namespaces are never taken, though upstream looks there too (D10): an owner reference does
not cross namespaces, and the garbage collector would delete such a machine. A machine that waits for approval
is not taken, nor one whose last adoption its controller has not yet seen the end of.
"""

from collections.abc import Iterable

from appliance.controllers.owners import find_owner
from appliance.resources.machine_inventory import MachineInventory
from appliance.resources.machine_inventory_selector import (
    MACHINE_INVENTORY_SELECTOR,
    AddressType,
    MachineAddress,
    MachineInventorySelector,
)
from appliance.resources.meta import LabelSelector, find_condition

# Upstream's three labels, whatever the registration's label prefix.
ADDRESS_LABELS: tuple[tuple[AddressType, str], ...] = (
    ("ExternalIP", "elemental.cattle.io/ExternalIP"),
    ("InternalIP", "elemental.cattle.io/InternalIP"),
    ("Hostname", "elemental.cattle.io/Hostname"),
)


def order_candidates(machines: Iterable[MachineInventory]) -> list[MachineInventory]:
    """The machines that are free, in the order to try them: those whose agent answers first, then by name."""
    free = [machine for machine in machines if is_free(machine)]
    return sorted(free, key=lambda machine: (not _has(machine, "Ready"), machine.metadata.name))


def is_free(machine: MachineInventory) -> bool:
    """Say whether a selector may take the machine."""
    metadata = machine.metadata
    return (
        metadata.deletion_timestamp is None
        and machine.approval == "approved"
        and not any(owner.controller for owner in metadata.owner_references)
        and find_owner(metadata, MACHINE_INVENTORY_SELECTOR) is None
        and not _has(machine, "AdoptionReady")
    )


def is_taken_by(machine: MachineInventory, selector: MachineInventorySelector) -> bool:
    """Say whether the machine names this very selector as its owner."""
    owner = find_owner(machine.metadata, MACHINE_INVENTORY_SELECTOR)
    return owner is not None and owner.uid == selector.metadata.uid


def is_adopted(machine: MachineInventory) -> bool:
    """Say whether the machine's own controller confirmed its owner."""
    return _has(machine, "AdoptionReady")


def choose_addresses(machine: MachineInventory) -> list[MachineAddress]:
    """Each address that the machine's labels give, once (D12)."""
    labels = machine.metadata.labels
    given = [(sort, labels.get(key, "")) for sort, key in ADDRESS_LABELS]
    return [MachineAddress(type=sort, address=address) for sort, address in given if address]


def render_selector(selector: LabelSelector) -> str:
    """A label selector in Kubernetes' text form; the empty one is the empty text, and matches all."""
    terms = [f"{key}={value}" for key, value in sorted(selector.match_labels.items())]
    for requirement in selector.match_expressions:
        values = ",".join(requirement.values)
        match requirement.operator:
            case "In":
                terms.append(f"{requirement.key} in ({values})")
            case "NotIn":
                terms.append(f"{requirement.key} notin ({values})")
            case "Exists":
                terms.append(requirement.key)
            case "DoesNotExist":
                terms.append(f"!{requirement.key}")
    return ",".join(terms)


def _has(machine: MachineInventory, type: str) -> bool:
    condition = find_condition(machine.status.conditions, type)
    return condition is not None and condition.status == "True"
