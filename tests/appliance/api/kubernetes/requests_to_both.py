"""The same requests for our face and for a real kube-apiserver, good ones and bad ones, as a table.

Each case has a MachineInventory (a custom kind), a ConfigMap and a Secret of its own, called like the case,
in a namespace of the table. `{machine}`, `{config}`, `{secret}` stand for their paths, `{machines}` and so on
for the collections, `{case}` for the name.
"""

import json
from dataclasses import dataclass, field
from typing import Any

NAMESPACE = "both"
MACHINES = f"/apis/elemental.cattle.io/v1beta1/namespaces/{NAMESPACE}/machineinventories"
CONFIGS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
JSON, MERGE = "application/json", "application/merge-patch+json"
OPERATIONS, APPLY = "application/json-patch+json", "application/apply-patch+yaml"
STRATEGIC = "application/strategic-merge-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


@dataclass(frozen=True)
class Case:
    name: str
    method: str
    path: str
    body: Any = None  # a document, or text as it is sent
    type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)

    def target(self) -> str:
        return self._filled(self.path)

    def content(self) -> str | None:
        if self.body is None:
            return None
        return self._filled(self.body if isinstance(self.body, str) else json.dumps(self.body))

    def _filled(self, text: str) -> str:
        for word, value in (
            ("{machines}", MACHINES),
            ("{machine}", f"{MACHINES}/{self.name}"),
            ("{configs}", CONFIGS),
            ("{config}", f"{CONFIGS}/{self.name}"),
            ("{secrets}", SECRETS),
            ("{secret}", f"{SECRETS}/{self.name}"),
            ("{case}", self.name),
        ):
            text = text.replace(word, value)
        return text


def machine(name: str, **parts: object) -> dict[str, object]:
    return {
        "apiVersion": "elemental.cattle.io/v1beta1",
        "kind": "MachineInventory",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"case": name}},
        "spec": {"tpmHash": "ab12"},
        **parts,
    }


def config(name: str, **parts: object) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"case": name}},
        "data": {"key": "value"},
        **parts,
    }


def secret(name: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {"key": "dmFsdWU="},
    }


def _moved(version: str = "") -> dict[str, object]:
    metadata = {"name": "{case}", "namespace": NAMESPACE, **({"resourceVersion": version} if version else {})}
    return machine("", metadata=metadata, spec={"tpmHash": "cd34"})


