"""The system-upgrade-controller's Plan, written where a cluster has that kind; nothing here serves it.

Its container and drain parts are Elemental's too. Kubernetes' own types in them stay free objects: we keep
them, a kubelet reads them.
"""

from typing import Any

import msgspec

from appliance.resources.meta import Column, Condition, Kind, LabelSelector, Resource

FreeObject = dict[str, Any]


class HostPathVolume(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    name: str = ""
    source: str = ""
    destination: str = ""


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The container of a step: what it runs and what it sees."""

    image: str = ""
    command: list[str] = msgspec.field(default_factory=list)
    args: list[str] = msgspec.field(default_factory=list)
    envs: list[FreeObject] = msgspec.field(default_factory=list)
    env_from: list[FreeObject] = msgspec.field(default_factory=list)
    volumes: list[HostPathVolume] = msgspec.field(default_factory=list)
    security_context: FreeObject | None = None


class DrainSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How a node is emptied before it upgrades."""

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
    name: str = ""
    path: str = ""
    ignore_updates: bool = False
    default_mode: int | None = None


class SystemUpgradePlanSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
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
