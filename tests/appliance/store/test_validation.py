"""Documents against schemas: what is kept, what is dropped, what is refused by path."""

import pytest

from appliance.resources.core import SECRET
from appliance.resources.machine_registration import MACHINE_REGISTRATION
from appliance.resources.managed_os_image import MANAGED_OS_IMAGE
from appliance.resources.meta import Document, Kind
from appliance.resources.tidying import unknown_fields
from appliance.store.base import Invalid, Malformed
from appliance.store.validation import check_document, check_shape, normalized


def registration(**spec: object) -> Document:
    return {
        "apiVersion": MACHINE_REGISTRATION.api_version,
        "kind": "MachineRegistration",
        "metadata": {"name": "plant", "namespace": "fleet-default"},
        "spec": spec,
    }


def test_nulls_count_as_left_out_where_the_schema_has_none() -> None:
    document = registration(machineName=None, config={"elemental": None, "cloud-config": {"a": None}})

    assert normalized(MACHINE_REGISTRATION, document)["spec"] == {"config": {"cloud-config": {"a": None}}}
    assert normalized(MACHINE_REGISTRATION, registration(machineInventoryLabels={"a": None, "b": ""}))[
        "spec"
    ] == {"machineInventoryLabels": {"b": ""}}


def test_nulls_that_mean_something_stay() -> None:
    document = {"metadata": {}, "spec": {"drain": None, "osImage": None}}

    assert normalized(MANAGED_OS_IMAGE, document)["spec"] == {"drain": None}


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"machineName": 1}, r"^spec.machineName: Invalid value: \"integer\": .* must be of type string"),
        ({"token": "A b"}, r"^spec.token: Invalid value: \"A b\": spec.token in body should match"),
        ({"token": "a" * 254}, "^spec.token: Too long: may not be more than 253 bytes$"),
        ({"config": {"elemental": {"install": {"debug": "yes"}}}}, "^spec.config.elemental.install.debug: "),
        (
            {"config": {"elemental": {"install": {"snapshotter": {"maxSnaps": 1}}}}},
            "^spec.config.elemental.install.snapshotter.maxSnaps: .* greater than or equal to 2$",
        ),
        (
            {"config": {"elemental": {"install": {"device-selector": [{"key": "A", "operator": "In"}]}}}},
            r"^spec.config.elemental.install.device-selector\[0\].key: Unsupported value: \"A\": "
            r"supported values: \"Name\", \"Size\"$",
        ),
        (
            {"config": {"elemental": {"install": {"device-selector": [{"key": "Name"}]}}}},
            r"^spec.config.elemental.install.device-selector\[0\].operator: Required value$",
        ),
        ({"machineInventoryLabels": {"a": 1}}, r"^spec.machineInventoryLabels\[a\]: Invalid value"),
        ({"machineName": 1, "token": 2}, r"^spec.machineName: .*; spec.token: "),
        ([], '^spec: Invalid value: "array": spec in body must be of type object'),
    ],
)
def test_a_refusal_begins_with_the_path_of_the_field(spec: object, complaint: str) -> None:
    with pytest.raises(Invalid, match=complaint):
        check_document(MACHINE_REGISTRATION, {**registration(), "spec": spec})


def test_unknown_fields_are_found_wherever_they_are_but_not_in_free_objects() -> None:
    document = registration(
        machineNam="x",
        config={"cloud-config": {"anything": 1}, "elemental": {"install": {"device-selector": [{"kee": 1}]}}},
    )
    document["specs"] = {}

    assert unknown_fields(MACHINE_REGISTRATION, document) == [
        "spec.machineNam",
        "spec.config.elemental.install.device-selector[0].kee",
        "specs",
    ]
    assert unknown_fields(SECRET, {"immutable": True}) == []


def test_a_condition_is_there_once() -> None:
    condition = {"type": "Ready", "status": "True", "reason": "Done"}
    document = {**registration(), "status": {"conditions": [condition, condition]}}

    with pytest.raises(Invalid, match=r'^status.conditions\[1\]: Duplicate value: {"type":"Ready"}$'):
        check_document(MACHINE_REGISTRATION, document)


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        (MACHINE_REGISTRATION, {"kind": "Secret", "metadata": {}}),
        (MACHINE_REGISTRATION, {"apiVersion": "v1", "metadata": {}}),
        (MACHINE_REGISTRATION, ["not", "an", "object"]),
    ],
)
def test_a_document_of_another_kind_is_malformed(kind: Kind, document: Document) -> None:
    with pytest.raises(Malformed):
        check_shape(kind, document)
