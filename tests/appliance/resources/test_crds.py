"""The checked-in CRDs are those that the structs make, and are what a real API server accepts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from appliance.resources import crds
from appliance.resources.kinds import KINDS
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.machine_registration import MACHINE_REGISTRATION
from appliance.resources.meta import Kind

CUSTOM = crds.custom_kinds()
TYPED = {"type", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"}


@pytest.mark.parametrize("kind", CUSTOM, ids=str)
def test_the_manifest_of_a_kind_is_up_to_date(kind: Kind) -> None:
    written = crds.MANIFESTS / crds.file_name(kind)

    assert written.read_text() == crds.render(kind), "run `python -m appliance.resources.crds`"


def test_there_is_a_manifest_for_each_kind_and_no_other() -> None:
    assert {path.name for path in crds.MANIFESTS.iterdir()} == {crds.file_name(kind) for kind in CUSTOM}


def test_writing_them_removes_those_of_kinds_that_are_gone(tmp_path: Path) -> None:
    (tmp_path / "elemental.cattle.io_forgotten.yaml").touch()

    assert len(crds.write_manifests(tmp_path)) == len(CUSTOM)
    assert len(list(tmp_path.iterdir())) == len(CUSTOM)


def test_upstreams_kinds_are_called_as_upstream_calls_them() -> None:
    document = yaml.safe_load(crds.render(MACHINE_INVENTORY))

    assert document["metadata"]["name"] == "machineinventories.elemental.cattle.io"
    assert document["metadata"]["labels"]["cluster.x-k8s.io/provider"] == "infrastructure-elemental"
    assert document["metadata"]["labels"]["cluster.x-k8s.io/v1beta1"] == "v1beta1"
    assert document["spec"]["versions"][0]["subresources"] == {"status": {}}
    columns = {
        column["name"]: column["jsonPath"]
        for column in document["spec"]["versions"][0]["additionalPrinterColumns"]
    }
    assert columns["Ready"] == '.status.conditions[?(@.type=="Ready")].status'


@pytest.mark.parametrize("kind", CUSTOM, ids=str)
def test_a_schema_is_structural(kind: Kind) -> None:
    """The rules an API server enforces: a type everywhere, no references or unions, plain metadata."""
    schema = crds.definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]

    assert schema["properties"]["metadata"] == {"type": "object"}
    for part in walk(schema):
        assert part.keys() & {"type", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"}, (
            part
        )
        assert not part.keys() & {"$ref", "$defs", "anyOf", "oneOf", "title"}, part
        assert not {"properties", "additionalProperties"} <= part.keys(), part
        assert part.get("default") not in ("", [], {}, False), part


@pytest.mark.parametrize(
    ("spec", "is_valid"),
    [
        ({"machineName": "m-1", "config": {"cloud-config": {"users": [1]}}}, True),
        (
            {"config": {"elemental": {"install": {"device-selector": [{"key": "Size", "operator": "Gt"}]}}}},
            True,
        ),
        (
            {
                "config": {
                    "elemental": {"install": {"device-selector": [{"key": "Serial", "operator": "Gt"}]}}
                }
            },
            False,
        ),
        ({"machineName": 1}, False),
        ({"machineInventoryLabels": {"a": 1}}, False),
    ],
)
def test_a_schema_says_what_the_struct_says(spec: dict[str, object], is_valid: bool) -> None:
    schema = crds.definition(MACHINE_REGISTRATION)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]

    assert jsonschema.Draft202012Validator(schema).is_valid({"metadata": {}, "spec": spec}) is is_valid


def test_every_kind_has_names_of_its_own() -> None:
    names = [name for kind in KINDS for name in {kind.plural, kind.singular, *kind.short_names}]

    assert len(names) == len(set(names))


def walk(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for child in schema.get("properties", {}).values():
        yield from walk(child)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from walk(schema[key])
