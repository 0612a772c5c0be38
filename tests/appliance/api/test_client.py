"""The client against a running appliance over the socket and TLS, and against servers that misbehave."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.api.client import ApplianceError, Client, Unreachable, object_path
from appliance.api.wire import parse_problem
from appliance.credentials import Authority
from appliance.resources.core import CONFIG_MAP, NAMESPACE
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from tests.appliance.fleet import add_machine
from tests.appliance.running import Appliance


def test_the_same_answers_come_over_the_socket_and_over_tls(appliance: Appliance) -> None:
    assert appliance.client().version() == appliance.remote().version()
    assert appliance.remote().access().token == appliance.token


def test_an_appliance_of_another_authority_is_refused(appliance: Appliance, tmp_path: Path) -> None:
    Authority.load_or_create(tmp_path)
    impostor = Client(appliance.url, token=appliance.token, ca_file=tmp_path / "ca.crt")

    with pytest.raises(Unreachable, match="not the appliance we trust"):
        impostor.version()


def test_without_a_ca_file_only_the_systems_authorities_are_trusted(appliance: Appliance) -> None:
    with pytest.raises(Unreachable, match="not the appliance we trust"):
        Client(appliance.url, token=appliance.token).version()


def test_a_name_that_the_certificate_does_not_have_is_refused(appliance: Appliance) -> None:
    elsewhere = appliance.url.replace("127.0.0.1", "127.0.0.2")

    with pytest.raises(Unreachable):
        Client(elsewhere, token=appliance.token, ca_file=appliance.ca_file).version()


def test_objects_are_created_read_patched_listed_and_deleted(appliance: Appliance) -> None:
    client = appliance.remote()
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "client-map", "namespace": "fleet-default", "labels": {"test": "client"}},
        "data": {"a": "1"},
    }

    client.create_object(document)
    with pytest.raises(ApplianceError) as taken:
        client.create_object(document)
    client.patch_object(CONFIG_MAP, "client-map", "fleet-default", {"data": {"b": "2"}})
    client.apply_object({**document, "data": {"a": "3"}})
    found = client.get_object(CONFIG_MAP, "client-map", "fleet-default")
    listed = client.list_objects(CONFIG_MAP, "fleet-default", labels="test=client")
    client.delete_object(CONFIG_MAP, "client-map", "fleet-default")
    with pytest.raises(ApplianceError) as missing:
        client.get_object(CONFIG_MAP, "client-map", "fleet-default")

    assert (taken.value.reason, taken.value.status) == ("AlreadyExists", 409)
    assert found["data"] == {"a": "3", "b": "2"}
    assert [item["metadata"]["name"] for item in listed] == ["client-map"]
    assert (missing.value.reason, missing.value.status) == ("NotFound", 404)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"kind": "Pod", "metadata": {"name": "x"}},
        {"kind": "ConfigMap"},
        {"kind": "ConfigMap", "metadata": []},
        {"kind": "ConfigMap", "metadata": {"name": ""}},
    ],
)
def test_what_is_no_object_of_ours_is_refused_before_it_is_sent(document: dict[str, object]) -> None:
    with pytest.raises(ApplianceError) as refused:
        Client("unix:/nowhere").apply_object(document)

    assert refused.value.reason == "BadRequest"


def test_a_watch_tells_what_exists_then_what_changes(appliance: Appliance) -> None:
    client = appliance.client()
    add_machine(client, "watch-first", approval="pending")
    events = client.watch(["hosts", "inbox", "machineinventories"])
    seen = []
    for event in events:
        seen.append(
            (event.type, event.kind, event.object.get("name") or event.object.get("metadata", {}).get("name"))
        )
        if sum(kind == "SYNCED" for kind, _, _ in seen) == 3:
            break
    approved = client.approve("watch-first")

    phases = []
    for event in events:
        if event.kind == "hosts" and event.object["name"] == "watch-first":
            phases.append(event.object["phase"])
            break

    assert {("ADDED", "hosts", "watch-first"), ("ADDED", "inbox", "watch-first")} <= set(seen)
    assert ("ADDED", "machineinventories", "watch-first") in seen
    assert approved.approval == "approved"
    assert phases == ["Registered"]


def test_an_unknown_kind_to_watch_is_a_refusal_and_not_a_stream(appliance: Appliance) -> None:
    for kinds in (["pods"], [], ["hosts"] * 0 + [f"kind-{number}" for number in range(20)]):
        with pytest.raises(ApplianceError) as refused:
            next(iter(appliance.client().watch(kinds)))
        assert refused.value.reason == "BadRequest"


def test_following_an_unknown_operation_is_a_refusal(appliance: Appliance) -> None:
    with pytest.raises(ApplianceError) as refused:
        next(iter(appliance.client().follow_operation("op-1")))

    assert refused.value.reason == "NotFound"


def test_where_nothing_is_there_is_a_sentence_and_a_hint(tmp_path: Path) -> None:
    addresses = (
        f"unix:{tmp_path}/no.sock",
        f"unix:{tmp_path}/no/such/dir.sock",
        "https://127.0.0.1:1",
        "http://127.0.0.1:1",
        "nonsense",
        "ftp://box",
        "https://",
    )
    for address in addresses:
        with pytest.raises(Unreachable) as away:
            Client(address, timeout=5).version()
        assert away.value.hint, address


def wait_for(event: threading.Event) -> None:
    event.wait(10)


@contextmanager
def misbehaving(directory: Path, answer: Callable[[socket.socket], None]) -> Iterator[Client]:
    """A server that reads one request and then does `answer`."""
    path = directory / "bad.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Client(f"unix:{path}", timeout=5)
        thread.join(10)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nnoise",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 70000 + b"\r\n\r\n",
    ],
)
def test_a_server_that_makes_no_sense_is_unreachable(tmp_path: Path, content: bytes) -> None:
    with (
        misbehaving(tmp_path, lambda connection: connection.sendall(content)) as client,
        pytest.raises(Unreachable),
    ):
        client.version()


def test_a_server_that_says_nothing_runs_into_the_timeout(tmp_path: Path) -> None:
    answered = threading.Event()
    with misbehaving(tmp_path, lambda connection: wait_for(answered)) as client:
        impatient = Client(client.server, timeout=0.2)
        with pytest.raises(Unreachable, match="in time"):
            impatient.version()
        answered.set()


def test_a_followed_job_whose_line_breaks_is_not_taken_for_done(tmp_path: Path) -> None:
    line = b'{"id":"op-1","kind":"x","state":"running"}\n'
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(line), line)
    seen = []
    with misbehaving(tmp_path, lambda connection: connection.sendall(answer)) as client:
        views = client.follow_operation("op-1")
        seen.append(next(views).state)
        with pytest.raises(Unreachable, match="broke"):
            next(views)

    assert seen == ["running"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"reason":"Conflict","detail":"d","hint":"h"}', "Conflict"),
        (b'{"kind":"Status","reason":"Invalid","message":"m"}', "Invalid"),
        (b"<html>", "Unexpected"),
        (b"[]", "Unexpected"),
        (b"\xff", "Unexpected"),
        (b"{}", "Unexpected"),
    ],
)
def test_every_kind_of_error_body_becomes_one_kind_of_error(content: bytes, reason: str) -> None:
    error = parse_problem(409, content)

    assert (error.reason, error.status) == (reason, 409)
    assert error.message


def test_paths_are_kubernetes_paths_and_names_cannot_leave_them() -> None:
    assert object_path(NAMESPACE, "x", namespace="ignored") == "/api/v1/namespaces/x"
    assert (
        object_path(MACHINE_INVENTORY, "../../secrets/a", namespace="n/m")
        == "/apis/elemental.cattle.io/v1beta1/namespaces/n%2Fm/machineinventories/..%2F..%2Fsecrets%2Fa"
    )


def test_importing_the_client_brings_in_no_server_and_no_heavy_library() -> None:
    code = "import sys, appliance.api.client; print('\\n'.join(sys.modules))"
    loaded = set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )

    heavy = {
        "aiohttp",
        "asyncio",
        "cryptography",
        "kubernetes",
        "yaml",
        "zeroconf",
        "textual",
        "typer",
        "mirror",
        "bundles",
    }
    assert not heavy & loaded
