"""Rollout: how a fleet moves to an image, wave by wave, and what stops it. Upstream has no such kind."""

from typing import Literal

import msgspec

from appliance.resources.meta import Column, Condition, Kind, LabelSelector, Resource

GROUP = "skerry.dev"
VERSION = "v1alpha1"

RolloutPhase = Literal["Pending", "Progressing", "Paused", "Completed", "Failed"]
HostPhase = Literal["Waiting", "Planned", "Upgrading", "Updated", "RolledBack", "Failed"]


class Wave(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """`size` is a number of hosts ("2") or a share of the fleet ("25%"); the last wave takes the rest."""

    size: str
    name: str = ""


class RolloutSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Exactly one of `image` and `managedOSVersionName`. `image` is a reference; best by digest."""

    image: str = ""
    managed_os_version_name: str = msgspec.field(name="managedOSVersionName", default="")
    selector: LabelSelector = LabelSelector()
    waves: list[Wave] = msgspec.field(default_factory=list)
    max_unavailable: int = 1
    soak_seconds: int = 0
    paused: bool = False


class RolloutHost(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    name: str
    wave: int
    phase: HostPhase
    reason: str = ""
    since: str = ""


class RolloutStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`source` is what the spec named when `image` (with its `digest`) was frozen; waves count from 0."""

    phase: RolloutPhase = "Pending"
    reason: str = ""
    source: str = ""
    image: str = ""
    digest: str = ""
    current_wave: int = 0
    total: int = 0
    updated: int = 0
    failed: int = 0
    started_at: str = ""
    finished_at: str = ""
    hosts: list[RolloutHost] = msgspec.field(default_factory=list)
    conditions: list[Condition] = msgspec.field(default_factory=list)


class Rollout(Resource, frozen=True, kw_only=True):
    spec: RolloutSpec = RolloutSpec()
    status: RolloutStatus = RolloutStatus()


ROLLOUT = Kind(
    group=GROUP,
    version=VERSION,
    kind="Rollout",
    plural="rollouts",
    struct=Rollout,
    short_names=("ro",),
    columns=(
        Column("PHASE", "status.phase"),
        Column("WAVE", "status.currentWave", type="integer"),
        Column("UPDATED", "status.updated", type="integer"),
        Column("TOTAL", "status.total", type="integer"),
        Column("REASON", "status.reason", wide=True),
        Column("AGE", "metadata.creationTimestamp", type="date"),
    ),
)
