"""The mirror as a process: ready line, signals, kill -9 in the middle of pushes, a full disk, flat memory."""

import contextlib
import hashlib
import http.client
import json
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mirror.__main__ import main
from mirror.oci import OCI_MANIFEST, digest_of
from mirror.registry import Registry
from tests.mirror.pushing import push_blob
from tests.mirror.running import image_manifest, wait_until
from tests.mirror.serving import ServingMirror, memory_peak

MIB = 1024 * 1024


def push(mirror: ServingMirror, content: bytes, repository: str = "a") -> int:
    path = f"/v2/{repository}/blobs/uploads/?digest={digest_of(content)}"
    return mirror.ask("POST", path, content).status


def test_it_says_that_it_is_ready_and_ends_cleanly(tmp_path: Path) -> None:
    with ServingMirror(tmp_path / "root") as mirror:
        assert mirror.ready["ready"] is True
        assert mirror.ask("GET", "/v2/").status == 200

        assert mirror.stop() == (0, "")

    assert list((tmp_path / "root" / "staging").iterdir()) == []


def test_an_open_connection_does_not_keep_it_alive(tmp_path: Path) -> None:
    with ServingMirror(tmp_path / "root") as mirror:
        host, _, port = mirror.address.rpartition(":")
        with socket.create_connection((host, int(port))) as idle:
            idle.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            assert idle.recv(100).startswith(b"HTTP/1.1 200 ")

            assert mirror.stop() == (0, "")


@pytest.mark.parametrize("listen", ["", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", ":-1"])
def test_a_bad_address_is_wrong_usage(
    tmp_path: Path, listen: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["serve", "--root", str(tmp_path), "--listen", listen])

    assert stop.value.code == 2
    assert "is not ADDR:PORT" in capsys.readouterr().err


def test_a_taken_port_and_a_missing_certificate_are_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--root", str(tmp_path / "r"), "--listen", f"127.0.0.1:{port}"]) == 1
    assert "Address already in use" in capsys.readouterr().err

    certificate = str(tmp_path / "none.crt")
    assert (
        main(["serve", "--root", str(tmp_path / "r"), "--listen", "127.0.0.1:0", "--tls-cert", certificate])
        == 1
    )
    assert "No such file" in capsys.readouterr().err


def test_it_goes_with_its_parent_when_told_to(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'mirror', 'serve', '--listen', '127.0.0.1:0',\n"
        f"    '--exit-with-parent', '--root', {str(tmp_path / 'root')!r}], stdout=subprocess.PIPE)\n"
        "print(child.stdout.readline().decode(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    host, _, port = json.loads(parent.stdout.readline())["listen"].rpartition(":")

    def is_gone() -> bool:
        with socket.socket() as sock:
            return sock.connect_ex((host, int(port))) != 0

    assert not is_gone()
    parent.kill()
    parent.communicate()

    wait_until(is_gone)


def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path: Path) -> None:
    """Clients push without end; the mirror is killed under them, several times, and started again."""
    root = tmp_path / "root"
    chance = random.Random(7)
    acknowledged: dict[str, bytes] = {}
    tagged: dict[str, bytes] = {}
    for life in range(4):
        with ServingMirror(root) as mirror:
            enough = threading.Event()
            clients = [
                threading.Thread(
                    target=push_until_killed,
                    args=(mirror, random.Random(f"{life} {number}"), acknowledged, tagged, enough),
                )
                for number in range(4)
            ]
            for client in clients:
                client.start()
            assert enough.wait(30)
            threading.Event().wait(chance.uniform(0.0, 0.2))
            mirror.kill()
            for client in clients:
                client.join()

    with ServingMirror(root) as mirror:
        for digest, content in acknowledged.items():
            assert mirror.ask("GET", f"/v2/a/blobs/{digest}").body == content
        for tag, manifest in tagged.items():
            assert mirror.ask("GET", f"/v2/a/manifests/{tag}").body == manifest
    for blob in (root / "blobs" / "sha256").iterdir():
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    assert len(acknowledged) >= 16
    assert tagged


def push_until_killed(
    mirror: ServingMirror,
    chance: random.Random,
    acknowledged: dict[str, bytes],
    tagged: dict[str, bytes],
    enough: threading.Event,
) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        for number in range(1000):
            content = chance.randbytes(chance.choice([10, 5000, 700_000]))
            location = mirror.ask("POST", "/v2/a/blobs/uploads/").headers["Location"]
            half = len(content) // 2
            mirror.ask("PATCH", location, content[:half])
            answer = mirror.ask("PUT", f"{location}?digest={digest_of(content)}", content[half:])
            if answer.status == 201:
                acknowledged[digest_of(content)] = content
                manifest = image_manifest(content)
                tag = f"t{digest_of(content)[7:20]}"
                headers = {"Content-Type": OCI_MANIFEST}
                if mirror.ask("PUT", f"/v2/a/manifests/{tag}", manifest, headers).status == 201:
                    tagged[tag] = manifest
            if number == 3:
                enough.set()


def test_an_upload_survives_kill_9_and_is_finished_after_it(tmp_path: Path) -> None:
    content = random.Random(1).randbytes(3 * MIB)
    with ServingMirror(tmp_path / "root") as mirror:
        location = mirror.ask("POST", "/v2/a/blobs/uploads/").headers["Location"]
        mirror.ask("PATCH", location, content[:MIB])
        mirror.kill()

    with ServingMirror(tmp_path / "root") as mirror:
        state = mirror.ask("GET", location)
        assert (state.status, state.headers["Range"]) == (204, f"0-{MIB - 1}")
        done = mirror.ask("PUT", f"{location}?digest={digest_of(content)}", content[MIB:])
        assert done.status == 201
        assert mirror.ask("GET", done.headers["Location"]).body == content


def test_a_disk_that_fills_while_pushing_tears_nothing(tmp_path: Path) -> None:
    """The child's largest file is limited to 2 MiB, which is how a full disk looks to a writer."""
    root = tmp_path / "root"
    small, large = b"small" * 1000, random.Random(1).randbytes(8 * MIB)
    prelude = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({2 * MIB}, {resource.RLIM_INFINITY}))"
    )
    with ServingMirror(root, prelude=prelude) as mirror:
        assert push(mirror, small) == 201

        at_once = mirror.ask("POST", f"/v2/a/blobs/uploads/?digest={digest_of(large)}", iter([large]))
        location = mirror.ask("POST", "/v2/a/blobs/uploads/").headers["Location"]
        streamed = mirror.ask("PATCH", location, large)

        for answer in (at_once, streamed):
            assert (answer.status, answer.code) == (507, "INSUFFICIENT_STORAGE")
            assert "File too large" in answer.json["errors"][0]["message"]
        assert mirror.ask("HEAD", f"/v2/a/blobs/{digest_of(large)}").status == 404
        assert mirror.ask("GET", f"/v2/a/blobs/{digest_of(small)}").body == small
        assert list((root / "staging").iterdir()) == []

    with ServingMirror(root) as mirror:
        assert push(mirror, large) == 201


