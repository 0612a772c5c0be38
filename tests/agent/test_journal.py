"""The journal: every step on disk before the next, and a crash never loses or repeats more than one."""

from pathlib import Path

import pytest

from agent.errors import StateInvalid
from agent.journal import Journal, Record, Step, render_transaction


def make_record(**changes: str) -> Record:
    return Record(id="t1", action="upgrade", digest="sha256:" + "0" * 64, snapshot=2, slot="b")


def test_steps_run_once_and_in_order(tmp_path: Path) -> None:
    acted: list[str] = []
    journal = Journal(tmp_path)
    steps = [
        Step("one", "pulling", lambda: acted.append("one")),
        Step("two", "writing", lambda: acted.append("two")),
    ]

    record = journal.run(journal.begin(make_record()), steps)
    journal.run(record, steps)

    assert acted == ["one", "two"]
    assert record.done == ["one", "two"]
    assert record.phase == "writing"


def test_after_a_crash_the_first_unrecorded_step_runs_again(tmp_path: Path) -> None:
    acted: list[str] = []

    class Crash(BaseException):
        pass

    def crash_at(point: str) -> None:
        if point == "upgrade.two.acted":
            raise Crash

    steps = [
        Step("one", "pulling", lambda: acted.append("one")),
        Step("two", "writing", lambda: acted.append("two")),
    ]
    crashing = Journal(tmp_path, fault=crash_at)
    with pytest.raises(Crash):
        crashing.run(crashing.begin(make_record()), steps)

    journal = Journal(tmp_path)
    record = journal.open_record()
    assert record is not None
    journal.run(record, steps)

    assert acted == ["one", "two", "two"]


def test_what_a_step_learned_is_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    record = journal.begin(make_record())

    def learn() -> None:
        current = journal.record()
        assert current is not None
        journal.put(Record(**{**_fields(current), "version": "v2"}))  # type: ignore[arg-type]

    record = journal.run(record, [Step("learn", "pulling", learn)])

    assert record.version == "v2"


def test_two_transactions_cannot_be_open(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.begin(make_record())

    with pytest.raises(StateInvalid, match="open"):
        journal.begin(make_record())


def test_a_finished_transaction_is_history_and_remembers_failures(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    record = journal.finish(journal.begin(make_record()), "rolled-back", reason="no light")

    assert journal.open_record() is None
    assert [entry.outcome for entry in journal.history()] == ["rolled-back"]
    assert journal.failure_of(record.digest) == "no light"
    journal.finish(journal.begin(make_record()), "committed")
    assert journal.failure_of(record.digest) is None


def test_history_is_bounded(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for _ in range(60):
        journal.finish(make_record(), "committed")

    assert len(journal.history()) == 50


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"record": {"id": 1}}', b"x" * (1024 * 1024 + 1)])
def test_a_damaged_journal_is_named_and_never_guessed_at(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "journal.json").write_bytes(content)

    with pytest.raises(StateInvalid, match="journal"):
        Journal(tmp_path).record()


def test_every_change_is_told(tmp_path: Path) -> None:
    heard: list[str] = []
    journal = Journal(tmp_path, observe=lambda record: heard.append(f"{record.phase}{record.percent}"))
    record = journal.begin(make_record())
    journal.note_progress(record, 40)
    journal.finish(record, "failed")

    assert heard == ["pending0", "pending40", "done100"]
    stored = journal.record()
    assert stored is not None
    assert render_transaction(stored).outcome == "failed"


def _fields(record: Record) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__struct_fields__}
