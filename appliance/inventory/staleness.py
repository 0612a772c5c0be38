"""How long ago is too long: fresh, late, silent. Pure; it is told the time."""

from datetime import datetime, timedelta

from appliance.inventory.entries import Staleness

LATE_AFTER = timedelta(seconds=60)  # two reports missed
SILENT_AFTER = timedelta(seconds=120)  # four; the same moment at which the host list says Silent


def judge(last_seen: str, *, now: datetime) -> Staleness:
    """A machine that was never seen is silent."""
    if last_seen >= render_time(now - LATE_AFTER):
        return "fresh"
    return "late" if last_seen >= render_time(now - SILENT_AFTER) else "silent"


def render_time(moment: datetime) -> str:
    """RFC 3339, UTC, whole seconds: such texts sort as the times do."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
