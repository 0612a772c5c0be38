"""ManagedOSVersionChannel: where OS versions are read from, and how often."""

from typing import Any, Literal

import msgspec

from appliance.resources.machine_registration import GROUP, VERSION
from appliance.resources.meta import Column, Condition, Kind, Resource
from appliance.resources.system_upgrade_plan import ContainerSpec

ManagedOSVersionChannelCondition = Literal["Ready"]
ManagedOSVersionChannelReason = Literal[
    "InvalidConfiguration",
    "Synchronizing",
    "Synchronized",
    "FailedToSync",
    "FailedToCreatePod",
    "ChannelDisabled",
]


class ManagedOSVersionChannelSpec(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """Where OS versions are read from.

    type: `json` (a document) or `custom` (an image with a document in it).
    sync_interval: How often, as 1h or 30m.
    delete_no_longer_in_sync_versions: Delete versions that the channel has stopped to list.
    enabled: Whether it is read at all.
    registry: Registry to put before the images of the versions.
    options: For json: uri, timeout; for custom: image, command, args.
    upgrade_container: How the versions of this channel are installed.
    """

    type: str = ""
    sync_interval: str = "1h"
    delete_no_longer_in_sync_versions: bool = False
    enabled: bool = True
    registry: str = ""
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    upgrade_container: ContainerSpec | None = None


class ManagedOSVersionChannelStatus(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """When it was last read.

    conditions: `Ready`: it was read.
    last_synced_time: When it was last read.
    failed_synchronization_attempts: How often in a row it could not be read.
    synced_generation: Generation of the channel that was last read.
    """

    conditions: list[Condition] = msgspec.field(default_factory=list)
    last_synced_time: str | None = None
    failed_synchronization_attempts: int = 0
    synced_generation: int = 0


class ManagedOSVersionChannel(Resource, frozen=True, kw_only=True):
    spec: ManagedOSVersionChannelSpec = ManagedOSVersionChannelSpec()
    status: ManagedOSVersionChannelStatus = ManagedOSVersionChannelStatus()


MANAGED_OS_VERSION_CHANNEL = Kind(
    group=GROUP,
    version=VERSION,
    kind="ManagedOSVersionChannel",
    plural="managedosversionchannels",
    struct=ManagedOSVersionChannel,
    short_names=("movc",),
    columns=(
        Column("TYPE", "spec.type"),
        Column("ENABLED", "spec.enabled", type="boolean"),
        Column("READY", "status.conditions[Ready].status"),
        Column("REASON", "status.conditions[Ready].reason"),
        Column("SYNCED", "status.lastSyncedTime", type="date"),
        Column("INTERVAL", "spec.syncInterval", wide=True),
        Column("AGE", "metadata.creationTimestamp", type="date"),
    ),
)
