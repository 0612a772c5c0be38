"""What must hold of an object beyond its schema, and of a change to it, as a real API server holds it.

Pure: documents that passed `appliance.store.validation` in, an Invalid out, in Kubernetes' words. Of the
rules that a server has for its own kinds these are the ones whose breach would not survive moving house.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from appliance.resources.meta import Document, Kind
from appliance.store.base import Invalid

_STANDARD_FINALIZERS = ("orphan", "foregroundDeletion", "kubernetes")
_QUALIFIED_NAME = re.compile(
    r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_DATA_KEY = re.compile(r"(?!\.\.)(?!\.\Z)[-._a-zA-Z0-9]{1,253}")
_REQUIRED_DATA: Mapping[str, Sequence[str]] = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
}


def check_object(kind: Kind, document: Document) -> None:
    """Raise Invalid unless the object may be kept as it is."""
    _refuse(
        kind, document, [*_metadata_problems(kind, document["metadata"]), *_data_problems(kind, document)]
    )


def check_change(kind: Kind, current: Document, proposed: Document) -> None:
    """Raise Invalid unless `current` may become `proposed`."""
    _refuse(kind, proposed, list(_change_problems(kind, current, proposed)))


def _refuse(kind: Kind, document: Document, problems: list[str]) -> None:
    if problems:
        raise Invalid(f'{kind} "{document["metadata"]["name"]}" is invalid: {"; ".join(problems)}')


def _metadata_problems(kind: Kind, metadata: Document) -> Iterator[str]:
    for index, finalizer in enumerate(metadata.get("finalizers") or ()):
        where = f"metadata.finalizers[{index}]"
        if not _QUALIFIED_NAME.fullmatch(finalizer):
            yield f'{where}: Invalid value: "{finalizer[:260]}": is no qualified name'
        elif _is_builtin(kind) and "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            yield (
                f'{where}: Invalid value: "{finalizer}":'
                " name is neither a standard finalizer name nor is it fully qualified"
            )
    owners = metadata.get("ownerReferences") or []
    if any((owner["apiVersion"], owner["kind"]) == ("v1", "Event") for owner in owners):
        yield "metadata.ownerReferences: /v1, Kind=Event is disallowed from being an owner"
    controllers = [owner["name"] for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        yield (
            "metadata.ownerReferences: Only one reference can have Controller set to true."
            f' Found "true" in references for {" and ".join(controllers)}'
        )


def _data_problems(kind: Kind, document: Document) -> Iterator[str]:
    if not _has_data(kind):
        return
    for part in ("data", "binaryData"):
        for key in document.get(part) or {}:
            if not _DATA_KEY.fullmatch(key):
                yield (
                    f'{part}[{key[:260]}]: Invalid value: "{key[:260]}": a valid config key must consist of'
                    " alphanumeric characters, '-', '_' or '.'"
                )
    for key in _REQUIRED_DATA.get(document.get("type", ""), ()) if kind.kind == "Secret" else ():
        if key not in (document.get("data") or {}):
            yield f"data[{key}]: Required value"


def _change_problems(kind: Kind, current: Document, proposed: Document) -> Iterator[str]:
    if _is_builtin(kind) and kind.kind == "RoleBinding" and current.get("roleRef") != proposed.get("roleRef"):
        yield "roleRef: Invalid value: cannot change roleRef"
    if not _has_data(kind):
        return
    if kind.kind == "Secret" and current.get("type") != proposed.get("type"):
        yield f'type: Invalid value: "{proposed.get("type")}": field is immutable'
    if current.get("immutable") is True:
        if proposed.get("immutable") is not True:
            yield "immutable: Forbidden: field is immutable when `immutable` is set"
        for part in ("data", "binaryData"):
            if (current.get(part) or {}) != (proposed.get(part) or {}):
                yield f"{part}: Forbidden: field is immutable when `immutable` is set"


def _has_data(kind: Kind) -> bool:
    return not kind.group and kind.kind in ("Secret", "ConfigMap")


def _is_builtin(kind: Kind) -> bool:
    """Say whether a server brings the kind itself; it knows less of custom ones."""
    return not kind.group or (kind.group.endswith(".k8s.io") and not kind.group.endswith(".x-k8s.io"))
