"""A real API server makes of each document what we make of it, and refuses it in the same words.

Everything is a dry run: nothing is kept there.
"""

import json
from contextlib import suppress
from urllib.error import HTTPError

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.resources.crds import custom_kinds
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.machine_inventory_selector import MACHINE_INVENTORY_SELECTOR_TEMPLATE
from appliance.resources.machine_registration import MACHINE_REGISTRATION
from appliance.resources.managed_os_image import MANAGED_OS_IMAGE
from appliance.resources.managed_os_version_channel import MANAGED_OS_VERSION_CHANNEL
from appliance.resources.meta import Document, Kind
from appliance.resources.schemas import object_schema
from appliance.resources.seed_image import SEED_IMAGE
from appliance.resources.violations import violations
from appliance.store.validation import normalized
from tests.appliance.resources.generating import documents, mutations
from tests.appliance.resources.test_examples import ALL, kind_of
from tests.kube_cluster import KubeCluster

pytestmark = pytest.mark.interop

CUSTOM = custom_kinds()
SERVED = {name: document for name, document in ALL.items() if kind_of(document) in CUSTOM}
REFERENCE = {"name": "plant"}

thorough = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))


class Refused(Exception):
    def __init__(self, code: int, body: str) -> None:
        super().__init__(f"{code}: {body}")
        self.code = code
        self.status: Document = json.loads(body)


@pytest.fixture(scope="module")
def cluster(kube_cluster: KubeCluster) -> KubeCluster:
    for name in ("fleet-default", "cattle-elemental-system", "b"):
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        with suppress(Refused):  # another test's, already there
            ask(kube_cluster, "/api/v1/namespaces", namespace)
    return kube_cluster


@pytest.mark.parametrize("document", SERVED.values(), ids=SERVED.keys())
def test_an_example_comes_out_the_same(cluster: KubeCluster, document: Document) -> None:
    theirs = create(cluster, kind_of(document), document)

    assert theirs["spec"] == normalized(kind_of(document), document)["spec"]


@pytest.mark.parametrize("kind", CUSTOM, ids=str)
@thorough
@given(data=st.data())
def test_whatever_the_schema_allows_comes_out_the_same(
    cluster: KubeCluster, kind: Kind, data: st.DataObject
) -> None:
    document = data.draw(documents(kind))

    theirs, ours = create(cluster, kind, document), normalized(kind, document)

    parts = (theirs.keys() | ours.keys()) - {"metadata", "status"}
    assert {part: theirs.get(part) for part in parts} == {part: ours.get(part) for part in parts}


@pytest.mark.parametrize("kind", CUSTOM, ids=str)
@thorough
@given(data=st.data())
def test_whatever_is_wrong_in_what_is_wanted_is_refused_there_too(
    cluster: KubeCluster, kind: Kind, data: st.DataObject
) -> None:
    document = data.draw(documents(kind))
    document.pop("status", None)
    if not (possible := mutations(document, kind)):
        return
    data.draw(st.sampled_from(possible)).apply()

    with pytest.raises(Refused) as refused:
        create(cluster, kind, document, validation="Ignore")

    assert refused.value.code == 422


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        (SEED_IMAGE, {"registrationRef": REFERENCE, "type": "usb"}),
        (SEED_IMAGE, {"type": "raw"}),
        (SEED_IMAGE, {"registrationRef": REFERENCE, "targetPlatform": "linux"}),
        (SEED_IMAGE, {"registrationRef": REFERENCE, "size": "six"}),
        (SEED_IMAGE, {"registrationRef": REFERENCE, "size": True}),
        (SEED_IMAGE, {"registrationRef": REFERENCE, "retriggerBuild": "yes", "cleanupAfterMinutes": "1"}),
        (MACHINE_REGISTRATION, {"token": "Not-A-Token"}),
        (MACHINE_REGISTRATION, {"token": "a" * 254}),
        (MACHINE_REGISTRATION, {"machineName": 7}),
        (MACHINE_REGISTRATION, {"config": {"elemental": {"install": {"snapshotter": {"maxSnaps": 1}}}}}),
        (
            MACHINE_REGISTRATION,
            {"config": {"elemental": {"install": {"device-selector": [{"key": "Model"}]}}}},
        ),
        (MACHINE_REGISTRATION, {"config": {"network": {"configurator": "netplan"}}}),
        (MACHINE_REGISTRATION, {"config": {"cloud-config": "users: []"}}),
        (MACHINE_INVENTORY, {"network": {"ipAddresses": ["a"]}}),
        (MACHINE_INVENTORY_SELECTOR_TEMPLATE, {}),
        (MANAGED_OS_IMAGE, {"concurrency": "all", "cordon": 1, "drain": True}),
        (MANAGED_OS_VERSION_CHANNEL, {"enabled": "no", "options": []}),
    ],
    ids=lambda value: str(value) if isinstance(value, Kind) else "-".join(value) or "empty",
)
def test_a_refusal_says_the_same(cluster: KubeCluster, kind: Kind, spec: Document) -> None:
    document: Document = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": "a", "namespace": "b"},
        "spec": spec,
    }

    with pytest.raises(Refused) as refused:
        create(cluster, kind, document)

    causes = refused.value.status["details"]["causes"]
    theirs = {f"{cause['field']}: {cause['message']}" for cause in causes if cause["field"] != "<nil>"}
    assert set(violations(normalized(kind, document), object_schema(kind))) == theirs


def create(cluster: KubeCluster, kind: Kind, document: Document, *, validation: str = "Strict") -> Document:
    namespace = document["metadata"]["namespace"]
    path = f"/apis/{kind.api_version}/namespaces/{namespace}/{kind.plural}"
    return ask(cluster, f"{path}?dryRun=All&fieldValidation={validation}", document)


def ask(cluster: KubeCluster, path: str, document: Document) -> Document:
    try:
        answer: Document = json.loads(cluster.request("POST", path, document))
    except HTTPError as error:
        with error:
            raise Refused(error.code, error.read().decode()) from None
    return answer
