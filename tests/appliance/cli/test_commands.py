"""The commands against a running appliance: bytes on stdout, talk on stderr, exit codes."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from appliance.resources.core import CONFIG_MAP
from appliance.resources.kinds import KINDS
from appliance.resources.machine_inventory import APPROVED_BY, MACHINE_INVENTORY
from tests.appliance.cli.typing_in import Terminal
from tests.appliance.fleet import TPM_HASH, add_machine, add_report
from tests.appliance.running import Appliance

MAPS = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: %(name)s-1, labels: {of: %(name)s}}
data: {a: "1"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: %(name)s-2, labels: {of: %(name)s}}
data: {a: "2"}
"""


def maps(directory: Path, name: str) -> str:
    path = directory / f"{name}.yaml"
    path.write_text(MAPS % {"name": name})
    return str(path)


def test_apply_says_what_happened_to_each_document(skerry: Terminal, tmp_path: Path) -> None:
    file = maps(tmp_path, "apply")

    dry = skerry("apply", "-f", file, "--dry-run")
    first = skerry("apply", "-f", file)
    second = skerry("apply", "-f", file)
    Path(file).write_text(Path(file).read_text().replace('"2"', '"3"'))
    third = skerry("apply", "-f", file)

    assert dry.out == "configmap/apply-1 created (dry run)\nconfigmap/apply-2 created (dry run)\n"
    assert first.out == "configmap/apply-1 created\nconfigmap/apply-2 created\n"
    assert second.out == "configmap/apply-1 unchanged\nconfigmap/apply-2 unchanged\n"
    assert third.out == "configmap/apply-1 unchanged\nconfigmap/apply-2 configured\n"
    assert {outcome.code for outcome in (dry, first, second, third)} == {0}
    assert {outcome.err for outcome in (dry, first, second, third)} == {""}


def test_apply_reads_stdin_and_prints_names_for_a_pipe(
    skerry: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Path(maps(tmp_path, "stdin")).open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        outcome = skerry("apply", "-f", "-", "-o", "name")

    assert (outcome.code, outcome.out) == (0, "configmap/stdin-1\nconfigmap/stdin-2\n")


def test_apply_goes_on_after_a_bad_document_and_says_partial(skerry: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "mixed.yaml"
    bad = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n---\n"
    file.write_text(bad + MAPS % {"name": "mixed"})

    outcome = skerry("apply", "-f", str(file))

    assert outcome.code == 7
    assert outcome.out == "configmap/mixed-1 created\nconfigmap/mixed-2 created\n"
    assert "Pod/p: There is no kind 'Pod'." in outcome.err


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"---\n",
        b"just text",
        b"- a\n- b\n",
        b"a: [1",
        b"\xff\xfe",
        b"kind: ConfigMap\nmetadata: {}\n",
        b"!!python/object/apply:os.system ['true']",
        b"a: &a [*a]\nb: " + b"[" * 3000,
    ],
)
def test_what_is_no_resource_is_a_usage_error_that_names_the_file(
    skerry: Terminal, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)

    outcome = skerry("apply", "-f", str(file))

    assert (outcome.code, outcome.out) == (2, "")
    assert "Traceback" not in outcome.err


