"""The whole appliance as a process: ready, alone on its data, stopped, killed, started again."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.api.client import ApplianceError, Client, Unreachable
from appliance.config import ServeConfig
from appliance.resources.core import CONFIG_MAP
from appliance.resources.managed_os_version import MANAGED_OS_VERSION
from appliance.service import choose_endpoints
from tests.appliance.bundling import Made, make_bundle
from tests.appliance.running import PATIENCE, Appliance, running

SERVE = (sys.executable, "-m", "appliance", "serve")


def test_the_ready_line_is_true_and_is_on_disk_too(appliance: Appliance) -> None:
    said = json.loads((appliance.data / "endpoints.json").read_text())

    assert said == {
        "ready": True,
        "url": appliance.url,
        "mirror": appliance.mirror,
        "socket": str(appliance.socket),
    }
    assert appliance.client().version().mirror == appliance.mirror
    host, _, port = appliance.mirror.rpartition(":")
    socket.create_connection((host, int(port)), timeout=10).close()


def test_a_second_appliance_on_the_same_data_is_refused_and_harms_nothing(appliance: Appliance) -> None:
    command = [
        sys.executable,
        "-m",
        "appliance",
        "serve",
        "--data",
        str(appliance.data),
        "--listen",
        "127.0.0.1:0",
    ]

    second = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)

    assert second.returncode == 5
    assert second.stdout == ""
    assert f"Another appliance already runs on {appliance.data}" in second.stderr
    assert appliance.client().version().url == appliance.url


def test_a_taken_port_is_a_sentence_and_exit_code_2(appliance: Appliance, tmp_path: Path) -> None:
    taken = appliance.url.removeprefix("https://")
    command = [sys.executable, "-m", "appliance", "serve", "--data", str(tmp_path), "--listen", taken]

    refused = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)

    assert refused.returncode == 2
    assert f"Nothing can listen on {taken}" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [("lisen = 'x'", "lisen"), ("listen = '127.0.0.1'", "not an address"), ("=", "not TOML")],
)
def test_wrong_settings_in_the_data_directory_are_exit_code_2(
    tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "skerry.toml").write_text(content)

    refused = subprocess.run(
        [*SERVE, "--data", str(tmp_path)], capture_output=True, text=True, timeout=PATIENCE
    )

    assert (refused.returncode, refused.stdout) == (2, "")
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_damaged_store_is_a_sentence_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "skerry.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 8192)
    before = (tmp_path / "skerry.db").read_bytes()
    command = [*SERVE, "--data", str(tmp_path), "--listen", "127.0.0.1:0", "--mirror-listen", "127.0.0.1:0"]

    refused = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)

    assert (refused.returncode, refused.stdout) == (6, "")
    assert "Traceback" not in refused.stderr
    assert (tmp_path / "skerry.db").read_bytes() == before


def test_a_mirror_that_cannot_start_ends_the_start_with_a_sentence(
    appliance: Appliance, tmp_path: Path
) -> None:
    command = [
        *(sys.executable, "-m", "appliance", "serve", "--data", str(tmp_path)),
        *("--listen", "127.0.0.1:0", "--mirror-listen", appliance.mirror),
    ]

    refused = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)

    assert refused.returncode == 1
    assert f"The mirror on {appliance.mirror} did not start" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_sigterm_ends_it_cleanly_with_watchers_connected(tmp_path: Path) -> None:
    with running(tmp_path / "data") as appliance:
        events = appliance.client().watch(["hosts"])
        assert next(events).type == "SYNCED"

        assert appliance.stop() == 0

        assert list(events) == []
        assert "Traceback" not in appliance.log.read_text()


def test_a_data_directory_with_a_long_name_works(tmp_path: Path) -> None:
    with running(tmp_path / ("d" * 120)) as appliance:
        assert len(str(appliance.socket)) > 120
        assert appliance.client().version().url == appliance.url


def test_the_mirror_is_started_again_when_it_dies_on_the_same_port(tmp_path: Path) -> None:
    with running(tmp_path / "data") as appliance:
        before = mirror_pid(appliance)

        os.kill(before, signal.SIGKILL)
        wait_until(lambda: mirror_pid(appliance) not in (0, before))
        host, _, port = appliance.mirror.rpartition(":")
        wait_until(lambda: answers(host, int(port)))

        assert appliance.client().version().mirror == appliance.mirror


def test_killing_the_appliance_ends_its_mirror_too(tmp_path: Path) -> None:
    with running(tmp_path / "data") as appliance:
        mirror = mirror_pid(appliance)

        appliance.kill()

        wait_until(lambda: not Path(f"/proc/{mirror}").exists() or is_zombie(mirror))


def test_after_kill_9_everything_acknowledged_is_there_and_the_ports_are_free(tmp_path: Path) -> None:
    with running(tmp_path / "data") as first:
        first.client().create_object(config_map("kept"))
        first.kill()
        ports = ["--listen", first.url.removeprefix("https://"), "--mirror-listen", first.mirror]

        with running(tmp_path / "data", *ports) as second:
            assert second.url == first.url
            assert second.client().get_object(CONFIG_MAP, "kept")["data"] == {"a": "1"}


@pytest.mark.parametrize("moment", ["at once", "while copying"])
def test_a_load_that_kill_9_interrupts_is_finished_by_the_next_start(tmp_path: Path, moment: str) -> None:
    made = make_bundle(tmp_path, payload_bytes=32 * 1024 * 1024)
    with running(tmp_path / "data") as appliance:
        appliance.client().trust("signer", made.public_key)
        started = appliance.client().start_operation("load-bundle", {"path": str(made.path)})
        if moment == "while copying":
            wait_until(lambda: appliance.client().operation(started.id).progress.done > 0)
        appliance.kill()

    with running(tmp_path / "data") as appliance:
        client = appliance.client()
        ended = list(client.follow_operation(started.id))[-1]

        assert (ended.state, ended.error) == ("succeeded", None)
        image = client.get_object(MANAGED_OS_VERSION, "spring-os-v1")["spec"]["metadata"]["upgradeImage"]
        assert image == f"{appliance.mirror}/skerry/spring-os@{made.digest}"
        again = client.start_operation("load-bundle", {"path": str(made.path)})
        result = list(client.follow_operation(again.id))[-1].result
        assert result is not None
        assert (result["blobsWritten"], result["bytesWritten"]) == (0, 0)


def test_versions_follow_the_mirror_to_its_new_address(tmp_path: Path) -> None:
    made = make_bundle(tmp_path)
    with running(tmp_path / "data") as appliance:
        load(appliance, made)
        first = appliance.mirror

    with running(tmp_path / "data") as appliance:
        version = appliance.client().get_object(MANAGED_OS_VERSION, "spring-os-v1")
        assert appliance.mirror != first
        assert version["spec"]["metadata"]["upgradeImage"].startswith(f"{appliance.mirror}/")


def test_insecure_http_is_plain_and_gives_hosts_no_ca(tmp_path: Path) -> None:
    with running(tmp_path / "data", "--insecure-http") as appliance:
        assert appliance.url.startswith("http://")
        remote = Client(appliance.url, token=appliance.token)
        assert remote.access().ca == ""
        with pytest.raises(ApplianceError) as stranger:
            Client(appliance.url).version()
        assert stranger.value.status == 401


@pytest.mark.parametrize(
    ("settings", "url", "mirror"),
    [
        ({}, "https://127.0.0.1:1", "127.0.0.1:2"),
        ({"insecure_http": True}, "http://127.0.0.1:1", "127.0.0.1:2"),
        ({"listen": "[::1]:0", "mirror_listen": "[::1]:0"}, "https://[::1]:1", "[::1]:2"),
        ({"advertise_url": "https://box.plant:8443/"}, "https://box.plant:8443", "box.plant:2"),
    ],
)
def test_where_others_reach_us(settings: dict[str, str], url: str, mirror: str) -> None:
    config = ServeConfig(data="/data", **settings)  # type: ignore[arg-type]

    endpoints = choose_endpoints(config, port=1, mirror_port=2)

    assert (endpoints.url, endpoints.mirror, endpoints.socket) == (url, mirror, "/data/skerry.sock")


def test_the_socket_of_a_stopped_appliance_is_unreachable(tmp_path: Path) -> None:
    with running(tmp_path / "data") as appliance:
        client = appliance.client()
        appliance.kill()

        with pytest.raises(Unreachable):
            client.version()


def load(appliance: Appliance, made: Made) -> None:
    client = appliance.client()
    client.trust("signer", made.public_key)
    started = client.start_operation("load-bundle", {"path": str(made.path)})
    assert list(client.follow_operation(started.id))[-1].state == "succeeded"


def config_map(name: str) -> dict[str, object]:
    metadata = {"name": name, "namespace": "fleet-default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "1"}}


def mirror_pid(appliance: Appliance) -> int:
    """The appliance's one child."""
    children = (
        Path(f"/proc/{appliance.process.pid}/task/{appliance.process.pid}/children").read_text().split()
    )
    return int(children[0]) if children else 0


def is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, "not seen in time"
        time.sleep(0.01)
