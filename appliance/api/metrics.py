"""The appliance's numbers in Prometheus' text format. Counts only: the page is public, so it names nobody."""

import resource
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from appliance.api.contract import HostPhase, HostView, OperationState, VersionInfo
from appliance.operations import Operation


def render_metrics(
    *,
    hosts: Sequence[HostView],
    operations: Sequence[Operation],
    found: int,
    is_ready: bool,
    version: VersionInfo,
) -> str:
    """Every known label value is present even at zero, so that an alert can rely on the series."""
    by_phase = Counter(host.phase for host in hosts)
    by_state = Counter(operation.state for operation in operations)
    lines = [
        *_metric("skerry_build_info", "What runs here", {f'{{version="{version.version}"}}': 1}),
        *_metric("skerry_ready", "Whether everything is up", {"": int(is_ready)}),
        *_metric(
            "skerry_hosts",
            "Hosts by phase",
            {f'{{phase="{phase}"}}': by_phase[phase] for phase in get_args(HostPhase)},
        ),
        *_metric(
            "skerry_operations",
            "Remembered operations by state",
            {f'{{state="{state}"}}': by_state[state] for state in get_args(OperationState)},
        ),
        *_metric("skerry_candidates", "Machines heard by mDNS that are not registered", {"": found}),
        *_metric("process_resident_memory_bytes", "Memory in use", {"": _resident_bytes()}),
    ]
    return "\n".join(lines) + "\n"


def _metric(name: str, help: str, values: Mapping[str, int]) -> list[str]:
    return [
        f"# HELP {name} {help}.",
        f"# TYPE {name} gauge",
        *(f"{name}{labels} {value}" for labels, value in values.items()),
    ]


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
