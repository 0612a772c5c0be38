"""How controllers write: everything learned in a reconcile becomes one patch of the fields they own.

A patch holds only what differs and is bound to the version that was read; when nothing differs there is
no write. That is what makes a reconcile safe to repeat and its watch fall silent.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from appliance.resources.meta import Condition, ConditionStatus, Document, Kind
from appliance.store.base import Store, Subresource, merge

CONDITION_MESSAGE_LIMIT = 32_768  # metav1.Condition's own


async def write_changes(
    store: Store, kind: Kind, document: Document, changes: Document, *, subresource: Subresource = ""
) -> Document:
    """Merge `changes` into the object if they change it, and only if nobody wrote since. Raises Conflict."""
    different = _prune(document, changes)
    if not different:
        return document
    return await write_bound(store, kind, document["metadata"], different, subresource=subresource)


async def write_bound(
    store: Store, kind: Kind, metadata: Document, changes: Document, *, subresource: Subresource = ""
) -> Document:
    """Merge all of `changes`, and only if nobody wrote since `metadata` was read. Raises Conflict.

    For those who hold no more of the object than that, and so cannot tell what differs.
    """
    bound = {"resourceVersion": metadata["resourceVersion"], **changes.get("metadata", {})}
    return await store.patch(
        kind,
        metadata["name"],
        merge({**changes, "metadata": bound}),
        namespace=metadata.get("namespace", ""),
        subresource=subresource,
    )


async def write_status(store: Store, kind: Kind, document: Document, status: msgspec.Struct) -> Document:
    """Make the status what the struct says; keys that the struct leaves out are removed."""
    wanted: Document = msgspec.to_builtins(status)
    removed = {key: None for key in document.get("status") or {} if key not in wanted}
    return await write_changes(store, kind, document, {"status": {**wanted, **removed}}, subresource="status")


def set_condition(
    conditions: Sequence[Condition],
    type: str,
    status: ConditionStatus,
    reason: str,
    message: str = "",
    *,
    now: datetime,
) -> list[Condition]:
    """The conditions with one set; its transition time moves only when its status does."""
    present = next((condition for condition in conditions if condition.type == type), None)
    since = present.last_transition_time if present and present.status == status else ""
    condition = Condition(
        type=type,
        status=status,
        reason=reason,
        message=message[:CONDITION_MESSAGE_LIMIT],
        last_transition_time=since or render_time(now),
    )
    if present is None:
        return [*conditions, condition]
    return [condition if other.type == type else other for other in conditions]


def replace_by(present: object, wanted: Document) -> Document:
    """The merge patch that makes `present` exactly `wanted`: what is not wanted is taken out."""
    if not isinstance(present, dict):
        return wanted
    changes: Document = {key: None for key in present if key not in wanted}
    for key, value in wanted.items():
        changes[key] = replace_by(present.get(key), value) if isinstance(value, dict) else value
    return changes


def render_time(time: datetime) -> str:
    """RFC 3339 in UTC, whole seconds, as Kubernetes writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str, *, default: datetime) -> datetime:
    """Read a time we or a client wrote; what cannot be read counts as `default`."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return default
    return time if time.tzinfo else default


def _prune(current: object, changes: Document) -> Document:
    """Keep of a merge patch what would change `current`."""
    present = current if isinstance(current, dict) else {}
    different: Document = {}
    for key, value in changes.items():
        if isinstance(value, dict):
            nested = _prune(present.get(key), value)
            if nested or (key not in present and value == {}):
                different[key] = nested
        elif value is None:
            if key in present:
                different[key] = None
        elif present.get(key) != value or key not in present:
            different[key] = value
    return different
