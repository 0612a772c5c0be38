"""Metadata: which operator is installed, for those who look from outside. Nothing follows from it."""

import msgspec

from appliance.resources.machine_registration import GROUP, VERSION
from appliance.resources.meta import Column, Document, Kind, Resource


class MetadataSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Which operator is installed.

    app_version: Its version.
    annotations: Further facts.
    """

    app_version: str = ""
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


class Metadata(Resource, frozen=True, kw_only=True):
    spec: MetadataSpec = MetadataSpec()
    status: Document = msgspec.field(default_factory=dict)


METADATA = Kind(
    group=GROUP,
    version=VERSION,
    kind="Metadata",
    plural="metadata",
    struct=Metadata,
    columns=(
        Column("VERSION", "spec.appVersion"),
        Column("AGE", "metadata.creationTimestamp", type="date"),
    ),
)
