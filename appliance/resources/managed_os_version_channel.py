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
