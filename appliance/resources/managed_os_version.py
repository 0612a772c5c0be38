"""ManagedOSVersion: one OS version that the mirror holds, under a name people can say."""

from typing import Any

import msgspec

from appliance.resources.machine_registration import GROUP, VERSION
from appliance.resources.meta import Column, Kind, Resource
from appliance.resources.system_upgrade_plan import ContainerSpec


class ManagedOSVersionSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`metadata` keys we use: `upgradeImage` (reference, by digest where we wrote it), `displayName`."""

    version: str = ""
    type: str = "container"
    min_version: str = ""
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    upgrade_container: ContainerSpec | None = None


class ManagedOSVersion(Resource, frozen=True, kw_only=True):
    spec: ManagedOSVersionSpec = ManagedOSVersionSpec()


MANAGED_OS_VERSION = Kind(
    group=GROUP,
    version=VERSION,
    kind="ManagedOSVersion",
    plural="managedosversions",
    struct=ManagedOSVersion,
    short_names=("mov",),
    columns=(
        Column("VERSION", "spec.version"),
        Column("TYPE", "spec.type"),
        Column("IMAGE", "spec.metadata.upgradeImage", wide=True),
        Column("AGE", "metadata.creationTimestamp", type="date"),
    ),
)
