"""Schemas, structs and refusals agree, whatever a document holds; and every field is explained."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.resources.crds import custom_kinds
from appliance.resources.kinds import KINDS
from appliance.resources.machine import MACHINE
from appliance.resources.machine_registration import MACHINE_REGISTRATION
from appliance.resources.managed_os_image import MANAGED_OS_IMAGE
from appliance.resources.meta import Document, Kind
from appliance.resources.schemas import FREE, Schema, object_schema
from appliance.resources.system_upgrade_plan import SYSTEM_UPGRADE_PLAN
from appliance.resources.tidying import unknown_fields
from appliance.store.base import Invalid
from appliance.store.validation import check_document, normalized
from tests.appliance.resources.generating import documents, mutations
from tests.appliance.resources.test_examples import losses

CUSTOM = custom_kinds()

thorough = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("kind", CUSTOM, ids=str)
@thorough
@given(data=st.data())
def test_what_a_schema_allows_is_accepted_and_kept(kind: Kind, data: st.DataObject) -> None:
    document = data.draw(documents(kind))

    kept = normalized(kind, document)
    check_document(kind, kept)

    assert losses(document, kept) == []
    assert normalized(kind, kept) == kept
    assert unknown_fields(kind, document) == []


@pytest.mark.parametrize("kind", CUSTOM, ids=str)
@thorough
@given(data=st.data())
def test_one_wrong_value_is_refused_by_its_path(kind: Kind, data: st.DataObject) -> None:
    document = normalized(kind, data.draw(documents(kind)))
    possible = mutations(document, kind)
    if not possible:
        return
    wrong = data.draw(st.sampled_from(possible))
    wrong.apply()

    with pytest.raises(Invalid) as refused:
        check_document(kind, document)

    assert str(refused.value).startswith(wrong.refusal)


@pytest.mark.parametrize("kind", CUSTOM, ids=str)
def test_every_field_is_explained(kind: Kind) -> None:
    reports = {"HostReport": "report."}  # what a host says of itself is the agent's vocabulary

    silent = [
        path
        for path, part in fields(object_schema(kind), "")
        if "description" not in part and not path.startswith(reports.get(kind.kind, " "))
    ]

    assert silent == []


@pytest.mark.parametrize("kind", [*KINDS, SYSTEM_UPGRADE_PLAN], ids=str)
def test_every_column_shows_something_that_is_there(kind: Kind) -> None:
    parts = list(fields(object_schema(kind), ""))
    known, free = {path for path, _ in parts}, [f"{path}." for path, part in parts if FREE in part]

    for column in kind.columns:
        path = re.sub(r"\[\w+\]", "", column.path)
        assert path in known or path.startswith(tuple(free)), column


def test_free_are_only_what_upstream_keeps_and_kubernetes_own_types() -> None:
    elemental = [kind for kind in CUSTOM if kind.group == "elemental.cattle.io"]

    free = {
        path for kind in elemental for path, part in fields(object_schema(kind), f"{kind}.") if FREE in part
    }

    assert {path for path in free if not path.endswith((".securityContext", ".status"))} == {
        "MachineRegistration.spec.config.cloud-config",
        "MachineRegistration.spec.config.network.config",
        "MachineInventory.spec.network.config",
        "MachineInventorySelectorTemplate.spec.template.metadata",
        "ManagedOSImage.spec.cloudConfig",
        "ManagedOSVersion.spec.metadata",
        "ManagedOSVersionChannel.spec.options",
        "SeedImage.spec.cloud-config",
    }


def test_a_struct_that_is_open_keeps_what_it_does_not_read() -> None:
    target = {"clusterName": "a", "helm": {"values": {"b": 1}}}
    document = {"spec": {"clusterTargets": [target], "clusterRolloutStrategy": {"helm": 1}}}

    kept = normalized(MANAGED_OS_IMAGE, document)["spec"]

    assert kept["clusterTargets"] == [target]
    assert kept["clusterRolloutStrategy"] == {}


def test_foreign_kinds_are_kept_as_they_come() -> None:
    document = {"spec": {"bootstrap": {"configRef": {"kind": "x"}}, "readinessGates": []}, "other": 1}

    kept = normalized(MACHINE, document)

    assert {key: kept[key] for key in document} == document
    assert unknown_fields(MACHINE, document) == []


@pytest.mark.parametrize(
    ("config", "filled"),
    [
        ({}, {}),
        (
            {"elemental": {}},
            {"elemental": {"reset": {"reset-persistent": True, "reset-oem": True, "reboot": True}}},
        ),
        (
            {"elemental": {"reset": {"enabled": True, "reboot": False}}},
            {
                "elemental": {
                    "reset": {"enabled": True, "reset-persistent": True, "reset-oem": True, "reboot": False}
                }
            },
        ),
        (
            {"elemental": {"install": {}, "registration": {}, "reset": None}},
            {
                "elemental": {
                    "install": {"snapshotter": {"type": "loopdevice", "maxSnaps": 2}},
                    "registration": {"auth": "tpm"},
                    "reset": {"reset-persistent": True, "reset-oem": True, "reboot": True},
                }
            },
        ),
        (
            {"elemental": {"install": {"snapshotter": {"type": "btrfs"}}, "reset": {}}},
            {
                "elemental": {
                    "install": {"snapshotter": {"type": "btrfs", "maxSnaps": 2}},
                    "reset": {"reset-persistent": True, "reset-oem": True, "reboot": True},
                }
            },
        ),
        ({"network": {}}, {"network": {"configurator": "none"}}),
    ],
    ids=["nothing", "elemental", "reset", "install", "snapshotter", "network"],
)
def test_defaults_are_upstreams_and_only_below_what_is_there(config: Document, filled: Document) -> None:
    kept = normalized(MACHINE_REGISTRATION, {"spec": {"config": config}})

    assert kept["spec"] == {"config": filled}


def test_a_default_is_nobodys_to_change() -> None:
    first = normalized(MANAGED_OS_IMAGE, {"spec": {}})
    first["spec"]["drain"]["force"] = False

    assert normalized(MANAGED_OS_IMAGE, {"spec": {}})["spec"]["drain"]["force"] is True


def fields(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    for name, part in schema.get("properties", {}).items():
        yield f"{path}{name}", part
        yield from fields(part, f"{path}{name}.")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from fields(schema[key], path)
