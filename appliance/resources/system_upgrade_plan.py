"""The system-upgrade-controller's Plan, written where a cluster has that kind; nothing here serves it.

Its container and drain parts are Elemental's too. Kubernetes' own types in them stay free objects: we keep
them, a kubelet reads them.
"""

from typing import Any

import msgspec

from appliance.resources.meta import Column, Condition, Kind, LabelSelector, Resource

FreeObject = dict[str, Any]


class HostPathVolume(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A folder of the node that the container sees.

    name: Name of the volume.
    source: Path on the node.
    destination: Path in the container.
    """

    name: str = ""
    source: str = ""
    destination: str = ""


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The container of a step: what it runs and what it sees.

    image: Image; its tag is the version if it has none.
    command: Entry point, in place of the image's.
    args: Arguments.
    envs: Environment variables.
    env_from: ConfigMaps and Secrets that become environment variables.
    volumes: Folders of the node.
    security_context: Rights of the container.
    """

    image: str = ""
    command: list[str] = msgspec.field(default_factory=list)
    args: list[str] = msgspec.field(default_factory=list)
    envs: list[FreeObject] = msgspec.field(default_factory=list)
    env_from: list[FreeObject] = msgspec.field(default_factory=list)
    volumes: list[HostPathVolume] = msgspec.field(default_factory=list)
    security_context: FreeObject | None = None


class DrainSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How a node is emptied before it upgrades.

    timeout: Nanoseconds to wait before giving up; 0 waits for ever.
    grace_period: Seconds that pods have to end; theirs if negative.
    delete_local_data: Older name of deleteEmptydirData.
    delete_emptydir_data: Go on although pods lose local data.
    ignore_daemon_sets: Go on although pods of DaemonSets stay.
    force: Go on although pods have no controller.
    disable_eviction: Delete pods in place of evicting them.
    skip_wait_for_delete_timeout: Seconds after which a pod that is being deleted is not waited for.
    pod_selector: Only pods with these labels.
    """

    timeout: int | None = None
    grace_period: int | None = None
    delete_local_data: bool | None = None
    delete_emptydir_data: bool | None = None
    ignore_daemon_sets: bool | None = None
    force: bool = False
    disable_eviction: bool = False
    skip_wait_for_delete_timeout: int = 0
    pod_selector: LabelSelector | None = None


class SecretMount(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A Secret that the job sees, and that makes a new run when it changes.

    name: Name of the Secret.
    path: Path in the container.
    ignore_updates: Make no new run when it changes.
    default_mode: Mode of its files.
    """

    name: str = ""
    path: str = ""
    ignore_updates: bool = False
    default_mode: int | None = None


class SystemUpgradePlanSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Which nodes run what.

    concurrency: Nodes at a time.
    job_active_deadline_secs: Seconds after which a job has failed.
    node_selector: Nodes that are meant.
    service_account_name: Account of the jobs.
    channel: URL that tells the newest version.
    version: The version.
    secrets: Secrets that the jobs see.
    tolerations: Taints that do not keep the jobs away.
    exclusive: No other plan at the same time on a node.
    prepare: Step before the upgrade.
    cordon: Take no new pods while upgrading.
    drain: How a node is emptied; not at all if left out.
    upgrade: The upgrade itself.
    """

    concurrency: int = 0
    job_active_deadline_secs: int | None = None
    node_selector: LabelSelector | None = None
    service_account_name: str = ""
    channel: str = ""
    version: str = ""
    secrets: list[SecretMount] = msgspec.field(default_factory=list)
    tolerations: list[FreeObject] = msgspec.field(default_factory=list)
    exclusive: bool = False
    prepare: ContainerSpec | None = None
    cordon: bool = False
    drain: DrainSpec | None = None
    upgrade: ContainerSpec | None = None


class SystemUpgradePlanStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How far it is.

    conditions: What the controller says.
    latest_version: The version that is applied.
    latest_hash: Hash of version and secrets.
    applying: Nodes that are at it.
    """

    conditions: list[Condition] = msgspec.field(default_factory=list)
    latest_version: str = ""
    latest_hash: str = ""
    applying: list[str] = msgspec.field(default_factory=list)


class SystemUpgradePlan(Resource, frozen=True, kw_only=True):
    spec: SystemUpgradePlanSpec = SystemUpgradePlanSpec()
    status: SystemUpgradePlanStatus = SystemUpgradePlanStatus()


SYSTEM_UPGRADE_PLAN = Kind(
    group="upgrade.cattle.io",
    version="v1",
    kind="Plan",
    plural="plans",
    struct=SystemUpgradePlan,
    is_partial=True,
    columns=(
        Column("IMAGE", "spec.upgrade.image"),
        Column("VERSION", "status.latestVersion"),
        Column("AGE", "metadata.creationTimestamp", type="date"),
    ),
)
