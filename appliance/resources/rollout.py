"""Rollout: how a fleet moves to an image, wave by wave, and what stops it. Upstream has no such kind."""

from typing import Any, Literal

import msgspec

from appliance.resources.meta import Column, Condition, Kind, LabelSelector, Resource

GROUP = "skerry.dev"
VERSION = "v1alpha1"

MAX_HOSTS_TOLD = 200

RolloutPhase = Literal["Pending", "Progressing", "Paused", "Completed", "Failed"]
HostPhase = Literal["Waiting", "Planned", "Upgrading", "Updated", "RolledBack", "Failed"]


class Wave(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Hosts that move together.

    size: A number of hosts (2) or a share of the fleet (25%); the last wave takes the rest.
    name: Name of the wave.
    """

    size: str
    name: str = ""


class RolloutSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Exactly one of `image` and `managedOSVersionName`.

    image: Image to move to; best by digest.
    managed_os_version_name: ManagedOSVersion whose image to move to.
    selector: Hosts that are meant; an empty one matches all.
    waves: Hosts that move together, one wave after the other; all at once if left out.
    max_unavailable: Hosts that may be upgrading at a time.
    soak_seconds: Seconds to wait after a wave before the next.
    paused: Start no further host.
    cloud_config: cloud-init or yip configuration to put on the hosts.
    """

    image: str = ""
    managed_os_version_name: str = msgspec.field(name="managedOSVersionName", default="")
    selector: LabelSelector = LabelSelector()
    waves: list[Wave] = msgspec.field(default_factory=list)
    max_unavailable: int = 1
    soak_seconds: int = 0
    paused: bool = False
    cloud_config: dict[str, Any] | None = None


class RolloutHost(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One host on its way.

    name: The MachineInventory.
    wave: Its wave, from 0.
    phase: How far it is.
    reason: Why, if it does not go on.
    since: When it came to this phase.
    """

    name: str
    wave: int
    phase: HostPhase
    reason: str = ""
    since: str = ""


class RolloutWave(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How far one wave is. Hosts that came after the waves were made join the last.

    through: Name of its last host when the waves were made.
    hosts: Hosts in it.
    updated: Hosts of it that run the image.
    failed: Hosts of it that do not and should.
    """

    through: str = ""
    hosts: int = 0
    updated: int = 0
    failed: int = 0


class RolloutStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`source` is what the spec named when `image` (with its `digest`) was frozen; waves count from 0.

    phase: How far it is.
    reason: Why, if it does not go on.
    source: What the spec named.
    image: Image that was meant by it.
    digest: Digest of that image.
    current_wave: Wave that is moving, from 0.
    total: Hosts that are meant.
    updated: Hosts that run the image.
    failed: Hosts that do not and should.
    started_at: When the first host was started.
    finished_at: When the last host was done.
    waves: How far each wave is.
    hosts: Each host on its way.
    conditions: What else is known.
    """

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
    waves: list[RolloutWave] = msgspec.field(default_factory=list)
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
