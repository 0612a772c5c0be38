"""How long something will still take, as a range: one number would be a lie. Pure.

The estimate comes from what this console saw itself (a host's clock proves nothing), needs ten seconds of
watching, and is for the phase under way: phases differ too much to extrapolate from one to the next.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from tui.text import render_duration

_ENOUGH_SECONDS = 10
_STALLED_SECONDS = 60
_EARLIEST, _LATEST = 0.8, 1.4


@dataclass(frozen=True, slots=True)
class Sighting:
    """First and newest observation of one thing that counts up. `total` 0 is unknown."""

    first_at: datetime
    first_done: int
    last_at: datetime
    last_done: int
    total: int


def next_sighting(before: Sighting | None, done: int, total: int, *, now: datetime) -> Sighting:
    """Add an observation; something that went backwards started anew."""
    if before is None or done < before.last_done or total != before.total:
        return Sighting(now, done, now, done, total)
    return replace(before, last_at=now, last_done=done) if done > before.last_done else before


def render_remaining(sighting: Sighting | None, now: datetime) -> str:
    """Say how long until the end, as a range; that it stands still; or nothing while unknown."""
    if sighting is None or not 0 <= sighting.last_done < sighting.total:
        return ""
    silent = (now - sighting.last_at).total_seconds()
    if silent > _STALLED_SECONDS:
        return f"no progress for {render_duration(silent)}"
    watched = (sighting.last_at - sighting.first_at).total_seconds()
    moved = sighting.last_done - sighting.first_done
    if watched < _ENOUGH_SECONDS or moved <= 0:
        return ""
    remaining = (sighting.total - sighting.last_done) * watched / moved - silent
    return f"{_range(max(1.0, remaining))} left"


def _range(seconds: float) -> str:
    low, high = seconds * _EARLIEST, seconds * _LATEST
    if high < 100:
        return f"{max(5, 5 * round(low / 5))}-{max(10, 5 * round(high / 5))}s"
    if high < 7200:
        return f"{max(1, int(low // 60))}-{int(high // 60) + 1}m"
    return f"{int(low // 3600)}-{int(high // 3600) + 1}h"
