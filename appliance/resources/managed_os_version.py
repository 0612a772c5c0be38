"""ManagedOSVersion: one OS version that the mirror holds, under a name people can say."""

from typing import Any

import msgspec

from appliance.resources.machine_registration import GROUP, VERSION
from appliance.resources.meta import Column, Document, Kind, Resource
from appliance.resources.system_upgrade_plan import ContainerSpec


class ManagedOSVersionSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One OS version. Of the metadata, `upgradeImage`, `uri` and `displayName` are read.

    version: The version, for people.
    type: `container` (an image to upgrade to) or `iso` (a medium).
    min_version: Accepted for compatibility, not used.
    metadata: upgradeImage: the image, best by digest; uri: the medium; displayName, platforms: for people.
    upgrade_container: How this version is installed, where the ManagedOSImage does not say.
    """

    version: str = ""
    type: str = "container"
    min_version: str = ""
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    upgrade_container: ContainerSpec | None = None


class ManagedOSVersion(Resource, frozen=True, kw_only=True):
    spec: ManagedOSVersionSpec = ManagedOSVersionSpec()
    status: Document = msgspec.field(default_factory=dict)


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
