"""The controllers, in the order a host meets them: registered, inventoried, adopted, upgraded."""

from collections.abc import Sequence

from appliance.controllers.address_pools import AddressPoolController
from appliance.controllers.machine_inventory import MachineInventoryController
from appliance.controllers.machine_inventory_selector import MachineInventorySelectorController
from appliance.controllers.machine_registration import MachineRegistrationController
from appliance.controllers.managed_os_image import ManagedOSImageController
from appliance.controllers.managed_os_version import ManagedOSVersionController
from appliance.controllers.managed_os_version_channel import ManagedOSVersionChannelController
from appliance.controllers.manager import Controller
from appliance.controllers.registration_templates import RegistrationTemplatesController
from appliance.controllers.rollout import RolloutController
from appliance.controllers.seed_image import SeedImageController
from appliance.controllers.settings import ControllerSettings, ImageUnresolved
from appliance.store.base import Store

__all__ = ["ControllerSettings", "ImageUnresolved", "build"]


def build(store: Store, settings: ControllerSettings) -> Sequence[Controller]:
    """Every controller, over one store."""
    pools = [AddressPoolController(store, settings)] if settings.gives_addresses else []
    return (
        MachineRegistrationController(store, settings),
        RegistrationTemplatesController(store, settings),
        *pools,
        MachineInventoryController(store, settings),
        MachineInventorySelectorController(store, settings),
        ManagedOSVersionChannelController(store, settings),
        ManagedOSVersionController(store, settings),
        ManagedOSImageController(store, settings),
        RolloutController(store, settings),
        SeedImageController(store, settings),
    )