def test_an_index_that_cannot_grow_refuses_and_still_serves(tmp_path: Path) -> None:
    root = tmp_path / "root"
    prelude = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({200_000}, {resource.RLIM_INFINITY}))"
    )
    with ServingMirror(root, prelude=prelude) as mirror:
        kept = []
        for number in range(200):
            content = f"blob {number}".encode()
            if push(mirror, content) == 201:
                kept.append(content)
            else:
                break

        answer = mirror.ask("POST", f"/v2/a/blobs/uploads/?digest={digest_of(b'more')}", b"more")
        assert (answer.status, answer.code) == (507, "INSUFFICIENT_STORAGE")
        assert mirror.ask("GET", f"/v2/a/blobs/{digest_of(kept[-1])}").body == kept[-1]

    with ServingMirror(root) as mirror:
        for content in kept:
            assert mirror.ask("GET", f"/v2/a/blobs/{digest_of(content)}").body == content


def test_memory_does_not_grow_with_the_blob(tmp_path: Path) -> None:
    chunk = random.Random(1).randbytes(MIB)
    state = hashlib.sha256()
    for _ in range(200):
        state.update(chunk)
    digest = f"sha256:{state.hexdigest()}"
    with ServingMirror(tmp_path / "root") as mirror:
        push(mirror, b"warm")
        before = memory_peak(mirror.process.pid)

        answer = mirror.ask("POST", f"/v2/a/blobs/uploads/?digest={digest}", (chunk for _ in range(200)))
        assert answer.status == 201
        assert mirror.ask("GET", answer.headers["Location"]).body.startswith(chunk)

        assert memory_peak(mirror.process.pid) - before < 40 * MIB


def test_the_appliance_imports_beside_the_running_mirror(tmp_path: Path) -> None:
    content = image_manifest(b"config")
    with ServingMirror(tmp_path / "root") as mirror:
        beside = Registry(tmp_path / "root")
        push_blob(beside, "demo", b"config")
        beside.put_manifest("demo", content, OCI_MANIFEST, reference="v1")

        assert mirror.ask("GET", "/v2/demo/manifests/v1").body == content
        assert mirror.ask("DELETE", "/v2/demo/manifests/v1").status == 202
        assert beside.list_tags("demo") == []
        beside.close()


def test_sigint_ends_it_too(tmp_path: Path) -> None:
    with ServingMirror(tmp_path / "root") as mirror:
        mirror.process.send_signal(signal.SIGINT)
        _, said = mirror.process.communicate(timeout=20)

        assert (mirror.process.returncode, said) == (0, "")
