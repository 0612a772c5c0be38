"""Upgrade and its refusals, the switch back, and what a host remembers of a bad image."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agent.config import SnapshotConfig
from agent.errors import DigestMismatch, ImageInvalid, NoSpace, Unreachable, UpgradeRefused
from agent.installation import open_installation, transaction_lock
from agent.reference import parse_reference
from agent.slots import BootChoice
from agent.status import build_report
from agent.upgrade import upgrade
from tests.agent.registries import RunningRegistry, add_file, digest_of, make_layer
from tests.agent.worlds import World


@pytest.fixture
def registry() -> Iterator[RunningRegistry]:
    running = RunningRegistry()
    yield running
    running.close()


@pytest.fixture
def world(tmp_path: Path, registry: RunningRegistry) -> World:
    """A machine that runs v1, committed."""
    world = World(tmp_path, registry)
    world.live_through(registry.content.put_os("v1"))
    return world


def check_untouched(world: World) -> None:
    """The old version is all there is, and it boots."""
    installation = world.installation()
    assert installation.journal.open_record() is None
    assert installation.boot.choice() == BootChoice(good=1)
    assert installation.snapshots.list_numbers() == [1]
    assert installation.snapshots.read_active() == 1
    assert world.power_on().snapshot == 1
    assert world.version() == "v1"


def upgrade_to(world: World, registry: RunningRegistry, version: str, *, healthy: bool = True) -> None:
    world.upgrade(registry.content.put_os(version, healthy=healthy))
    world.live_through("")


def test_slots_alternate_and_the_older_one_makes_room(world: World, registry: RunningRegistry) -> None:
    slots = []
    for version in ("v2", "v3", "v4"):
        upgrade_to(world, registry, version)
        report = build_report(world.installation())
        slots.append(report.booted_slot)

    assert slots == ["b", "a", "b"]
    assert world.installation().snapshots.list_numbers() == [3, 4]
    assert [entry.outcome for entry in world.installation().journal.history()] == ["committed"] * 4


def test_an_image_that_runs_already_is_nothing_to_do(world: World, registry: RunningRegistry) -> None:
    assert world.upgrade(registry.content.put_os("v1")) is None
    assert not world.host.is_reboot_requested()


def test_an_image_that_waits_in_the_other_slot_is_switched_to_without_a_pull(
    world: World, registry: RunningRegistry
) -> None:
    upgrade_to(world, registry, "v2")
    v1 = registry.content.put_os("v1")
    registry.content.requests.clear()

    world.upgrade(v1)
    world.live_through("")

    assert world.version() == "v1"
    assert registry.content.requests == []


def test_a_bad_image_is_refused_from_then_on_even_after_its_slot_is_reused(
    world: World, registry: RunningRegistry
) -> None:
    upgrade_to(world, registry, "v3", healthy=False)
    bad = registry.content.put_os("v3", healthy=False)
    assert world.version() == "v1"

    with pytest.raises(UpgradeRefused, match="the plug is out"):
        world.upgrade(bad, correlation_id="r1")
    last = world.installation().journal.record()
    assert last is not None
    assert (last.outcome, last.correlation_id) == ("refused", "r1")

    upgrade_to(world, registry, "v4")
    upgrade_to(world, registry, "v5")
    with pytest.raises(UpgradeRefused, match="the plug is out"):
        world.upgrade(bad)


def test_repeating_the_plan_of_a_rolled_back_upgrade_keeps_its_outcome(
    world: World, registry: RunningRegistry
) -> None:
    bad = registry.content.put_os("v3", healthy=False)
    world.upgrade(bad, correlation_id="to-v3")
    world.live_through("")

    with pytest.raises(UpgradeRefused):
        world.upgrade(bad, correlation_id="to-v3")

    last = world.installation().journal.record()
    assert last is not None
    assert last.outcome == "rolled-back"


def test_a_person_may_insist_on_a_bad_image(world: World, registry: RunningRegistry) -> None:
    bad = registry.content.put_os("v3", healthy=False)
    upgrade_to(world, registry, "v3", healthy=False)

    record = upgrade(
        world.installation(),
        parse_reference(registry.reference(bad)),
        registry=world.registry_client(),
        again=True,
    )

    assert record is not None
    assert record.phase == "armed"


def test_asking_again_before_the_reboot_is_fine_and_asking_for_another_is_not(
    world: World, registry: RunningRegistry
) -> None:
    v2, v4 = registry.content.put_os("v2"), registry.content.put_os("v4")
    first = world.upgrade(v2)

    assert first is not None
    again = world.upgrade(v2)
    assert again is not None
    assert again.id == first.id
    with pytest.raises(UpgradeRefused, match="not settled"):
        world.upgrade(v4)
    with pytest.raises(UpgradeRefused, match="not settled"):
        world.roll_back()


def test_a_condemned_system_takes_no_plans_before_it_is_left(world: World, registry: RunningRegistry) -> None:
    world.upgrade(registry.content.put_os("v3", healthy=False))
    world.power_on()
    assert world.settle().needs_reboot

    with pytest.raises(UpgradeRefused, match="not settled"):
        world.upgrade(registry.content.put_os("v4"))

    assert world.live_through("").snapshot == 1


def test_a_tampered_layer_leaves_the_old_version_and_a_reason(
    world: World, registry: RunningRegistry
) -> None:
    layer = make_layer(lambda archive: add_file(archive, "x", b"content"))
    digest = registry.content.put_image(layer)
    registry.content.blobs[digest_of(layer[0])] = b"\0" * len(layer[0])

    with pytest.raises(DigestMismatch):
        world.upgrade(digest)

    check_untouched(world)
    assert world.installation().journal.history()[-1].outcome == "failed"


@pytest.mark.parametrize("name", ["../../../../escaped", "boot/vmlinuz"])
def test_an_image_that_escapes_or_cannot_boot_is_refused(
    world: World, registry: RunningRegistry, name: str
) -> None:
    digest = registry.content.put_image(make_layer(lambda archive: add_file(archive, name, b"x")))

    with pytest.raises(ImageInvalid):
        world.upgrade(digest)

    check_untouched(world)
    assert not list(world.directory.rglob("escaped"))


def test_a_full_state_volume_is_refused_with_numbers_and_can_be_retried(
    world: World, registry: RunningRegistry
) -> None:
    v2 = registry.content.put_os("v2")
    config = msgspec.structs.replace(
        world.config, snapshot=SnapshotConfig(format="tar", headroom_mib=1024**3)
    )

    with pytest.raises(NoSpace, match=r"needs \d+ MiB on \.snapshots, which has \d+ MiB free"):
        upgrade(
            open_installation(world.host, config),
            parse_reference(registry.reference(v2)),
            registry=world.registry_client(),
        )

    check_untouched(world)
    upgrade_to(world, registry, "v2")
    assert world.version() == "v2"


def test_a_mirror_that_goes_away_fails_the_transaction_and_keeps_what_was_pulled(
    world: World, registry: RunningRegistry
) -> None:
    layers = [make_layer(lambda archive, n=n: add_file(archive, f"f{n}", bytes(1000))) for n in range(2)]  # type: ignore[misc]
    digest = registry.content.put_image(*layers)
    gone = registry.content.blobs.pop(digest_of(layers[1][0]))

    with pytest.raises(Unreachable):
        world.upgrade(digest)
    check_untouched(world)

    registry.content.blobs[digest_of(gone)] = gone
    registry.content.requests.clear()
    with pytest.raises(ImageInvalid, match="cannot boot"):
        world.upgrade(digest)
    assert digest_of(layers[0][0]) not in " ".join(request.path for request in registry.content.requests)


def test_a_rollback_returns_to_the_other_good_system_and_is_judged_there(
    world: World, registry: RunningRegistry
) -> None:
    upgrade_to(world, registry, "v2")

    world.roll_back()
    assert world.power_on().snapshot == 1
    settled = world.settle()

    assert settled.record is not None
    assert (settled.record.action, settled.record.outcome) == ("rollback", "committed")
    assert world.version() == "v1"


def test_without_another_good_system_a_rollback_is_refused(world: World) -> None:
    with pytest.raises(UpgradeRefused, match="no other good system"):
        world.roll_back()


def test_a_host_installed_by_upstream_is_taken_over(world: World, registry: RunningRegistry) -> None:
    """Upstream writes no `ab_good`: the active snapshot is the good one, and the ladder falls back to it."""
    world.installation().boot.disarm(None, passives=[])
    assert world.installation().boot.choice() == BootChoice()

    world.upgrade(registry.content.put_os("v2"))

    assert world.installation().boot.choice() == BootChoice(next=2, tries=3, good=1)


def test_two_at_once_are_kept_apart_by_name(world: World) -> None:
    with (
        transaction_lock(world.host, who="upgrade"),
        pytest.raises(UpgradeRefused, match=r"upgrade \(process \d+\) is changing this host"),
        transaction_lock(world.host, who="rollback"),
    ):
        pass


def test_a_first_install_that_fails_ends_in_recovery_and_is_upgraded_from_there(
    tmp_path: Path, registry: RunningRegistry
) -> None:
    world = World(tmp_path, registry)
    world.power_on()
    world.install(registry.content.put_os("v0", healthy=False))
    world.power_on()
    assert world.settle().needs_reboot
    assert world.power_on().mode == "recovery"
    world.settle()
    assert world.installation().journal.open_record() is None

    world.upgrade(registry.content.put_os("v1"))

    assert world.live_through("").snapshot == 2
    assert world.version() == "v1"


def test_a_forgotten_journal_does_not_keep_a_candidate_from_being_judged(
    world: World, registry: RunningRegistry
) -> None:
    world.upgrade(registry.content.put_os("v2"))
    (world.host.volume("state") / ".skerry/journal.json").unlink()

    world.live_through("")

    assert world.version() == "v2"
    assert world.installation().boot.choice() == BootChoice(good=2)
