"""Slot decisions: tables for each rule, and any sequence of failures for the promises."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.slots import (
    AwaitReboot,
    BootChoice,
    FinishCommit,
    Judge,
    NothingToSettle,
    Resume,
    RollBack,
    SnapshotRecord,
    choose_boot,
    choose_pruned,
    decide_settlement,
    next_id,
    next_slot,
    order_passives,
)

ARMED = BootChoice(next=2, tries=3, good=1)
A1 = SnapshotRecord(1, "a", "good")
B2 = SnapshotRecord(2, "b", "good")
BAD2 = SnapshotRecord(2, "b", "bad")


def test_a_new_snapshot_takes_the_letter_that_the_good_one_does_not_have() -> None:
    assert next_slot([], good=None) == "a"
    assert next_slot([A1], good=1) == "b"
    assert next_slot([A1, B2], good=2) == "a"
    assert next_slot([A1, BAD2], good=1) == "b"


def test_ids_only_grow() -> None:
    assert next_id([]) == 1
    assert next_id([B2, A1]) == 3


@pytest.mark.parametrize(
    ("boot", "booted", "condemned", "expected"),
    [
        (BootChoice(good=1), 1, False, Resume(2)),
        (ARMED, 1, False, AwaitReboot(2)),
        (BootChoice(next=2, tries=2, good=1), 2, False, Judge(2)),
        (BootChoice(next=2, tries=0, good=1), 2, False, Judge(2)),
        (BootChoice(good=2), 2, False, FinishCommit(2)),
        (BootChoice(good=2), None, False, FinishCommit(2)),
    ],
)
def test_each_way_to_come_up_has_its_answer(
    boot: BootChoice, booted: int | None, condemned: bool, expected: object
) -> None:
    assert decide_settlement(boot, booted=booted, candidate=2, is_condemned=condemned) == expected


def test_nothing_is_settled_without_a_transaction() -> None:
    assert decide_settlement(ARMED, booted=1, candidate=None) == NothingToSettle()


def test_coming_up_on_the_old_system_means_the_candidate_failed() -> None:
    exhausted = decide_settlement(BootChoice(next=2, tries=0, good=1), booted=1, candidate=2)
    unloadable = decide_settlement(BootChoice(next=2, tries=2, good=1), booted=1, candidate=2)

    assert exhausted == RollBack(2, "it did not finish starting in 3 attempts", needs_reboot=False)
    assert unloadable == RollBack(
        2, "the boot loader could not start it (attempt 1 of 3)", needs_reboot=False
    )


def test_a_condemned_candidate_is_left_even_if_the_loader_still_wants_it() -> None:
    decision = decide_settlement(ARMED, booted=2, candidate=2, is_condemned=True)

    assert decision == RollBack(2, "", needs_reboot=True)


def test_the_ladder_gives_three_tries_and_then_the_good_one() -> None:
    boot = ARMED
    picks = []
    for _ in range(5):
        picked, boot = choose_boot(boot)
        picks.append(picked)

    assert picks == [2, 2, 2, 1, 1]


def test_without_a_good_one_the_ladder_ends_in_recovery() -> None:
    assert choose_boot(BootChoice(next=1, tries=0))[0] is None


def test_pruning_takes_the_bad_before_the_good_and_spares_what_runs() -> None:
    records = [A1, BAD2, SnapshotRecord(3, "b", "good")]

    assert choose_pruned(records, good=3, booted=3, max_snaps=2) == [2, 1]
    assert choose_pruned(records, good=3, booted=1, max_snaps=2) == [2]
    assert choose_pruned(records, good=3, booted=3, max_snaps=3) == [2]
    assert choose_pruned([A1], good=1, booted=1, max_snaps=2) == []


def test_a_bad_passive_is_never_listed_before_a_good_one() -> None:
    records = [A1, BAD2, SnapshotRecord(3, "a", "good")]

    assert order_passives(records, active=3) == [1, 2]


records_strategy = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["good", "bad"])), max_size=6
).map(
    lambda pairs: [
        SnapshotRecord(number, slot, status)  # type: ignore[arg-type]
        for number, (slot, status) in enumerate(pairs, start=1)
    ]
)


@given(records_strategy, st.integers(0, 6), st.integers(0, 6), st.integers(2, 4))
def test_the_last_good_and_the_running_one_are_never_pruned(
    records: list[SnapshotRecord], good: int, booted: int, max_snaps: int
) -> None:
    pruned = choose_pruned(records, good=good or None, booted=booted or None, max_snaps=max_snaps)

    assert good not in pruned
    assert booted not in pruned
    assert len(records) - len(pruned) >= min(len(records), max_snaps - 1)


@given(records_strategy, st.integers(0, 6))
def test_no_order_of_passives_has_a_bad_one_before_a_good_one(
    records: list[SnapshotRecord], active: int
) -> None:
    statuses = {record.id: record.status for record in records}
    order = [statuses[number] for number in order_passives(records, active=active or None)]

    assert order == sorted(order, key=["good", "bad"].index)


@dataclass
class ModelHost:
    """A host reduced to what decides: records, boot choice, what is on disk, what runs."""

    records: dict[int, SnapshotRecord] = field(default_factory=lambda: {1: A1})
    boot: BootChoice = field(default_factory=lambda: BootChoice(good=1))
    candidate: int | None = None
    booted: int | None = 1

    def stage(self) -> None:
        if self.candidate is not None:
            return
        records = list(self.records.values())
        number = next_id(records)
        slot = next_slot(records, good=self.boot.good)
        for pruned in choose_pruned(records, good=self.boot.good, booted=self.booted, max_snaps=2):
            del self.records[pruned]
        self.records[number] = SnapshotRecord(number, slot, "candidate")
        self.candidate = number
        self.boot = BootChoice(next=number, tries=3, good=self.boot.good)

    def boot_once(self, *, comes_up: bool, is_healthy: bool) -> None:
        """One power-on. A candidate that does not come up hangs until the power is cut."""
        self.booted, self.boot = choose_boot(self.boot)
        if self.booted == self.candidate and self.candidate is not None and not comes_up:
            return
        decision = decide_settlement(
            self.boot,
            booted=self.booted,
            candidate=self.candidate,
            is_condemned=self.candidate is not None and self.records[self.candidate].status == "bad",
        )
        match decision:
            case Judge(candidate) if is_healthy:
                self._mark(candidate, "good")
                self.boot = BootChoice(good=candidate)
                self.candidate = None
            case Judge(candidate) | RollBack(candidate, _, _):
                self._mark(candidate, "bad")
                self.boot = BootChoice(good=self.boot.good)
                if self.booted != candidate:
                    self.candidate = None
            case NothingToSettle() | AwaitReboot() | FinishCommit() | Resume():
                pass

    def _mark(self, number: int, status: str) -> None:
        slot = self.records[number].slot
        self.records[number] = SnapshotRecord(number, slot, status)  # type: ignore[arg-type]


events = st.one_of(
    st.just("stage"),
    st.tuples(st.booleans(), st.booleans()),
)


@given(st.lists(events, max_size=40))
def test_no_sequence_of_failures_leaves_a_host_without_a_good_slot(sequence: list[object]) -> None:
    host = ModelHost()
    for event in sequence:
        if isinstance(event, tuple):
            host.boot_once(comes_up=event[0], is_healthy=event[1])
        else:
            host.stage()
        good = host.boot.good
        assert good is not None
        assert host.records[good].status == "good"
        slots = [record.slot for record in host.records.values()]
        assert len(slots) == len(set(slots)) <= 2
    for _ in range(5):
        host.boot_once(comes_up=False, is_healthy=False)
    assert host.booted == host.boot.good
