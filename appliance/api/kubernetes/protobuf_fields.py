"""The fields of Kubernetes' protobuf messages, by number: which kinds are read in that form, and how far.

Numbers are from k8s.io/api and apimachinery's generated.proto. Fields not listed are ones we do not keep.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Scalar: TypeAlias = Literal["text", "bytes", "integer", "boolean", "time"]


@dataclass(frozen=True, slots=True)
class Field:
    """`shape` is how often it comes: once, as a list, or as a map's entries."""

    name: str
    type: "Scalar | Mapping[int, Field]" = "text"
    shape: Literal["one", "list", "map"] = "one"


_OWNER = {
    1: Field("kind"),
    3: Field("name"),
    4: Field("uid"),
    5: Field("apiVersion"),
    6: Field("controller", "boolean"),
    7: Field("blockOwnerDeletion", "boolean"),
}
_METADATA = {
    1: Field("name"),
    2: Field("generateName"),
    3: Field("namespace"),
    5: Field("uid"),
    6: Field("resourceVersion"),
    7: Field("generation", "integer"),
    8: Field("creationTimestamp", "time"),
    9: Field("deletionTimestamp", "time"),
    11: Field("labels", shape="map"),
    12: Field("annotations", shape="map"),
    13: Field("ownerReferences", _OWNER, "list"),
    14: Field("finalizers", shape="list"),
}
_REFERENCE = {
    1: Field("kind"),
    2: Field("namespace"),
    3: Field("name"),
    4: Field("uid"),
    5: Field("apiVersion"),
    6: Field("resourceVersion"),
    7: Field("fieldPath"),
}
_ATTRIBUTES = {
    1: Field("namespace"),
    2: Field("verb"),
    3: Field("group"),
    4: Field("version"),
    5: Field("resource"),
    6: Field("subresource"),
    7: Field("name"),
}
_ACCESS = {
    1: Field("resourceAttributes", _ATTRIBUTES),
    2: Field("nonResourceAttributes", {1: Field("path"), 2: Field("verb")}),
}
_WHO = {3: Field("user"), 4: Field("groups", shape="list"), 6: Field("uid")}
_BOUND = {1: Field("kind"), 2: Field("apiVersion"), 3: Field("name"), 4: Field("uid")}
_RULE = {
    1: Field("verbs", shape="list"),
    2: Field("apiGroups", shape="list"),
    3: Field("resources", shape="list"),
    4: Field("resourceNames", shape="list"),
    5: Field("nonResourceURLs", shape="list"),
}
_SUBJECT = {1: Field("kind"), 2: Field("apiGroup"), 3: Field("name"), 4: Field("namespace")}


def _review(specification: Mapping[int, Field]) -> Mapping[int, Field]:
    return {1: Field("metadata", _METADATA), 2: Field("spec", specification)}


MESSAGES: Mapping[tuple[str, str], Mapping[int, Field]] = {
    ("v1", "Namespace"): {1: Field("metadata", _METADATA)},
    ("v1", "Secret"): {
        1: Field("metadata", _METADATA),
        2: Field("data", "bytes", "map"),
        3: Field("type"),
        4: Field("stringData", shape="map"),
        5: Field("immutable", "boolean"),
    },
    ("v1", "ConfigMap"): {
        1: Field("metadata", _METADATA),
        2: Field("data", shape="map"),
        3: Field("binaryData", "bytes", "map"),
        4: Field("immutable", "boolean"),
    },
    ("v1", "Event"): {
        1: Field("metadata", _METADATA),
        2: Field("involvedObject", _REFERENCE),
        3: Field("reason"),
        4: Field("message"),
        5: Field("source", {1: Field("component"), 2: Field("host")}),
        6: Field("firstTimestamp", "time"),
        7: Field("lastTimestamp", "time"),
        8: Field("count", "integer"),
        9: Field("type"),
        12: Field("action"),
        14: Field("reportingComponent"),
        15: Field("reportingInstance"),
    },
    ("v1", "ServiceAccount"): {
        1: Field("metadata", _METADATA),
        2: Field("secrets", _REFERENCE, "list"),
        3: Field("imagePullSecrets", {1: Field("name")}, "list"),
        4: Field("automountServiceAccountToken", "boolean"),
    },
    ("rbac.authorization.k8s.io/v1", "Role"): {
        1: Field("metadata", _METADATA),
        2: Field("rules", _RULE, "list"),
    },
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): {
        1: Field("metadata", _METADATA),
        2: Field("subjects", _SUBJECT, "list"),
        3: Field("roleRef", {1: Field("apiGroup"), 2: Field("kind"), 3: Field("name")}),
    },
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview"): _review(_ACCESS),
    ("authorization.k8s.io/v1", "SelfSubjectRulesReview"): _review({1: Field("namespace")}),
    ("authorization.k8s.io/v1", "SubjectAccessReview"): _review(_ACCESS | _WHO),
    ("authorization.k8s.io/v1", "LocalSubjectAccessReview"): _review(_ACCESS | _WHO),
    ("authentication.k8s.io/v1", "SelfSubjectReview"): {1: Field("metadata", _METADATA)},
    ("authentication.k8s.io/v1", "TokenReview"): _review(
        {1: Field("token"), 2: Field("audiences", shape="list")}
    ),
    ("authentication.k8s.io/v1", "TokenRequest"): _review(
        {
            1: Field("audiences", shape="list"),
            3: Field("boundObjectRef", _BOUND),
            4: Field("expirationSeconds", "integer"),
        }
    ),
    ("v1", "DeleteOptions"): {
        1: Field("gracePeriodSeconds", "integer"),
        2: Field("preconditions", {1: Field("uid"), 2: Field("resourceVersion")}),
        3: Field("orphanDependents", "boolean"),
        4: Field("propagationPolicy"),
        5: Field("dryRun", shape="list"),
    },
}
