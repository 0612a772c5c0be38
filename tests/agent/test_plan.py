"""Plans: the system-agent contract, and never a succeeded instruction twice."""

import base64
import gzip
import hashlib
import json
import stat
from pathlib import Path

import pytest

from agent.client import PlanSecret
from agent.host import Host
from agent.plan import MAX_PLAN_BYTES, PlanEngine, PlanProgress, is_due

NEVER = PlanProgress()


def make_secret(plan: object, **data: str) -> PlanSecret:
    raw = plan if isinstance(plan, bytes) else json.dumps(plan).encode()
    values = {"plan": raw, **{key.replace("_", "-"): value.encode() for key, value in data.items()}}
    return PlanSecret(data={key: base64.b64encode(value).decode() for key, value in values.items()})


def checksum(secret: PlanSecret) -> str:
    return hashlib.sha256(base64.b64decode(secret.data["plan"])).hexdigest()


def run(name: str, script: str, **more: object) -> dict[str, object]:
    return {"name": name, "command": "/bin/sh", "args": ["-c", script], "saveOutput": True, **more}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "root")


@pytest.fixture
def engine(host: Host, tmp_path: Path) -> PlanEngine:
    return PlanEngine(host, tmp_path / "kept")


def answered(changes: object, key: str) -> bytes:
    assert isinstance(changes, dict)
    return base64.b64decode(changes[key])


def outputs(changes: object, key: str) -> dict[str, str]:
    packed = json.loads(gzip.decompress(answered(changes, key)))
    return {name: base64.b64decode(value).decode() for name, value in packed.items()}


def test_files_come_first_and_outputs_come_back(engine: PlanEngine, host: Host) -> None:
    target = host.path("/etc/rancher/x.yaml")
    secret = make_secret(
        {
            "files": [{"path": "/etc/rancher/x.yaml", "content": base64.b64encode(b"a: 1").decode()}],
            "instructions": [run("read", f'cat "{target}"; echo " $GREETING"', env=["GREETING=hello"])],
        }
    )

    changes = engine.apply(secret)

    assert answered(changes, "applied-checksum").decode() == checksum(secret)
    assert outputs(changes, "applied-output") == {"read": "a: 1 hello\n"}
    assert answered(changes, "failed-checksum") == b""
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_the_empty_plan_is_acknowledged(engine: PlanEngine) -> None:
    changes = engine.apply(make_secret(b"{}"))

    expected = b"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert answered(changes, "applied-checksum") == expected


def test_go_writes_null_for_an_empty_list(engine: PlanEngine) -> None:
    assert "applied-checksum" in engine.apply(make_secret(b'{"files":null,"instructions":null}\n'))


def test_the_first_failure_stops_and_is_counted(engine: PlanEngine, tmp_path: Path) -> None:
    secret = make_secret(
        {"instructions": [run("bad", "echo out; exit 4"), run("after", f"touch {tmp_path}/never")]}
    )

    first, second = engine.apply(secret), engine.apply(secret)

    assert answered(first, "failed-checksum").decode() == checksum(secret)
    assert (answered(first, "failure-count"), answered(second, "failure-count")) == (b"1", b"2")
    assert outputs(first, "failed-output")["bad"] == "out\n"
    assert "status 4" in outputs(first, "failed-output")["error"]
    assert "applied-checksum" not in first
    assert not (tmp_path / "never").exists()


def test_what_succeeded_is_never_run_again(host: Host, tmp_path: Path) -> None:
    """Neither after a later failure, nor because the agent restarted."""
    log = tmp_path / "log"
    secret = make_secret(
        {"instructions": [run("once", f"echo once >>{log}"), run("flaky", f"test -e {tmp_path}/ready")]}
    )
    PlanEngine(host, tmp_path / "kept").apply(secret)
    (tmp_path / "ready").touch()

    changes = PlanEngine(host, tmp_path / "kept").apply(secret)
    again = PlanEngine(host, tmp_path / "kept").apply(secret)

    assert log.read_text() == "once\n"
    assert "applied-checksum" in changes
    assert "applied-checksum" in again


def test_a_changed_plan_runs_anew(engine: PlanEngine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    engine.apply(make_secret({"instructions": [run("a", f"echo 1 >>{log}")]}))
    engine.apply(make_secret({"instructions": [run("b", f"echo 1 >>{log}")]}))

    assert log.read_text() == "1\n1\n"


def test_files_can_be_deleted_and_directories_made(engine: PlanEngine, host: Host) -> None:
    host.path("/etc").mkdir(parents=True)
    host.path("/etc/old").write_text("x")

    engine.apply(
        make_secret(
            {
                "files": [
                    {"path": "/etc/old", "action": "delete"},
                    {"path": "/var/lib/new", "directory": True, "permissions": "0750"},
                ]
            }
        )
    )

    assert not host.path("/etc/old").exists()
    assert stat.S_IMODE(host.path("/var/lib/new").stat().st_mode) == 0o750


@pytest.mark.parametrize(
    "plan",
    [
        b"{",
        b"[]",
        b'{"files": [{"path": 3}]}',
        {"files": [{"path": "etc/relative", "content": ""}]},
        {"files": [{"path": "/etc/../../escape", "content": ""}]},
        {"files": [{"path": "/etc/x", "content": "not base64!"}]},
        {"files": [{"path": "/etc/x", "content": "", "permissions": "rw"}]},
        {"files": [{"path": "/etc/x", "content": "", "permissions": "77777"}]},
        {"instructions": [{"name": "image", "image": "h:1/a", "command": "x"}]},
        {"instructions": [{"name": "nothing"}]},
        {"instructions": [{"name": "missing", "command": "/no/such/program"}]},
        b" " * (MAX_PLAN_BYTES + 1),
    ],
)
def test_a_plan_that_cannot_be_applied_counts_as_a_failure(engine: PlanEngine, plan: object) -> None:
    """Upstream only logs these, and the appliance would wait for ever."""
    changes = engine.apply(make_secret(plan))

    assert answered(changes, "failure-count") == b"1"
    assert outputs(changes, "failed-output")["error"]


def test_when_a_plan_is_due() -> None:
    secret = make_secret({})
    failed = PlanProgress(checksum=checksum(secret), failures=2, failed_at=100.0)

    assert is_due(secret, NEVER, now=0, cool_down=30)
    assert not is_due(PlanSecret(), NEVER, now=0, cool_down=30)
    assert not is_due(make_secret({}, applied_checksum=checksum(secret)), NEVER, now=0, cool_down=30)
    assert not is_due(secret, failed, now=120, cool_down=30)
    assert is_due(secret, failed, now=131, cool_down=30)
    assert is_due(make_secret({"files": []}), failed, now=120, cool_down=30)
    assert not is_due(make_secret({}, max_failures="2"), failed, now=500, cool_down=30)
    assert is_due(make_secret({}, max_failures="-1"), failed, now=500, cool_down=30)


def test_a_clock_set_back_does_not_stop_a_plan_for_years() -> None:
    secret = make_secret({})
    failed = PlanProgress(checksum=checksum(secret), failures=1, failed_at=5000.0)

    assert is_due(secret, failed, now=10.0, cool_down=30)


def test_a_damaged_progress_file_means_starting_over(engine: PlanEngine, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/progress.json").write_bytes(b"{")

    assert engine.progress() == PlanProgress()
