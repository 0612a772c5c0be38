"""The command line: exit codes are a contract, data on stdout, talk on stderr."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from agent.journal import KILL_AT
from tests.agent.registries import RunningRegistry
from tests.agent.worlds import World


@pytest.fixture
def registry() -> Iterator[RunningRegistry]:
    running = RunningRegistry()
    yield running
    running.close()


@pytest.fixture
def world(tmp_path: Path, registry: RunningRegistry) -> World:
    world = World(tmp_path, registry)
    world.live_through(registry.content.put_os("v1"))
    return world


def agent(
    root: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agent", "--root", str(root), *arguments],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", **(environment or {})},
        cwd=Path(__file__).parents[2],
        check=False,
    )


def test_an_upgrade_from_the_command_line(world: World, registry: RunningRegistry) -> None:
    reference = registry.reference(registry.content.put_os("v2"))

    done = agent(world.host.root, "upgrade", "--image", reference)

    assert (done.returncode, done.stdout) == (0, "upgrade to v2 in slot b: armed\n")
    assert world.live_through("").snapshot == 2


def test_a_killed_upgrade_is_taken_up_by_the_next_one(world: World, registry: RunningRegistry) -> None:
    reference = registry.reference(registry.content.put_os("v2"))

    killed = agent(
        world.host.root, "upgrade", "--image", reference, environment={KILL_AT: "upgrade.link.acted"}
    )
    again = agent(world.host.root, "upgrade", "--image", reference)

    assert killed.returncode == -9
    assert again.returncode == 0
    assert world.live_through("").snapshot == 2


def test_the_same_image_again_is_nothing_to_do(world: World, registry: RunningRegistry) -> None:
    reference = registry.reference(registry.content.put_os("v1"))

    done = agent(world.host.root, "upgrade", "--image", reference)

    assert (done.returncode, done.stdout) == (0, "this image runs already; nothing to do\n")


def test_a_known_bad_image_is_refused_with_its_reason(world: World, registry: RunningRegistry) -> None:
    bad = registry.content.put_os("v3", healthy=False)
    world.upgrade(bad)
    world.live_through("")

    done = agent(world.host.root, "upgrade", "--image", registry.reference(bad))

    assert done.returncode == 5
    assert "the plug is out" in done.stderr
    assert "--again" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["upgrade", "--image", "nonsense"], 6, "not an image reference"),
        (["upgrade", "--image", "127.0.0.1:1/a@sha256:" + "0" * 64], 3, "cannot be reached"),
        (["rollback"], 5, "no other good system"),
        (["run"], 2, "not registered"),
        (["register"], 2, "no registration URL"),
        (["register", "--config-path", "/nowhere"], 2, "no registration document"),
        (["--config", "/nowhere", "status"], 2, "no configuration"),
        (["upgrade"], 2, "required"),
        (["install", "--label", "x"], 2, "KEY=VALUE"),
    ],
)
def test_each_refusal_has_its_exit_code(world: World, arguments: list[str], code: int, said: str) -> None:
    done = agent(world.host.root, *arguments)

    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_status_is_json(world: World) -> None:
    done = agent(world.host.root, "status")

    assert json.loads(done.stdout)["bootedSlot"] == "a"


def test_settle_says_what_it_did(world: World, registry: RunningRegistry) -> None:
    world.upgrade(registry.content.put_os("v2"))
    world.power_on()

    first, second = agent(world.host.root, "settle"), agent(world.host.root, "settle")

    assert first.stdout == "upgrade to v2 in slot b: committed\n"
    assert second.stdout == "nothing to settle\n"


def test_a_host_with_nothing_installed_says_so(tmp_path: Path) -> None:
    (tmp_path / "etc/skerry").mkdir(parents=True)
    (tmp_path / "etc/skerry/agent.toml").write_text('[disk]\nkind = "directories"\n')

    done = agent(tmp_path, "run")

    assert done.returncode == 5
    assert "nothing is installed" in done.stderr
