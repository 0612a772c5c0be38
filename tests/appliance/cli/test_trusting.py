"""TPM makers, rotation, expected hosts, doubtful identities and two people, at a running appliance."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from appliance.api.contract import DEFAULT_NAMESPACE
from appliance.audit.log import read_entries, verify
from appliance.resources.core import CONFIG_MAP
from appliance.resources.machine_inventory import APPROVALS_NEEDED, APPROVED_BY, MACHINE_INVENTORY
from appliance.resources.machine_registration import MACHINE_REGISTRATION
from appliance.resources.meta import Document, Kind
from tests.appliance.attestation.makers import make_authority, pem
from tests.appliance.cli.typing_in import Terminal
from tests.appliance.fleet import add_machine, ask
from tests.appliance.running import PATIENCE, Appliance

HOSTS = f"/skerry/v1/namespaces/{DEFAULT_NAMESPACE}/hosts"


def patch(appliance: Appliance, kind: Kind, name: str, body: Document) -> None:
    appliance.client().patch_object(kind, name, DEFAULT_NAMESPACE, body)


def until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def said(appliance: Appliance, about: str) -> list[tuple[str, str]]:
    assert verify(appliance.data)[1] == []
    return [(entry.what, entry.who) for entry in read_entries(appliance.data, about=about)]


def token_of(skerry: Terminal, name: str) -> str:
    printed = yaml.safe_load(skerry("kubeconfig", "--role", "operator", "--user", name).out)
    token: str = printed["users"][0]["user"]["token"]
    return token


def test_makers_are_added_listed_and_removed(skerry: Terminal, appliance: Appliance, tmp_path: Path) -> None:
    root = make_authority("Maker Root")
    file = tmp_path / "maker.pem"
    file.write_bytes(pem(root.certificate, root.authority("Maker CA").certificate))

    assert skerry("trust", "ek-roots", "add", str(file)).code == 0
    listed = json.loads(skerry("trust", "ek-roots", "list", "-o", "json").out)["items"]
    assert {item["type"] for item in listed} == {"root", "intermediate"}
    for item in listed:
        assert skerry("trust", "ek-roots", "remove", item["id"]).code == 0
    assert skerry("trust", "ek-roots", "list").out == ""
    assert said(appliance, "trust/ek-roots")[0] == ("create", "skerry:admin")


@pytest.mark.parametrize("content", [b"nothing", b"\xff\xfe"], ids=["no PEM", "no text"])
def test_what_is_no_certificate_is_refused(skerry: Terminal, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.pem"
    file.write_bytes(content)

    assert skerry("trust", "ek-roots", "add", str(file)).code != 0


def test_a_registration_gets_another_token_and_the_old_one_is_remembered(
    skerry: Terminal, appliance: Appliance
) -> None:
    client = appliance.client()
    client.apply_object(
        {
            "apiVersion": MACHINE_REGISTRATION.api_version,
            "kind": MACHINE_REGISTRATION.kind,
            "metadata": {"name": "turning", "namespace": DEFAULT_NAMESPACE},
            "spec": {},
        }
    )

    def url() -> str:
        status = client.get_object(MACHINE_REGISTRATION, "turning").get("status") or {}
        return str(status.get("registrationURL", ""))

    until(lambda: bool(url()))
    before = url()

    rotated = skerry("registration", "rotate", "turning", "--grace", "7d")

    after = client.get_object(MACHINE_REGISTRATION, "turning")
    assert rotated.out.strip() == after["status"]["registrationURL"] != before
    assert said(appliance, "registrations/turning")[-1] == ("rotate", "skerry:admin")
    assert skerry("registration", "rotate", "none").code != 0


def test_expected_hosts_become_a_config_map_and_a_bad_list_none(
    skerry: Terminal, appliance: Appliance, tmp_path: Path
) -> None:
    file = tmp_path / "hosts.csv"
    file.write_text("serial,note\nSN-1,left\nSN-2,right\n")

    assert skerry("registration", "expect", "hall", "--file", str(file)).out == (
        "registration/hall expects 2 hosts\n"
    )
    kept = appliance.client().get_object(CONFIG_MAP, "hall-expected-hosts")
    assert kept["data"]["hosts.csv"] == file.read_text()
    file.write_text("serial\nSN-1\nSN-1\n")
    refused = skerry("registration", "expect", "hall", "--file", str(file))
    assert refused.code == 6
    assert "line 3 is the machine of line 2" in refused.err


def test_two_people_must_agree_and_names_that_are_merely_said_are_one(
    skerry: Terminal, appliance: Appliance
) -> None:
    add_machine(appliance.client(), "vault", approval="pending")
    patch(appliance, MACHINE_INVENTORY, "vault", {"metadata": {"annotations": {APPROVALS_NEEDED: "2"}}})
    path = f"{HOSTS}/vault/approve"

    first = ask(appliance, "POST", path, authorization=f"Bearer {appliance.token}", body=b'{"by":"ann"}')
    again = ask(appliance, "POST", path, authorization=f"Bearer {appliance.token}", body=b'{"by":"bob"}')
    posing = skerry("approve", "vault")

    assert (first[0], first[2]["approval"]) == (200, "pending")
    assert (again[0], "another person must" in again[2]["detail"]) == (403, True)
    assert posing.code != 0
    second = ask(appliance, "POST", path, authorization=f"Bearer {token_of(skerry, 'carol')}", body=b"{}")
    assert (second[0], second[2]["approval"]) == (200, "approved")
    kept = appliance.client().get_object(MACHINE_INVENTORY, "vault")
    assert kept["metadata"]["annotations"][APPROVED_BY] == "carol"
    assert [entry for entry in said(appliance, "hosts/vault") if entry[0] == "approve"] == [
        ("approve", "skerry:admin"),
        ("approve", "carol"),
    ]


def test_an_approval_by_one_hand_on_the_record_itself_is_none(appliance: Appliance) -> None:
    add_machine(appliance.client(), "vault2", approval="approved")
    patch(appliance, MACHINE_INVENTORY, "vault2", {"metadata": {"annotations": {APPROVALS_NEEDED: "2"}}})

    assert appliance.client().host("vault2").approval == "pending"


def test_who_asks_to_be_taken_for_another_is_written_down_as_both(appliance: Appliance) -> None:
    add_machine(appliance.client(), "posing", approval="pending")
    headers = {"Impersonate-User": "dave", "Impersonate-Group": "operator"}

    answered = ask(
        appliance,
        "POST",
        f"{HOSTS}/posing/approve",
        authorization=f"Bearer {appliance.token}",
        body=b"{}",
        more=headers,
    )

    assert answered[0] == 200
    assert ("approve", "skerry:admin as dave") in said(appliance, "hosts/posing")


def test_a_doubt_is_resolved_by_a_person_either_way(skerry: Terminal, appliance: Appliance) -> None:
    claims = {"skerry.dev/serial": "SN-77"}
    for name in ("twin-a", "twin-b"):
        add_machine(appliance.client(), name)
        patch(appliance, MACHINE_INVENTORY, name, {"metadata": {"annotations": claims}})

    def doubted(name: str) -> bool:
        conditions = appliance.client().get_object(MACHINE_INVENTORY, name).get("status", {})
        return any(
            each["type"] == "IdentityUnique" and each["status"] == "False"
            for each in conditions.get("conditions", [])
        )

    until(lambda: doubted("twin-a") and doubted("twin-b"))
    assert skerry("hosts", "resolve", "twin-a").code == 2
    assert skerry("hosts", "resolve", "twin-a", "--keep").code == 0
    until(lambda: not doubted("twin-a"))
    assert skerry("hosts", "resolve", "twin-a", "--keep").code != 0
    assert skerry("hosts", "resolve", "twin-b", "--replace").code == 0
    assert appliance.client().host("twin-a").approval == "rejected"


def test_a_rollout_that_is_paused_is_written_down_with_who_did_it(
    skerry: Terminal, appliance: Appliance
) -> None:
    appliance.client().apply_object(
        {
            "apiVersion": "skerry.dev/v1alpha1",
            "kind": "Rollout",
            "metadata": {"name": "r1", "namespace": DEFAULT_NAMESPACE},
            "spec": {"paused": True, "image": "none", "cloudConfig": {"password": "hunter2"}},
        }
    )

    (entry,) = [each for each in read_entries(appliance.data, about="rollouts") if "r1" in each.object]
    assert (entry.who, entry.details["rollout"]) == (
        "skerry:admin",
        '{"image":"none","maxUnavailable":1,"paused":true}',
    )