def test_an_invalid_resource_is_refused_with_the_fields_path(skerry: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "rollout.yaml"
    file.write_text(
        "apiVersion: skerry.dev/v1alpha1\nkind: Rollout\nmetadata: {name: bad}\nspec: {waves: 7}\n"
    )

    outcome = skerry("apply", "-f", str(file), "-o", "json")

    assert outcome.code == 1
    error = json.loads(outcome.err)
    assert (error["reason"], error["exitCode"]) == ("Invalid", 1)
    assert "waves" in error["message"]


def test_get_prints_every_form(skerry: Terminal, tmp_path: Path) -> None:
    skerry("apply", "-f", maps(tmp_path, "forms"))

    table = skerry("get", "cm", "-l", "of=forms")
    names = skerry("get", "configmaps", "-l", "of=forms", "-o", "name")
    one = skerry("get", "cm/forms-1", "-o", "json")
    both = skerry("get", "ConfigMap", "forms-1", "forms-2", "-o", "yaml")

    assert [line.split()[0] for line in table.out.splitlines()] == ["NAME", "forms-1", "forms-2"]
    assert table.out.splitlines()[0] == "NAME      AGE"
    assert names.out == "configmap/forms-1\nconfigmap/forms-2\n"
    assert json.loads(one.out)["data"] == {"a": "1"}
    assert "managedFields" not in json.loads(one.out)["metadata"]
    listed = yaml.safe_load(both.out)
    assert (listed["kind"], len(listed["items"])) == ("List", 2)


def test_get_in_an_empty_namespace_says_so_on_stderr_only(skerry: Terminal) -> None:
    outcome = skerry("get", "rollouts", "-n", "nowhere")

    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == "No rollouts in namespace nowhere.\n"


def test_get_in_all_namespaces_names_them(skerry: Terminal, tmp_path: Path) -> None:
    skerry("apply", "-n", "elsewhere", "-f", maps(tmp_path, "spread"))

    outcome = skerry("get", "cm", "-A", "-l", "of=spread")

    assert [line.split()[:2] for line in outcome.out.splitlines()] == [
        ["NAMESPACE", "NAME"],
        ["elsewhere", "spread-1"],
        ["elsewhere", "spread-2"],
    ]


def test_every_kind_can_be_listed_by_its_every_word(skerry: Terminal) -> None:
    for kind in KINDS:
        for word in (kind.plural, kind.singular, kind.kind, *kind.short_names):
            assert skerry("get", word, "-o", "name").code == 0, word


def test_a_kind_that_is_nearly_right_gets_a_suggestion(skerry: Terminal) -> None:
    outcome = skerry("get", "rolouts")

    assert outcome.code == 2
    assert "Did you mean rollouts?" in outcome.err


def test_what_is_not_there_is_exit_code_1_and_a_sentence(skerry: Terminal) -> None:
    plain, as_json = skerry("get", "cm", "nothing"), skerry("get", "cm", "nothing", "-o", "json")

    assert (plain.code, plain.out) == (1, "")
    assert "nothing" in plain.err
    assert json.loads(as_json.err)["reason"] == "NotFound"


def test_describe_tells_fields_conditions_and_events(skerry: Terminal, tmp_path: Path) -> None:
    skerry("apply", "-f", maps(tmp_path, "described"))

    outcome = skerry("describe", "cm", "described-1")

    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[:3] == [
        "Name:         described-1",
        "Namespace:    fleet-default",
        "Kind:         ConfigMap (v1)",
    ]
    assert "Labels:       of=described" in lines
    assert lines[-2:] == ["Data:", "  a: '1'"]


def test_delete_by_name_and_by_file(skerry: Terminal, appliance: Appliance, tmp_path: Path) -> None:
    file = maps(tmp_path, "deleted")
    skerry("apply", "-f", file)

    dry = skerry("delete", "cm", "deleted-1", "--dry-run")
    one = skerry("delete", "cm/deleted-1")
    again = skerry("delete", "cm", "deleted-1")
    rest = skerry("delete", "-f", file)

    assert dry.out == "configmap/deleted-1 deleted (dry run)\n"
    assert one.out == "configmap/deleted-1 deleted\n"
    assert again.code == 1
    assert (rest.code, rest.out) == (7, "configmap/deleted-2 deleted\n")
    assert appliance.client().list_objects(CONFIG_MAP, labels="of=deleted") == []


def test_delete_without_a_target_is_a_usage_error(skerry: Terminal) -> None:
    assert skerry("delete").code == 2
    assert skerry("delete", "cm").code == 2


def test_hosts_are_listed_with_phase_slot_and_version(skerry: Terminal, appliance: Appliance) -> None:
    client = appliance.client()
    add_machine(client, "list-a", labels={"line": "list"})
    add_machine(client, "list-b", labels={"line": "list"}, approval="pending")
    add_report(client, "list-a", bootedSlot="b", version="v2", digest="sha256:22", addresses=["10.0.0.7"])

    table = skerry("hosts", "list", "-l", "line=list")
    wide = skerry("hosts", "list", "-l", "line=list", "-o", "wide")
    names = skerry("hosts", "list", "-l", "line=list", "-o", "name")
    data = json.loads(skerry("hosts", "list", "-l", "line=list", "-o", "json").out)

    lines = table.out.splitlines()
    assert lines[0].split() == ["NAME", "PHASE", "SLOT", "VERSION", "SEEN", "AGE"]
    assert lines[1].split()[:4] == ["list-a", "Silent", "b", "v2"]
    assert lines[2].startswith("list-b   Pending approval   -      -")
    assert TPM_HASH in wide.out
    assert "10.0.0.7" in wide.out
    assert names.out == "host/list-a\nhost/list-b\n"
    assert (data["apiVersion"], data["kind"]) == ("skerry.dev/v1", "HostList")
    assert [item["phase"] for item in data["items"]] == ["Silent", "Pending approval"]


def test_a_waiting_host_is_seen_in_the_inbox_and_approved(skerry: Terminal, appliance: Appliance) -> None:
    add_machine(appliance.client(), "inbox-a", approval="pending")

    before = skerry("hosts", "inbox", "-o", "name")
    dry = skerry("approve", "inbox-a", "--dry-run")
    still = skerry("hosts", "inbox", "-o", "name")
    approved = skerry("approve", "inbox-a")
    after = skerry("hosts", "inbox", "-o", "name")

    assert "inbox-a" in before.out.split()
    assert dry.out == "host/inbox-a approved (dry run)\n"
    assert "inbox-a" in still.out.split()
    assert (approved.code, approved.out) == (0, "host/inbox-a approved\n")
    assert "inbox-a" not in after.out.split()
    machine = appliance.client().get_object(MACHINE_INVENTORY, "inbox-a")
    assert "@" in machine["metadata"]["annotations"][APPROVED_BY]


def test_approving_several_hosts_of_which_one_is_unknown_is_partial(
    skerry: Terminal, appliance: Appliance
) -> None:
    add_machine(appliance.client(), "several-a", approval="pending")

    outcome = skerry("approve", "several-a", "several-unknown")

    assert (outcome.code, outcome.out) == (7, "host/several-a approved\n")
    assert "host/several-unknown: " in outcome.err


def test_a_rejected_host_says_so(skerry: Terminal, appliance: Appliance) -> None:
    add_machine(appliance.client(), "rejected-a", approval="pending")

    skerry("reject", "rejected-a", "--reason", "not ours")
    shown = skerry("hosts", "show", "rejected-a", "-o", "json")

    view = json.loads(shown.out)
    assert (view["phase"], view["reason"]) == ("Rejected", "not ours")


def test_waiting_for_a_host_that_nobody_approved_is_exit_code_8(
    skerry: Terminal, appliance: Appliance
) -> None:
    add_machine(appliance.client(), "wait-a", approval="pending")

    unapproved = skerry("hosts", "wait", "wait-a", "--timeout", "0")
    skerry("approve", "wait-a")
    registered = skerry("hosts", "wait", "wait-a", "--timeout", "0")
    there = skerry("hosts", "wait", "wait-a", "--for", "Registered", "--timeout", "0")

    assert (unapproved.code, registered.code, there.code) == (8, 4, 0)
    assert "skerry approve wait-a" in unapproved.err


def test_labels_are_set_and_removed(skerry: Terminal, appliance: Appliance) -> None:
    add_machine(appliance.client(), "label-a", labels={"line": "7", "cell": "2"})

    skerry("hosts", "label", "label-a", "line=8", "cell-")
    wrong = skerry("hosts", "label", "label-a", "nonsense")

    assert appliance.client().host("label-a").labels == {"line": "8"}
    assert wrong.code == 2


def test_the_kubeconfig_holds_what_another_machine_needs(skerry: Terminal, appliance: Appliance) -> None:
    config = yaml.safe_load(skerry("kubeconfig").out)

    assert config["clusters"][0]["cluster"]["server"] == appliance.url
    assert config["users"][0]["user"]["token"] == appliance.token
    assert config["contexts"][0]["context"]["namespace"] == "fleet-default"


def test_version_speaks_of_both_sides(skerry: Terminal, lonely: Terminal, appliance: Appliance) -> None:
    both, alone = skerry("version"), lonely("version")

    assert appliance.url in both.out
    assert (alone.code, len(alone.out.splitlines())) == (0, 1)
    assert "was not asked" in alone.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["hosts", "list"], ["hosts", "show", "x"], ["hosts", "inbox"], ["get", "mi"], ["describe", "mi", "x"],
        ["delete", "mi", "x"], ["approve", "x"], ["approve", "x", "y"], ["reject", "x"], ["rollout", "list"],
        ["rollout", "start", "r", "--image", "i"], ["rollout", "status", "r"], ["rollout", "pause", "r"],
        ["rollout", "wait", "r"], ["bundle", "list"], ["bundle", "load", "/b"], ["bundle", "trust"],
        ["iso", "devices"], ["iso", "build", "r", "--output", "/i"], ["iso", "burn", "/i", "/t"],
        ["operation", "list"], ["operation", "follow", "o"], ["operation", "cancel", "o"], ["kubeconfig"],
    ],
)  # fmt: skip
def test_without_an_appliance_every_command_is_exit_code_3(lonely: Terminal, arguments: list[str]) -> None:
    outcome = lonely(*arguments)

    assert (outcome.code, outcome.out) == (3, "")
    assert "There is no appliance at" in outcome.err


