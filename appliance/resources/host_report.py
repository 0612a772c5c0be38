"""HostReport: what a host last said of itself, posted with its own token."""

import msgspec

from agent.protocol.report import Report
from appliance.resources.meta import Column, Kind, Resource
from appliance.resources.rollout import GROUP, VERSION


class HostReport(Resource, frozen=True, kw_only=True):
    """`received_at` is the appliance's clock: a host's own is not to be trusted for liveness.

    report: What the host said.
    received_at: When it said so, by the appliance's clock.
    """

    report: Report | None = None
    received_at: str = msgspec.field(name="receivedAt", default="")


HOST_REPORT = Kind(
    group=GROUP,
    version=VERSION,
    kind="HostReport",
    plural="hostreports",
    struct=HostReport,
    short_names=("hr",),
    has_status=False,
    columns=(
        Column("SLOT", "report.bootedSlot"),
        Column("VERSION", "report.version"),
        Column("PHASE", "report.transaction.phase"),
        Column("OUTCOME", "report.transaction.outcome"),
        Column("DIGEST", "report.digest", wide=True),
        Column("SEEN", "receivedAt", type="date"),
    ),
)
