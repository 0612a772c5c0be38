"""The hosted mode's objects: what they may do, and that two appliances can never run at once."""

import yaml

from appliance.k3s.documents import BOX_LABEL, Hosted, documents, rules
from appliance.k3s.files import Node, render_config
from appliance.resources.kinds import KINDS
from appliance.resources.meta import Document

HOSTED = Hosted(image="docker.io/skerry/appliance:1.0", advertise_url="https://192.0.2.7:8443", site="north")


def find(kind: str) -> Document:
    return next(each for each in documents(HOSTED) if each["kind"] == kind)


def test_one_appliance_is_stopped_before_the_next_starts() -> None:
    spec = find("Deployment")["spec"]

    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_the_pod_runs_the_same_program_on_the_same_folder_and_ports() -> None:
    pod = find("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert container["command"][:4] == ["skerry", "serve", "--store", "kubernetes"]
    assert container["command"][-4:] == ["--advertise-url", "https://192.0.2.7:8443", "--site", "north"]
    assert pod["hostNetwork"] is True
    assert pod["volumes"][0]["hostPath"]["path"] == "/var/lib/skerry"
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_the_role_covers_every_kind_of_ours_and_its_status() -> None:
    allowed = {(group, part) for rule in rules() for group in rule["apiGroups"] for part in rule["resources"]}

    for kind in KINDS:
        if kind.group in ("elemental.cattle.io", "skerry.dev"):
            assert (kind.group, kind.plural) in allowed
            assert ((kind.group, f"{kind.plural}/status") in allowed) == kind.has_status


def test_the_role_holds_no_wildcard_and_cannot_raise_itself() -> None:
    for rule in rules():
        for words in (rule["apiGroups"], rule["resources"], rule["verbs"]):
            assert not {"*", "escalate", "bind", "impersonate"} & set(words)


def test_only_the_box_with_the_folder_may_run_the_appliance() -> None:
    hosted = Hosted(image="i")
    first = Node(hosted=hosted, mirror_url="http://m:5000", is_first=True)
    joining = Node(hosted=hosted, mirror_url="http://m:5000", server_url="https://first:6443", token="t")

    assert yaml.safe_load(render_config(first))["node-label"] == [f"{BOX_LABEL}=true"]
    assert "node-label" not in yaml.safe_load(render_config(joining))
