"""Every kind the appliance serves, and how to find one by the words people type."""

from appliance.resources.core import CONFIG_MAP, EVENT, NAMESPACE, SECRET
from appliance.resources.host_report import HOST_REPORT
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.machine_registration import MACHINE_REGISTRATION
from appliance.resources.managed_os_image import MANAGED_OS_IMAGE
from appliance.resources.managed_os_version import MANAGED_OS_VERSION
from appliance.resources.meta import Kind
from appliance.resources.rollout import ROLLOUT

KINDS: tuple[Kind, ...] = (
    MACHINE_REGISTRATION,
    MACHINE_INVENTORY,
    MANAGED_OS_IMAGE,
    MANAGED_OS_VERSION,
    ROLLOUT,
    HOST_REPORT,
    NAMESPACE,
    SECRET,
    CONFIG_MAP,
    EVENT,
)


def find_kind(word: str) -> Kind | None:
    """Find a kind by plural, singular, kind or short name, in any case; `plural.group` works too."""
    wanted = word.lower()
    for kind in KINDS:
        names = {kind.plural, kind.singular, *kind.short_names, f"{kind.plural}.{kind.group}"}
        if wanted in names:
            return kind
    return None
