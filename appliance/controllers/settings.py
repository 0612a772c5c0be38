"""What every controller is given: the appliance's URL, the time, and how a tag becomes a digest."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from appliance.controllers.media import MediaBuilder, NoMedia
from appliance.controllers.version_list import ListAddress


class ImageUnresolved(Exception):
    """The mirror does not hold the image; the sentence names it. `ControllerSettings.resolve` raises it."""


class ListUnreadable(Exception):
    """A channel's list cannot be had; the sentence says why. `ControllerSettings.read_list` raises it."""


def read_no_list(address: ListAddress) -> bytes:
    """What an appliance without lists answers."""
    raise ListUnreadable(f"{address.uri} cannot be read here")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """`resolve` turns an image reference into what hosts pull: `HOST:PORT/repository@sha256:…`.

    It is called in a worker thread, may block, and raises ImageUnresolved. `silence` is how long a host
    that is upgrading may say nothing before its rollout stops for it. `gives_addresses` is False in a
    cluster that has an IPAM provider of its own for InClusterIPPools: two would both answer. `read_list`
    gives a channel's list and is called like `resolve`; it raises ListUnreadable. `media` builds what
    SeedImages ask for.
    """

    server_url: str
    resolve: Callable[[str], str]
    silence: timedelta = timedelta(minutes=15)
    gives_addresses: bool = True
    read_list: Callable[[ListAddress], bytes] = read_no_list
    media: MediaBuilder = field(default_factory=NoMedia)
    clock: Callable[[], datetime] = field(default=_now)