CASES = (
    # reading
    Case("get", "GET", "{machine}"),
    Case("get-core", "GET", "{config}"),
    Case("get-missing", "GET", "{machines}/not-there"),
    Case("get-missing-core", "GET", "{configs}/not-there"),
    Case("get-status", "GET", "{machine}/status"),
    Case("get-status-of-none", "GET", "{config}/status"),
    Case("get-unknown-subresource", "GET", "{machine}/scale"),
    Case("get-unknown-kind", "GET", f"/api/v1/namespaces/{NAMESPACE}/nothings/x"),
    Case("get-unknown-group", "GET", "/apis/nothing.example/v1/things"),
    Case("get-unknown-version", "GET", "/apis/elemental.cattle.io/v7/machineinventories"),
    Case("get-cluster-path-of-namespaced", "GET", "/api/v1/configmaps/x"),
    Case("get-table", "GET", "{machine}", headers={"Accept": TABLE}),
    Case("get-metadata", "GET", "{machine}", headers={"Accept": METADATA}),
    Case("get-unacceptable", "GET", "{machine}", headers={"Accept": "text/html"}),
    Case("get-pretty", "GET", "{machine}?pretty=true"),
    # lists
    Case("list-label", "GET", "{machines}?labelSelector=case%3D{case}"),
    Case("list-set", "GET", "{machines}?labelSelector=case+in+(%7Bx%7D,{case})"),
    Case("list-set-good", "GET", "{machines}?labelSelector=case+in+(x,{case})"),
    Case("list-name", "GET", "{machines}?fieldSelector=metadata.name%3D{case}"),
    Case("list-name-core", "GET", "{configs}?fieldSelector=metadata.name%3D{case}"),
    Case("list-bad-label", "GET", "{machines}?labelSelector=a%3D%3D%3Db"),
    Case("list-bad-field", "GET", "{machines}?fieldSelector=spec.size%3D4"),
    Case("list-bad-field-core", "GET", "{configs}?fieldSelector=data.key%3Dvalue"),
    Case("list-unreadable-field", "GET", "{configs}?fieldSelector=metadata.name"),
    Case("list-empty", "GET", "{machines}?labelSelector=case%3Dnobody"),
    Case("list-table", "GET", "{machines}?labelSelector=case%3D{case}", headers={"Accept": TABLE}),
    Case("list-metadata", "GET", "{machines}?labelSelector=case%3D{case}", headers={"Accept": METADATA_LIST}),
    Case("list-bad-limit", "GET", "{machines}?limit=many"),
    Case("list-bad-continue", "GET", "{machines}?limit=1&continue=nonsense"),
    Case("list-continue-with-version", "GET", "{machines}?limit=1&continue=x&resourceVersion=1"),
    Case("list-match-alone", "GET", "{machines}?resourceVersionMatch=Exact"),
    Case("list-match-unknown", "GET", "{machines}?resourceVersion=1&resourceVersionMatch=Nearly"),
    Case("list-match-exact-zero", "GET", "{machines}?resourceVersion=0&resourceVersionMatch=Exact"),
    Case(
        "list-not-older",
        "GET",
        "{machines}?labelSelector=case%3D{case}&resourceVersion=1&resourceVersionMatch=NotOlderThan",
    ),
    Case("list-bad-version", "GET", "{machines}?resourceVersion=abc"),
    # making
    Case("create-again", "POST", "{machines}", machine("{case}")),
    Case("create-again-core", "POST", "{configs}", config("{case}")),
    Case("create", "POST", "{machines}", machine("{case}-new")),
    Case("create-core", "POST", "{configs}", config("{case}-new")),
    Case("create-dry", "POST", "{configs}?dryRun=All", config("{case}-new")),
    Case("create-dry-wrong", "POST", "{configs}?dryRun=Some", config("{case}-new")),
    Case("create-nameless", "POST", "{machines}", machine("", metadata={"namespace": NAMESPACE})),
    Case("create-bad-name", "POST", "{machines}", machine("Not_A_Name")),
    Case("create-bad-name-core", "POST", "{configs}", config("Not_A_Name")),
    Case("create-elsewhere", "POST", "{machines}", machine("", metadata={"name": "x", "namespace": "other"})),
    Case("create-wrong-kind", "POST", "{machines}", config("{case}-new")),
    Case("create-wrong-kind-core", "POST", "{configs}", machine("{case}-new")),
    Case("create-no-kind", "POST", "{machines}", {"metadata": {"name": "{case}-new"}}),
    Case("create-no-kind-core", "POST", "{configs}", {"metadata": {"name": "{case}-new"}}),
    Case(
        "create-with-version",
        "POST",
        "{machines}",
        machine("", metadata={"name": "x", "resourceVersion": "7"}),
    ),
    Case("create-not-json", "POST", "{machines}", "{nonsense"),
    Case("create-list", "POST", "{machines}", "[]"),
    Case("create-empty", "POST", "{machines}", ""),
    Case("create-wrong-media-type", "POST", "{configs}", "x", type="text/plain"),
    Case("create-wrong-type-of-field", "POST", "{machines}", machine("{case}-new", spec={"tpmHash": 7})),
    Case("create-wrong-type-core", "POST", "{configs}", config("{case}-new", data={"a": 7})),
    Case(
        "create-bad-label", "POST", "{machines}", machine("", metadata={"name": "x", "labels": {"a": "b c"}})
    ),
    Case("create-strict", "POST", "{machines}?fieldValidation=Strict", machine("{case}-new", wrong=1)),
    Case("create-warn", "POST", "{machines}?fieldValidation=Warn", machine("{case}-new", wrong=1)),
    Case("create-warn-inside", "POST", "{machines}", machine("{case}-new", spec={"wrong": {"a": 1}})),
    Case("create-ignore", "POST", "{machines}?fieldValidation=Ignore", machine("{case}-new", wrong=1)),
    Case("create-validation-unknown", "POST", "{machines}?fieldValidation=Maybe", machine("{case}-new")),
    Case("create-at-name", "POST", "{machine}", machine("{case}")),
    # replacing
    Case("put", "PUT", "{config}", config("{case}", data={"key": "other"})),
    Case("put-without-version", "PUT", "{machine}", _moved()),
    Case("put-old-version", "PUT", "{machine}", _moved("1")),
    Case(
        "put-bad-version",
        "PUT",
        "{config}",
        config("", metadata={"name": "{case}", "resourceVersion": "abc"}),
    ),
    Case("put-other-name", "PUT", "{config}", config("other-name")),
    Case("put-other-uid", "PUT", "{config}", config("", metadata={"name": "{case}", "uid": "no-such"})),
    Case("put-missing", "PUT", "{configs}/not-there", config("not-there")),
    Case("put-collection", "PUT", "{configs}", config("{case}")),
    # patches
    Case("merge", "PATCH", "{machine}", {"metadata": {"labels": {"a": "b", "case": None}}}, type=MERGE),
    Case("merge-nothing", "PATCH", "{machine}", {}, type=MERGE),
    Case("merge-list", "PATCH", "{machine}", [], type=MERGE),
    Case("merge-not-json", "PATCH", "{machine}", "{", type=MERGE),
    Case("merge-old-version", "PATCH", "{machine}", {"metadata": {"resourceVersion": "1"}}, type=MERGE),
    Case("merge-rename", "PATCH", "{machine}", {"metadata": {"name": "other"}}, type=MERGE),
    Case("merge-wrong-type", "PATCH", "{machine}", {"spec": {"tpmHash": []}}, type=MERGE),
    Case("merge-missing", "PATCH", "{machines}/not-there", {}, type=MERGE),
    Case("merge-status", "PATCH", "{machine}/status", {"status": {"plan": {"state": "Applied"}}}, type=MERGE),
    Case("merge-dry", "PATCH", "{machine}?dryRun=All", {"metadata": {"labels": {"a": "b"}}}, type=MERGE),
    Case("json", "PATCH", "{config}", [{"op": "add", "path": "/data/b", "value": "c"}], type=OPERATIONS),
    Case(
        "json-test", "PATCH", "{config}", [{"op": "test", "path": "/data/key", "value": "x"}], type=OPERATIONS
    ),
    Case(
        "json-no-place",
        "PATCH",
        "{config}",
        [{"op": "replace", "path": "/data/x", "value": "c"}],
        type=OPERATIONS,
    ),
    Case("json-bad-op", "PATCH", "{config}", [{"op": "mince", "path": "/data/x"}], type=OPERATIONS),
    Case("json-object", "PATCH", "{config}", {}, type=OPERATIONS),
    Case("strategic", "PATCH", "{config}", {"data": {"$patch": "replace", "b": "c"}}, type=STRATEGIC),
    Case("strategic-null", "PATCH", "{secret}", {"data": {"key": None}}, type=STRATEGIC),
    Case("strategic-bad", "PATCH", "{config}", {"data": {"$patch": "mince"}}, type=STRATEGIC),
    Case("strategic-custom", "PATCH", "{machine}", {}, type=STRATEGIC),
    Case(
        "strategic-finalizers",
        "PATCH",
        "{config}?dryRun=All",
        {"metadata": {"finalizers": ["example.com/a"], "$setElementOrder/finalizers": ["example.com/a"]}},
        type=STRATEGIC,
    ),
    Case("patch-media-type", "PATCH", "{config}", {}, type="application/json"),
    Case("patch-media-type-none", "PATCH", "{machine}", {}, type="text/plain"),
    Case("apply-new", "PATCH", "{configs}/{case}-new?fieldManager=me", config("{case}-new"), type=APPLY),
    Case("apply-no-manager", "PATCH", "{config}", config("{case}"), type=APPLY),
    Case(
        "apply-conflict", "PATCH", "{config}?fieldManager=me", config("{case}", data={"key": "x"}), type=APPLY
    ),
    Case(
        "apply-force",
        "PATCH",
        "{config}?fieldManager=me&force=true",
        config("{case}", data={"key": "x"}),
        type=APPLY,
    ),
    Case("apply-other-name", "PATCH", "{config}?fieldManager=me", config("other"), type=APPLY),
    Case("apply-not-yaml", "PATCH", "{config}?fieldManager=me", "a: b: c", type=APPLY),
    Case("apply-kindless", "PATCH", "{config}?fieldManager=me", {"data": {}}, type=APPLY),
    Case("force-without-apply", "PATCH", "{config}?force=true", {}, type=MERGE),
    # deleting
    Case("delete", "DELETE", "{config}"),
    Case("delete-custom", "DELETE", "{machine}"),
    Case("delete-missing", "DELETE", "{machines}/not-there"),
    Case("delete-dry", "DELETE", "{config}?dryRun=All"),
    Case("delete-other-uid", "DELETE", "{config}", {"preconditions": {"uid": "no-such"}}),
    Case("delete-old-version", "DELETE", "{config}", {"preconditions": {"resourceVersion": "1"}}),
    Case("delete-policy", "DELETE", "{config}?propagationPolicy=Never"),
    Case(
        "delete-policy-twice", "DELETE", "{config}", {"propagationPolicy": "Orphan", "orphanDependents": True}
    ),
    Case("delete-not-json", "DELETE", "{config}", "{"),
    Case("delete-selected", "DELETE", "{configs}?labelSelector=case%3D{case}"),
    # watching: what is refused at once, and what the stream tells
    Case("watch-bad-selector", "GET", "{machines}?watch=1&labelSelector=%3D%3D"),
    Case("watch-bad-version", "GET", "{configs}?watch=1&resourceVersion=abc"),
    Case("watch-one", "GET", "{machines}?watch=1&timeoutSeconds=1&labelSelector=case%3D{case}"),
    Case("watch-named", "GET", "{machines}?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3D{case}"),
    Case("watch-initial-without-match", "GET", "{machines}?watch=1&sendInitialEvents=true"),
    # reviews, tokens and what is not there
    Case(
        "review",
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        {"spec": {"resourceAttributes": {"verb": "get", "resource": "secrets"}}},
    ),
    Case("review-of-nothing", "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": {}}),
    Case("review-read", "GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
    Case(
        "review-rules",
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        {"spec": {"namespace": NAMESPACE}},
    ),
    Case("review-self", "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}),
    Case(
        "review-other",
        "POST",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {"spec": {"user": "nobody", "resourceAttributes": {"verb": "get", "resource": "secrets"}}},
    ),
    Case("token-review", "POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": "wrong"}}),
    Case(
        "token-of-none",
        "POST",
        f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/not-there/token",
        {"spec": {}},
    ),
    Case(
        "token-too-short",
        "POST",
        f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/robot/token",
        {"spec": {"expirationSeconds": 5}},
    ),
    Case("token", "POST", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/robot/token", {"spec": {}}),
    Case("wrong-method", "PUT", "/version", {}),
)