def test_apply_without_an_appliance_stops_at_once(lonely: Terminal, tmp_path: Path) -> None:
    outcome = lonely("apply", "-f", maps(tmp_path, "lonely"))

    assert outcome.code == 3
    assert outcome.err.count("There is no appliance") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["get"],
        ["get", "cm", "-o", "xml"],
        ["hosts", "lst"],
        ["rollout", "start", "r"],
        ["apply"],
    ],
)
def test_usage_errors_are_exit_code_2_with_nothing_on_stdout(skerry: Terminal, arguments: list[str]) -> None:
    plain = skerry(*arguments)
    as_json = skerry(*arguments, "-o", "json") if "-o" not in arguments else plain

    assert (plain.code, plain.out) == (2, "")
    assert plain.err.startswith("skerry: ")
    assert as_json.code == 2


def test_a_usage_error_as_json_is_one_object(skerry: Terminal) -> None:
    outcome = skerry("hosts", "lst", "-o", "json")

    error = json.loads(outcome.err)
    assert (error["kind"], error["reason"], error["exitCode"]) == ("Error", "Usage", 2)


def test_the_flag_wins_over_the_environment_and_that_over_the_file(
    skerry: Terminal, appliance: Appliance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config" / "skerry" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('server = "unix:/from-file"\n')

    from_file = skerry.bare("hosts", "list")
    monkeypatch.setenv("SKERRY_SERVER", "unix:/from-environment")
    from_environment = skerry.bare("hosts", "list")
    from_flag = skerry.bare("hosts", "list", "--server", appliance.server)

    assert "unix:/from-file" in from_file.err
    assert "unix:/from-environment" in from_environment.err
    assert from_flag.code == 0


def test_a_remote_appliance_is_reached_with_a_token_file_and_a_ca_file(
    skerry: Terminal, appliance: Appliance, tmp_path: Path
) -> None:
    config = tmp_path / "config" / "skerry" / "config.toml"
    config.parent.mkdir(parents=True)
    (tmp_path / "token").write_text(f"{appliance.token}\n")
    config.write_text(
        f'server = "{appliance.url}"\ntoken-file = "{tmp_path}/token"\nca-file = "{appliance.ca_file}"\n'
    )

    assert skerry.bare("hosts", "list").code == 0


def test_a_wrong_configuration_is_exit_code_2_and_names_the_file(skerry: Terminal, tmp_path: Path) -> None:
    config = tmp_path / "config" / "skerry" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('servr = "unix:/x"\n')

    outcome = skerry.bare("hosts", "list")

    assert outcome.code == 2
    assert str(config) in outcome.err
    assert "servr" in outcome.err
    assert "Known keys: server" in outcome.err


def test_a_closed_pipe_ends_quietly(appliance: Appliance) -> None:
    command = f"{sys.executable} -m appliance help exit-codes --server {appliance.server} | true"
    plain = f"{sys.executable} -m appliance help exit-codes | true"

    for line in (command, plain):
        assert "Traceback" not in subprocess.run(line, shell=True, capture_output=True, text=True).stderr


def test_the_console_is_a_program_of_its_own(appliance: Appliance) -> None:
    command = [sys.executable, "-m", "appliance", "console", "--server", appliance.server]

    outcome = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)

    assert outcome.returncode == 2
    assert "needs a terminal" in outcome.stderr


def test_keys_made_by_keygen_are_private(skerry: Terminal, tmp_path: Path) -> None:
    outcome = skerry("bundle", "keygen", str(tmp_path / "floor"))

    assert outcome.code == 0
    assert stat.S_IMODE(os.stat(tmp_path / "floor.key").st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.glob("floor*")) == ["floor.key", "floor.pub"]
    assert skerry("bundle", "keygen", str(tmp_path / "floor")).code == 1
