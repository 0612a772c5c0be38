"""Every kind the appliance serves, and how to find one by the words people type."""

from appliance.resources.core import CONFIG_MAP, EVENT, NAMESPACE, SECRET
from appliance.resources.host_report import HOST_REPORT
from appliance.resources.ipam import IN_CLUSTER_IP_POOL, IP_ADDRESS, IP_ADDRESS_CLAIM
from appliance.resources.machine import MACHINE
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.machine_inventory_selector import (
    MACHINE_INVENTORY_SELECTOR,
    MACHINE_INVENTORY_SELECTOR_TEMPLATE,
)
from appliance.resources.machine_registration import MACHINE_REGISTRATION
from appliance.resources.managed_os_image import MANAGED_OS_IMAGE
from appliance.resources.managed_os_version import MANAGED_OS_VERSION
from appliance.resources.managed_os_version_channel import MANAGED_OS_VERSION_CHANNEL
from appliance.resources.meta import Kind
from appliance.resources.metadata import METADATA
from appliance.resources.rbac import ROLE, ROLE_BINDING
from appliance.resources.rollout import ROLLOUT
from appliance.resources.seed_image import SEED_IMAGE
from appliance.resources.service_account import SERVICE_ACCOUNT

KINDS: tuple[Kind, ...] = (
    MACHINE_REGISTRATION,
    MACHINE_INVENTORY,
    MACHINE_INVENTORY_SELECTOR,
    MACHINE_INVENTORY_SELECTOR_TEMPLATE,
    MANAGED_OS_IMAGE,
    MANAGED_OS_VERSION,
    MANAGED_OS_VERSION_CHANNEL,
    SEED_IMAGE,
    METADATA,
    ROLLOUT,
    HOST_REPORT,
    NAMESPACE,
    SECRET,
    CONFIG_MAP,
    EVENT,
    SERVICE_ACCOUNT,
    ROLE,
    ROLE_BINDING,
    MACHINE,
    IP_ADDRESS_CLAIM,
    IP_ADDRESS,
    IN_CLUSTER_IP_POOL,
)


def find_kind(word: str) -> Kind | None:
    """Find a kind by plural, singular, kind or short name, in any case; `plural.group` works too."""
    wanted = word.lower()
    for kind in KINDS:
        names = {kind.plural, kind.singular, *kind.short_names, f"{kind.plural}.{kind.group}"}
        if wanted in names:
            return kind
    return None
