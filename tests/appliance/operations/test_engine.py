"""Long jobs: started, followed, cancelled, and what a crash makes of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import InvalidParameters, TooManyOperations, UnknownOperation, UnknownOperationKind
from appliance.operations import Operation, OperationKind, Operations
from appliance.operations.engine import KEPT, MAX_ATTEMPTS, MAX_WAITING
from appliance.operations.journal import Accepted, Begun, Journal
from tests.appliance.operations.kinds import BREAK_DOWN, COUNT, REFUSE, Gate


@asynccontextmanager
async def opened(
    directory: Path, *kinds: OperationKind[Any], workers: int = 2, patience: float = 5
) -> AsyncIterator[Operations]:
    operations = Operations(directory, {kind.name: kind for kind in kinds}, workers=workers)
    await operations.open()
    try:
        yield operations
    finally:
        await operations.close(patience=patience)


async def finished(operations: Operations, id: str) -> Operation:
    seen = [operation async for operation in operations.follow(id)]
    return seen[-1]


async def running(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.runs.acquire, timeout=30)


async def test_a_job_runs_and_its_result_is_kept(tmp_path: Path) -> None:
    async with opened(tmp_path, COUNT) as operations:
        accepted = await operations.start("count", {"to": 2})
        ended = await finished(operations, accepted.id)

    assert (ended.state, ended.result, ended.attempts) == ("succeeded", {"counted": 2}, 1)
    assert ended.progress is not None
    assert (ended.progress.done, ended.progress.total) == (2, 2)


async def test_following_ends_with_the_final_state_also_for_a_job_that_is_over(tmp_path: Path) -> None:
    async with opened(tmp_path, COUNT) as operations:
        accepted = await operations.start("count", {})
        await finished(operations, accepted.id)

        states = [operation.state async for operation in operations.follow(accepted.id)]

    assert states == ["succeeded"]


async def test_a_refusal_keeps_its_sentence_and_hint(tmp_path: Path) -> None:
    async with opened(tmp_path, REFUSE) as operations:
        ended = await finished(operations, (await operations.start("refuse", {})).id)

    assert ended.state == "failed"
    assert ended.error is not None
    assert (ended.error.reason, ended.error.message) == ("Refused", "The stick is the system disk.")
    assert ended.error.hint == "Choose another."


async def test_a_defect_in_a_job_fails_the_job_and_not_the_engine(tmp_path: Path) -> None:
    async with opened(tmp_path, BREAK_DOWN, COUNT, workers=1) as operations:
        broken = await finished(operations, (await operations.start("break-down", {})).id)
        fine = await finished(operations, (await operations.start("count", {})).id)

    assert broken.error is not None
    assert broken.error.reason == "Internal"
    assert fine.state == "succeeded"


async def test_a_running_job_is_cancelled_at_its_next_step(tmp_path: Path) -> None:
    gate = Gate()
    async with opened(tmp_path, gate.kind()) as operations:
        started = await operations.start("gate", {})
        await running(gate)
        await operations.cancel(started.id)

        assert (await finished(operations, started.id)).state == "cancelled"


async def test_a_waiting_job_is_cancelled_at_once_and_never_runs(tmp_path: Path) -> None:
    first, second = Gate(), Gate()
    async with opened(tmp_path, first.kind(), second.kind("second"), workers=1) as operations:
        await operations.start("gate", {})
        await running(first)
        waiting = await operations.start("second", {})

        assert (await operations.cancel(waiting.id)).state == "cancelled"
        first.opened.set()

    assert second.starts == 0


async def test_cancelling_what_is_over_changes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, COUNT) as operations:
        started = await operations.start("count", {})
        await finished(operations, started.id)

        assert (await operations.cancel(started.id)).state == "succeeded"


async def test_no_more_jobs_run_at_once_than_there_are_workers(tmp_path: Path) -> None:
    gate = Gate()
    async with opened(tmp_path, gate.kind(), workers=2) as operations:
        ids = [(await operations.start("gate", {})).id for _ in range(4)]
        await running(gate)
        await running(gate)

        states = sorted(operations.get(each).state for each in ids)
        gate.opened.set()
        for each in ids:
            await finished(operations, each)

    assert states == ["queued", "queued", "running", "running"]
    assert gate.starts == 4


@pytest.mark.parametrize(
    ("kind", "params", "refusal"),
    [
        ("nothing-like-it", {}, UnknownOperationKind),
        ("count", {"to": "many"}, InvalidParameters),
        ("count", {"upto": 3}, InvalidParameters),
    ],
)
async def test_what_cannot_be_run_is_refused_and_leaves_no_journal(
    tmp_path: Path, kind: str, params: dict[str, Any], refusal: type[Exception]
) -> None:
    async with opened(tmp_path, COUNT) as operations:
        with pytest.raises(refusal):
            await operations.start(kind, params)

    assert list(tmp_path.iterdir()) == []


async def test_an_unknown_operation_is_named_in_the_refusal(tmp_path: Path) -> None:
    async with opened(tmp_path, COUNT) as operations:
        with pytest.raises(UnknownOperation, match="op-7"):
            operations.get("op-7")


async def test_the_queue_is_bounded(tmp_path: Path) -> None:
    gate = Gate()
    async with opened(tmp_path, gate.kind(), workers=1) as operations:
        for _ in range(MAX_WAITING):
            await operations.start("gate", {})

        with pytest.raises(TooManyOperations):
            await operations.start("gate", {})
        for operation in operations.list():
            await operations.cancel(operation.id)


async def test_only_so_many_finished_jobs_are_remembered(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(KEPT + 5):
        journal.append(
            f"old-{number:04}", Accepted(f"old-{number:04}", "gone-kind", {}, "2026-01-01T00:00:00Z")
        )

    async with opened(tmp_path, COUNT) as operations:
        await finished(operations, (await operations.start("count", {})).id)
        await operations.start("count", {})

        remembered = {operation.id for operation in operations.list() if operation.kind == "gone-kind"}

    assert "old-0000" not in remembered
    assert len(remembered) <= KEPT
    assert len(list(tmp_path.glob("old-*.jsonl"))) == len(remembered)


def crashed(directory: Path, kind: str, *, attempts: int = 1) -> str:
    """The journal that a kill -9 in the middle of a job leaves."""
    journal = Journal(directory)
    journal.append("op-1", Accepted("op-1", kind, {}, "2026-01-01T00:00:00Z"))
    for attempt in range(attempts):
        journal.append("op-1", Begun(attempt + 1, "2026-01-01T00:00:01Z"))
    return "op-1"


async def test_after_a_crash_a_resumable_job_runs_again_under_its_id(tmp_path: Path) -> None:
    gate = Gate()
    gate.opened.set()
    crash = crashed(tmp_path, "gate")

    async with opened(tmp_path, gate.kind(is_resumable=True)) as operations:
        ended = await finished(operations, crash)

    assert (ended.state, ended.attempts) == ("succeeded", 2)


async def test_after_a_crash_another_job_is_said_to_be_interrupted(tmp_path: Path) -> None:
    crash = crashed(tmp_path, "gate")

    async with opened(tmp_path, Gate().kind()) as operations:
        operation = operations.get(crash)

    assert operation.state == "interrupted"
    assert operation.error is not None
    assert operation.error.hint


async def test_a_job_that_ends_the_appliance_every_time_is_given_up(tmp_path: Path) -> None:
    gate = Gate()
    crash = crashed(tmp_path, "gate", attempts=MAX_ATTEMPTS)

    async with opened(tmp_path, gate.kind(is_resumable=True)) as operations:
        assert operations.get(crash).state == "interrupted"

    assert gate.starts == 0


async def test_closing_leaves_a_running_job_for_the_next_start(tmp_path: Path) -> None:
    gate = Gate()
    async with opened(tmp_path, gate.kind(is_resumable=True)) as operations:
        started = await operations.start("gate", {})
        await running(gate)
    gate.opened.set()

    async with opened(tmp_path, gate.kind(is_resumable=True)) as operations:
        ended = await finished(operations, started.id)

    assert (ended.state, ended.attempts) == ("succeeded", 2)


async def test_what_is_over_is_still_known_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path, COUNT) as operations:
        before = await finished(operations, (await operations.start("count", {"to": 1})).id)

    async with opened(tmp_path, COUNT) as operations:
        after = operations.get(before.id)

    assert (after.state, after.result, after.params) == ("succeeded", {"counted": 1}, {"to": 1})


async def test_a_torn_last_line_is_dropped_and_the_journal_goes_on(tmp_path: Path) -> None:
    gate = Gate()
    gate.opened.set()
    crash = crashed(tmp_path, "gate")
    with (tmp_path / "op-1.jsonl").open("ab") as file:
        file.write(b'{"type":"finished","state":"succ')

    async with opened(tmp_path, gate.kind(is_resumable=True)) as operations:
        await finished(operations, crash)

    lines = [json.loads(line) for line in (tmp_path / "op-1.jsonl").read_text().splitlines()]
    assert [line["type"] for line in lines] == ["accepted", "begun", "begun", "finished"]


@pytest.mark.parametrize(
    "content", [b"", b"nonsense\n", b'{"type":"begun","attempt":1,"at":""}\n', b"\xff\xfe\n"]
)
async def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "strange.jsonl").write_bytes(content)

    async with opened(tmp_path, COUNT) as operations:
        assert operations.list() == []

    assert (tmp_path / "strange.jsonl").read_bytes() == content


async def test_the_journal_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    async with opened(tmp_path / "operations", COUNT) as operations:
        await finished(operations, (await operations.start("count", {})).id)

    files = list((tmp_path / "operations").iterdir())
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600]
