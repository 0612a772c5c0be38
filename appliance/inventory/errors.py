"""What can go wrong with the inventory, as sentences for a technician.

InventoryError
├── MachineUnknown        nothing is known by that name, serial, MAC, address or tag
├── MachineAmbiguous      several machines answer to it
├── EntryInvalid          what a person wrote is too long, empty, or makes no sense
├── InventoryUnavailable  its file cannot be used now: closed, disk full, another program has it
└── InventoryDamaged      its file is not sound; nothing was changed
"""

from appliance.errors import ApplianceFault


class InventoryError(ApplianceFault):
    pass


class MachineUnknown(InventoryError):
    pass


class MachineAmbiguous(InventoryError):
    pass


class EntryInvalid(InventoryError):
    pass


class InventoryUnavailable(InventoryError):
    pass


class InventoryDamaged(InventoryError):
    pass
