"""Plan Secrets: upstream's keys and checksum, and results that count only for the plan they belong to."""

import base64
import gzip
import json

import pytest

from appliance.controllers.plans import (
    EMPTY_PLAN,
    checksum_plan,
    read_plan,
    render_plan_change,
    render_plan_secret,
    render_reset_plan,
    render_upgrade_plan,
)
from appliance.resources.machine_inventory import MachineInventory
from appliance.resources.meta import Document, decode
from tests.appliance.controllers.factories import START, encode, failure_output, inventory

EMPTY_CHECKSUM = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def secret(**data: str) -> Document:
    return {"metadata": {"name": "host-0"}, "data": {"plan": encode("{}"), **data}}


def test_the_empty_plan_has_the_checksum_that_upstream_documents() -> None:
    assert checksum_plan(EMPTY_PLAN) == EMPTY_CHECKSUM


@pytest.mark.parametrize(
    ("data", "state"),
    [
        ({}, ""),
        ({"applied-checksum": encode(EMPTY_CHECKSUM)}, "Applied"),
        ({"failed-checksum": encode(EMPTY_CHECKSUM)}, "Failed"),
        ({"applied-checksum": encode("of-another-plan")}, ""),
        (
            {"applied-checksum": encode("of-another-plan"), "failed-checksum": encode(EMPTY_CHECKSUM)},
            "Failed",
        ),
        ({"plan-state": encode("failed"), "applied-checksum": encode(EMPTY_CHECKSUM)}, "Failed"),
        ({"plan-state": encode("succeeded")}, "Applied"),
        ({"plan-state": encode("in-progress"), "applied-checksum": encode(EMPTY_CHECKSUM)}, ""),
        ({"applied-checksum": "not base64"}, ""),
    ],
)
def test_a_result_counts_only_for_the_plan_it_belongs_to(data: dict[str, str], state: str) -> None:
    assert read_plan(secret(**data)).state == state


def test_a_failure_tells_its_last_line() -> None:
    failed = secret(
        **{
            "failed-checksum": encode(EMPTY_CHECKSUM),
            "failed-output": failure_output("one\nno space left\n\n"),
        }
    )

    assert read_plan(failed).reason == "no space left"


@pytest.mark.parametrize(
    "output",
    [
        encode("not gzip"),
        encode(gzip.compress(b"not json")),
        encode(gzip.compress(json.dumps({"upgrade": "*"}).encode())),
        encode(gzip.compress(b"[" * 100_000_000)),
        "*",
    ],
    ids=["not gzip", "not JSON", "not base64 inside", "a bomb", "not base64"],
)
def test_an_output_that_cannot_be_read_is_no_reason_and_no_danger(output: str) -> None:
    failed = secret(**{"failed-checksum": encode(EMPTY_CHECKSUM), "failed-output": output})

    assert (read_plan(failed).state, read_plan(failed).reason) == ("Failed", "")


def test_a_new_plan_forgets_what_was_said_of_the_old_one() -> None:
    change = render_plan_change(b"plan", "upgrade", rollout="to-v2")

    assert change["data"]["applied-checksum"] == change["data"]["failed-checksum"] == ""
    assert change["data"]["failed-output"] is None
    annotations = change["metadata"]["annotations"]
    assert {key: value for key, value in annotations.items() if value is not None} == {
        "elemental.cattle.io/plan.type": "upgrade",
        "skerry.dev/rollout": "to-v2",
    }


def test_the_first_plan_is_typed_and_labelled_as_upstream_does() -> None:
    document = render_plan_secret(decode(MachineInventory, inventory()))

    assert document["type"] == "elemental.cattle.io/plan"
    assert document["metadata"]["labels"] == {"elemental.cattle.io/managed": "true"}
    assert document["metadata"]["annotations"] == {"elemental.cattle.io/plan.type": "empty"}
    assert base64.b64decode(document["data"]["plan"]) == b"{}"


def test_an_upgrade_is_an_ordinary_plan_for_the_hosts_agent() -> None:
    plan = json.loads(render_upgrade_plan("10.0.0.1:5000/demo@sha256:22", "to-v2-22"))

    assert plan == {
        "instructions": [
            {
                "name": "upgrade",
                "command": "skerry-agent",
                "args": [
                    "upgrade",
                    "--image",
                    "10.0.0.1:5000/demo@sha256:22",
                    "--correlation-id",
                    "to-v2-22",
                ],
                "saveOutput": True,
            }
        ]
    }


def test_a_reset_boots_into_recovery_and_restores_the_network_first() -> None:
    document = inventory()
    document["spec"]["network"] = {"configurator": "nmconnections"}
    machine = decode(MachineInventory, document)

    plan = json.loads(render_reset_plan(machine, is_managed=True, now=START))

    assert [instruction["name"] for instruction in plan["instructions"]] == [
        "restore first boot config",
        "configure next boot to recovery mode",
        "schedule reboot",
    ]
    assert plan["files"][0]["path"] == "/oem/reset-cloud-config.yaml"


def test_a_host_without_our_toolkit_is_only_left_a_note() -> None:
    machine = decode(MachineInventory, inventory())

    plan = json.loads(render_reset_plan(machine, is_managed=False, now=START))

    assert "instructions" not in plan
    assert base64.b64decode(plan["files"][0]["content"]) == b"2026-11-20 12:00:00"
