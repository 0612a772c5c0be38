"""ManagedOSImage: which OS image a set of machines should run. Embedded mode turns it into a Rollout."""

from typing import Any

import msgspec

from appliance.resources.machine_registration import GROUP, VERSION
from appliance.resources.meta import Column, Condition, Kind, LabelSelector, Resource


class ManagedOSImageSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Fleet's and Kubernetes' own types stay free objects: we keep them, their controllers read them."""

    os_image: str = msgspec.field(name="osImage", default="")
    managed_os_version_name: str = msgspec.field(name="managedOSVersionName", default="")
    cloud_config: dict[str, Any] | None = msgspec.field(name="cloudConfig", default=None)
    node_selector: LabelSelector | None = msgspec.field(name="nodeSelector", default=None)
    concurrency: int | None = None
    cordon: bool | None = None
    drain: dict[str, Any] | None = None
    prepare: dict[str, Any] | None = None
    upgrade_container: dict[str, Any] | None = msgspec.field(name="upgradeContainer", default=None)
    cluster_rollout_strategy: dict[str, Any] | None = msgspec.field(
        name="clusterRolloutStrategy", default=None
    )
    cluster_targets: list[dict[str, Any]] | None = msgspec.field(name="clusterTargets", default=None)


class ManagedOSImageStatus(msgspec.Struct, frozen=True, kw_only=True):
    conditions: list[Condition] = msgspec.field(default_factory=list)


class ManagedOSImage(Resource, frozen=True, kw_only=True):
    spec: ManagedOSImageSpec = ManagedOSImageSpec()
    status: ManagedOSImageStatus = ManagedOSImageStatus()


MANAGED_OS_IMAGE = Kind(
    group=GROUP,
    version=VERSION,
    kind="ManagedOSImage",
    plural="managedosimages",
    struct=ManagedOSImage,
    short_names=("moi",),
    columns=(
        Column("IMAGE", "spec.osImage"),
        Column("VERSION", "spec.managedOSVersionName"),
        Column("READY", "status.conditions[Ready].status"),
        Column("AGE", "metadata.creationTimestamp", type="date"),
    ),
)
