"""ManagedOSImage: which OS image a set of machines should run. Embedded mode turns it into a Rollout."""

from typing import Any, Literal

import msgspec

from appliance.resources.machine_registration import GROUP, VERSION
from appliance.resources.meta import Column, Condition, Kind, LabelSelector, Open, Resource
from appliance.resources.system_upgrade_plan import ContainerSpec, DrainSpec

# Besides these two, upstream copies whatever conditions the Fleet bundle has.
ManagedOSImageCondition = Literal["FleetBundleCreation", "Ready"]
ManagedOSImageReason = Literal["FleetBundleCreateSuccess", "FleetBundleCreateFailure"]

DEFAULT_DRAIN = DrainSpec(
    force=True, skip_wait_for_delete_timeout=60, ignore_daemon_sets=True, delete_local_data=True
)


class RolloutPartition(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Fleet's Partition: clusters that move together.

    name: Name of the partition.
    max_unavailable: Clusters of it that may be down: a number, or a share such as 25%.
    cluster_name: One cluster by name.
    cluster_selector: Clusters by labels.
    cluster_group: Clusters of this group.
    cluster_group_selector: Clusters of groups by labels.
    """

    name: str = ""
    max_unavailable: int | str | None = None
    cluster_name: str = ""
    cluster_selector: LabelSelector | None = None
    cluster_group: str = ""
    cluster_group_selector: LabelSelector | None = None


class ClusterRolloutStrategy(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Fleet's RolloutStrategy: how many clusters may be down.

    max_unavailable: Clusters that may be down: a number, or a share such as 25%.
    max_unavailable_partitions: Partitions that may be down.
    auto_partition_size: Size of partitions where none are given.
    partitions: Clusters that move together, one after the other.
    """

    max_unavailable: int | str | None = None
    max_unavailable_partitions: int | str | None = None
    auto_partition_size: int | str | None = None
    partitions: list[RolloutPartition] = msgspec.field(default_factory=list)


class ClusterTarget(Open, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Fleet's BundleTarget: which clusters are meant. Its deployment options are kept unread.

    name: Name of the target.
    cluster_name: One cluster by name.
    cluster_selector: Clusters by labels.
    cluster_group: Clusters of this group.
    cluster_group_selector: Clusters of groups by labels.
    do_not_deploy: Leave these clusters out.
    namespace_labels: Labels for the namespace in the cluster.
    namespace_annotations: Annotations for the namespace in the cluster.
    """

    name: str = ""
    cluster_name: str = ""
    cluster_selector: LabelSelector | None = None
    cluster_group: str = ""
    cluster_group_selector: LabelSelector | None = None
    do_not_deploy: bool = False
    namespace_labels: dict[str, str] = msgspec.field(default_factory=dict)
    namespace_annotations: dict[str, str] = msgspec.field(default_factory=dict)


class ManagedOSImageSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Which image, for which machines, and how carefully.

    os_image: Image to run; goes before the version.
    managed_os_version_name: ManagedOSVersion whose image to run.
    cloud_config: cloud-init or yip configuration to put on the machines.
    node_selector: Machines that are meant; all if left out.
    concurrency: Machines at a time; 1 if left out.
    cordon: Take no new pods while upgrading; yes if left out.
    drain: How a node is emptied first; null means not at all.
    prepare: Step before the upgrade.
    upgrade_container: The upgrade itself, in place of the usual.
    cluster_rollout_strategy: How many clusters may be down.
    cluster_targets: Clusters that are meant.
    """

    os_image: str = msgspec.field(name="osImage", default="")
    managed_os_version_name: str = msgspec.field(name="managedOSVersionName", default="")
    cloud_config: dict[str, Any] | None = msgspec.field(name="cloudConfig", default=None)
    node_selector: LabelSelector | None = msgspec.field(name="nodeSelector", default=None)
    concurrency: int | None = None
    cordon: bool | None = None
    drain: DrainSpec | None = DEFAULT_DRAIN
    prepare: ContainerSpec | None = None
    upgrade_container: ContainerSpec | None = msgspec.field(name="upgradeContainer", default=None)
    cluster_rollout_strategy: ClusterRolloutStrategy | None = msgspec.field(
        name="clusterRolloutStrategy", default=None
    )
    cluster_targets: list[ClusterTarget] | None = msgspec.field(name="clusterTargets", default=None)


class ManagedOSImageStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is.

    conditions: `FleetBundleCreation`: the upgrade was handed on; `Ready`: all machines run the image.
    """

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
        Column("REASON", "status.conditions[Ready].reason", wide=True),
        Column("AGE", "metadata.creationTimestamp", type="date"),
    ),
)
