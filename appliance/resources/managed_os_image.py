"""ManagedOSImage: which OS image a set of machines should run. Embedded mode turns it into a Rollout."""

from typing import Any, Literal

import msgspec

from appliance.resources.machine_registration import GROUP, VERSION
from appliance.resources.meta import Column, Condition, Kind, LabelSelector, Open, Resource
from appliance.resources.system_upgrade_plan import ContainerSpec, DrainSpec

# Besides these two, upstream copies whatever conditions the Fleet bundle has.
ManagedOSImageCondition = Literal["FleetBundleCreation", "Ready"]
ManagedOSImageReason = Literal["FleetBundleCreateSuccess", "FleetBundleCreateFailure"]


class RolloutPartition(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Fleet's Partition: clusters that move together."""

    name: str = ""
    max_unavailable: int | str | None = None
    cluster_name: str = ""
    cluster_selector: LabelSelector | None = None
    cluster_group: str = ""
    cluster_group_selector: LabelSelector | None = None


class ClusterRolloutStrategy(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Fleet's RolloutStrategy: how many clusters may be down. Numbers, or shares as `25%`."""

    max_unavailable: int | str | None = None
    max_unavailable_partitions: int | str | None = None
    auto_partition_size: int | str | None = None
    partitions: list[RolloutPartition] = msgspec.field(default_factory=list)


class ClusterTarget(Open, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Fleet's BundleTarget: which clusters are meant. Its deployment options are kept unread."""

    name: str = ""
    cluster_name: str = ""
    cluster_selector: LabelSelector | None = None
    cluster_group: str = ""
    cluster_group_selector: LabelSelector | None = None
    do_not_deploy: bool = False
    namespace_labels: dict[str, str] = msgspec.field(default_factory=dict)
    namespace_annotations: dict[str, str] = msgspec.field(default_factory=dict)


class ManagedOSImageSpec(msgspec.Struct, frozen=True, kw_only=True):
    """`drain` given as null means that nodes are not drained."""

    os_image: str = msgspec.field(name="osImage", default="")
    managed_os_version_name: str = msgspec.field(name="managedOSVersionName", default="")
    cloud_config: dict[str, Any] | None = msgspec.field(name="cloudConfig", default=None)
    node_selector: LabelSelector | None = msgspec.field(name="nodeSelector", default=None)
    concurrency: int | None = None
    cordon: bool | None = None
    drain: DrainSpec | None = None
    prepare: ContainerSpec | None = None
    upgrade_container: ContainerSpec | None = msgspec.field(name="upgradeContainer", default=None)
    cluster_rollout_strategy: ClusterRolloutStrategy | None = msgspec.field(
        name="clusterRolloutStrategy", default=None
    )
    cluster_targets: list[ClusterTarget] | None = msgspec.field(name="clusterTargets", default=None)


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
