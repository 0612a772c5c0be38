"""Fields of Kubernetes' own kinds that our structs do not read, for clients that check before they send.

kubectl below 1.27 refuses what a schema does not name, so a schema with holes would refuse good manifests.
The lists that strategic merge patches merge are marked as upstream marks them.
"""

from collections.abc import Mapping

from appliance.resources.schemas import Schema

_TEXT: Schema = {"type": "string"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_NUMBER: Schema = {"type": "integer", "format": "int64"}
_TRUTH: Schema = {"type": "boolean"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_MAP: Schema = {"type": "object", "additionalProperties": _TEXT}
_BYTES: Schema = {"type": "object", "additionalProperties": {"type": "string", "format": "byte"}}
_FREE: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_REFERENCE: Schema = {
    "type": "object",
    "properties": dict.fromkeys(
        ("apiVersion", "kind", "namespace", "name", "uid", "resourceVersion", "fieldPath"), _TEXT
    ),
}


def _merged(items: Schema, key: str = "") -> Schema:
    marks = {"x-kubernetes-patch-strategy": "merge"}
    return {
        "type": "array",
        "items": items,
        **marks,
        **({"x-kubernetes-patch-merge-key": key} if key else {}),
    }


_OWNER: Schema = {
    "type": "object",
    "required": ["apiVersion", "kind", "name", "uid"],
    "properties": {
        **dict.fromkeys(("apiVersion", "kind", "name", "uid"), _TEXT),
        "controller": _TRUTH,
        "blockOwnerDeletion": _TRUTH,
    },
}

OBJECT_META: Schema = {
    "type": "object",
    "description": "Standard metadata of every object.",
    "properties": {
        **dict.fromkeys(("name", "generateName", "namespace", "uid", "resourceVersion", "selfLink"), _TEXT),
        "generation": _NUMBER,
        "creationTimestamp": _TIME,
        "deletionTimestamp": _TIME,
        "deletionGracePeriodSeconds": _NUMBER,
        "labels": _MAP,
        "annotations": _MAP,
        "finalizers": _merged(_TEXT),
        "ownerReferences": _merged(_OWNER, "uid"),
        "managedFields": {"type": "array", "items": _FREE},
    },
}
TYPE_META: Mapping[str, Schema] = {
    "apiVersion": {"type": "string", "description": "The group and version of this form of the object."},
    "kind": {"type": "string", "description": "What this object is."},
}
# By kind, what stands beside or instead of what the struct says.
CORE_PROPERTIES: Mapping[str, Mapping[str, Schema]] = {
    "Namespace": {
        "spec": {"type": "object", "properties": {"finalizers": _TEXTS}},
        "status": {
            "type": "object",
            "properties": {"phase": _TEXT, "conditions": _merged(_FREE, "type")},
        },
    },
    "Secret": {"data": _BYTES, "stringData": _MAP, "immutable": _TRUTH},
    "ConfigMap": {"binaryData": _BYTES, "immutable": _TRUTH},
    "Event": {
        "involvedObject": _REFERENCE,
        "related": _REFERENCE,
        "source": {"type": "object", "properties": {"component": _TEXT, "host": _TEXT}},
        "series": {"type": "object", "properties": {"count": _NUMBER, "lastObservedTime": _TEXT}},
        **dict.fromkeys(("eventTime", "action", "reportingComponent", "reportingInstance"), _TEXT),
    },
    "ServiceAccount": {
        "secrets": _merged(_REFERENCE, "name"),
        "imagePullSecrets": {"type": "array", "items": {"type": "object", "properties": {"name": _TEXT}}},
    },
}
