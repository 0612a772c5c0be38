"""The kinds of long jobs the appliance knows. A new kind is a new file and a line here."""

from collections.abc import Mapping
from typing import Any

from appliance.jobs.build_iso import build_iso_kind
from appliance.jobs.burn_iso import burn_iso_kind
from appliance.jobs.load_bundle import load_bundle_kind
from appliance.jobs.mirror_care import collect_mirror_kind, verify_mirror_kind
from appliance.jobs.os_versions import refresh_versions
from appliance.jobs.seed_images import SeedImageBuilder
from appliance.jobs.workshop import Workshop
from appliance.operations import OperationKind

__all__ = ["SeedImageBuilder", "Workshop", "kinds", "refresh_versions"]


def kinds(workshop: Workshop) -> Mapping[str, OperationKind[Any]]:
    """Every kind, by its name."""
    all_kinds = (
        load_bundle_kind(workshop),
        build_iso_kind(workshop),
        burn_iso_kind(workshop.data),
        collect_mirror_kind(workshop),
        verify_mirror_kind(workshop),
    )
    return {kind.name: kind for kind in all_kinds}
