"""The few core kinds that we keep: Namespace, Secret (plans), ConfigMap, Event."""

import msgspec

from appliance.resources.meta import Column, Kind, ObjectReference, Resource

PLAN_SECRET_TYPE = "elemental.cattle.io/plan"  # noqa: S105 - a type name, not a secret
PLAN_TYPE = "elemental.cattle.io/plan.type"
MANAGED = "elemental.cattle.io/managed"


class Namespace(Resource, frozen=True, kw_only=True):
    pass


class Secret(Resource, frozen=True, kw_only=True):
    """`data` values are base64 text, as on the wire."""

    type: str = "Opaque"
    data: dict[str, str] = msgspec.field(default_factory=dict)


class ConfigMap(Resource, frozen=True, kw_only=True):
    data: dict[str, str] = msgspec.field(default_factory=dict)


class Event(Resource, frozen=True, kw_only=True, rename="camel"):
    """core/v1 Event. `type` is Normal or Warning."""

    involved_object: ObjectReference = ObjectReference()
    reason: str = ""
    message: str = ""
    type: str = "Normal"
    count: int = 1
    first_timestamp: str | None = None
    last_timestamp: str | None = None


NAMESPACE = Kind(
    group="",
    version="v1",
    kind="Namespace",
    plural="namespaces",
    struct=Namespace,
    is_partial=True,
    short_names=("ns",),
    namespaced=False,
    columns=(Column("STATUS", "status.phase"), Column("AGE", "metadata.creationTimestamp", type="date")),
)
SECRET = Kind(
    group="",
    version="v1",
    kind="Secret",
    plural="secrets",
    struct=Secret,
    is_partial=True,
    has_status=False,
    columns=(Column("TYPE", "type"), Column("AGE", "metadata.creationTimestamp", type="date")),
)
CONFIG_MAP = Kind(
    group="",
    version="v1",
    kind="ConfigMap",
    plural="configmaps",
    struct=ConfigMap,
    is_partial=True,
    short_names=("cm",),
    has_status=False,
    columns=(Column("AGE", "metadata.creationTimestamp", type="date"),),
)
EVENT = Kind(
    group="",
    version="v1",
    kind="Event",
    plural="events",
    struct=Event,
    is_partial=True,
    short_names=("ev",),
    has_status=False,
    columns=(
        Column("LAST-SEEN", "lastTimestamp", type="date"),
        Column("TYPE", "type"),
        Column("REASON", "reason"),
        Column("OBJECT", "involvedObject.name"),
        Column("MESSAGE", "message"),
    ),
)
