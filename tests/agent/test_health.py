"""Health: required checkers decide, wanted ones only warn, and a reason is always given."""

from pathlib import Path

from agent.config import HealthConfig
from agent.health import check_health
from agent.host import Host

FAST = HealthConfig(attempts=2, delay_seconds=0.0, timeout_seconds=2.0)


def put_checker(host: Host, name: str, body: str, *, mode: int = 0o755, wanted: bool = False) -> Path:
    path = host.path((FAST.wanted if wanted else FAST.required) + f"/{name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(mode)
    return path


def test_an_image_without_checkers_is_healthy(tmp_path: Path) -> None:
    assert check_health(Host(tmp_path), FAST).is_healthy


def test_a_required_checker_decides_and_says_why(tmp_path: Path) -> None:
    host = Host(tmp_path)
    put_checker(host, "10-good", "exit 0")
    put_checker(host, "20-bad", "echo no light; exit 3")

    verdict = check_health(host, FAST)

    assert not verdict.is_healthy
    assert verdict.reason == "20-bad failed: no light"


def test_checkers_get_the_argument_and_only_executables_are_asked(tmp_path: Path) -> None:
    host = Host(tmp_path)
    put_checker(host, "10-argument", 'test "$1" = check')
    put_checker(host, "README", "exit 1", mode=0o644)

    assert check_health(host, FAST).is_healthy


def test_a_checker_that_needs_time_is_asked_again_but_one_that_passed_is_not(tmp_path: Path) -> None:
    host = Host(tmp_path)
    log = tmp_path / "log"
    put_checker(host, "10-slow", f'echo slow >>"{log}"; test $(grep -c slow "{log}") -ge 2')
    put_checker(host, "20-fast", f'echo fast >>"{log}"')

    assert check_health(host, FAST).is_healthy
    assert log.read_text().split() == ["slow", "fast", "slow"]


def test_wanted_checkers_only_warn(tmp_path: Path) -> None:
    """A good OS is not thrown away because the network is unplugged."""
    host = Host(tmp_path)
    put_checker(host, "elemental-register.sh", "echo server unreachable; exit 1")
    put_checker(host, "50-clock", "exit 1", wanted=True)

    verdict = check_health(host, FAST)

    assert verdict.is_healthy
    assert sorted(verdict.warnings) == [
        "50-clock failed: it ended with status 1",
        "elemental-register.sh failed: server unreachable",
    ]


def test_a_checker_that_hangs_or_cannot_run_has_failed(tmp_path: Path) -> None:
    host = Host(tmp_path)
    put_checker(host, "10-hangs", "sleep 60")
    put_checker(host, "20-broken", "exit 0").write_text("#!/no/such/interpreter\n")
    config = HealthConfig(attempts=1, timeout_seconds=0.2)

    failures = check_health(host, config).failures

    assert "did not end within" in failures[0]
    assert "20-broken" in failures[1]
