"""The log on disk: durable before it is acknowledged, cut into files, and honest about what is missing."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.audit.chain import Decision
from appliance.audit.damping import Damper
from appliance.audit.log import Audit, AuditUnavailable, list_files, read_entries, verify

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


def open_log(data: Path, *, file_bytes: int = 100_000) -> Audit:
    return Audit(data, clock=lambda: NOW, file_bytes=file_bytes)


def write(data: Path, *objects: str, file_bytes: int = 100_000) -> None:
    audit = open_log(data, file_bytes=file_bytes)
    for each in objects:
        audit.write([Decision("approve_host", each, "ann")])
    audit.close()


def said(data: Path) -> list[str]:
    return [str(finding) for finding in verify(data)[1]]


async def test_decisions_that_come_together_are_all_there_in_their_order(tmp_path: Path) -> None:
    audit = open_log(tmp_path)
    await asyncio.gather(*(audit.record("register", f"host/{n}", who="h") for n in range(200)))
    audit.close()

    assert [entry.object for entry in read_entries(tmp_path)] == [f"host/{n}" for n in range(200)]
    assert verify(tmp_path) == (200, [])


def test_the_chain_goes_on_over_files_and_starts(tmp_path: Path) -> None:
    write(tmp_path, *"abcdefgh", file_bytes=600)
    write(tmp_path, *"ijkl", file_bytes=600)

    assert len(list_files(tmp_path / "audit")) >= 3
    assert [entry.n for entry in read_entries(tmp_path)] == list(range(1, 13))
    assert verify(tmp_path) == (12, [])


def test_entries_are_chosen_by_time_and_object(tmp_path: Path) -> None:
    write(tmp_path, "host/a", "host/b")

    assert [entry.object for entry in read_entries(tmp_path, about="/b")] == ["host/b"]
    assert len(list(read_entries(tmp_path, since="2026-11-21T03:00:00Z"))) == 2
    assert not list(read_entries(tmp_path, since="2026-11-22T00:00:00Z"))


def test_a_line_torn_by_a_power_cut_is_dropped_at_the_next_start(tmp_path: Path) -> None:
    write(tmp_path, "a", "b")
    (path,) = list_files(tmp_path / "audit")
    path.write_bytes(path.read_bytes() + b'{"n":3,"at":"2026')

    assert "cut off" in said(tmp_path)[0]
    write(tmp_path, "c")
    assert verify(tmp_path) == (3, [])


def test_an_end_that_was_cut_off_stays_missing_however_much_is_written_after(tmp_path: Path) -> None:
    write(tmp_path, "a", "b", "c")
    (path,) = list_files(tmp_path / "audit")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:1]))

    assert said(tmp_path) == [f"{path.name}: the end is missing: entries 2 to 3 were written once"]
    write(tmp_path, "d")
    assert said(tmp_path) == [f"{path.name}, line 2: entries 2 to 3 missing before entry 4"]


def test_a_log_that_is_gone_altogether_is_missed(tmp_path: Path) -> None:
    write(tmp_path, "a", "b")
    list_files(tmp_path / "audit")[0].unlink()

    assert said(tmp_path) == ["the log: the end is missing: entries 1 to 2 were written once"]


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 512, b'{"n":1,"hash":"","mac":""}'], ids=["none", "zeros", "forged"]
)
def test_a_head_that_is_not_ours_is_told(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, "a", "b")
    (tmp_path / "pki" / "audit.head").write_bytes(content)

    assert said(tmp_path) == ["audit.head: the head is missing, or not under the appliance's key"]


def test_a_slot_torn_while_it_was_written_leaves_the_other(tmp_path: Path) -> None:
    write(tmp_path, "a", "b", "c")
    head = tmp_path / "pki" / "audit.head"
    content = head.read_bytes()
    slots = [content[:256], content[256:]]
    newest = max(range(2), key=lambda index: b'"n":3' in slots[index])
    slots[newest] = b"x" * 256
    head.write_bytes(b"".join(slots))

    assert said(tmp_path) == []


def test_a_log_without_the_key_of_its_head_is_told(tmp_path: Path) -> None:
    write(tmp_path, "a")
    (tmp_path / "pki" / "audit.key").unlink()

    assert said(tmp_path) == ["audit: there is a log, but not the key of its head"]


def test_a_folder_without_a_log_is_sound(tmp_path: Path) -> None:
    assert verify(tmp_path) == (0, [])


async def test_what_cannot_be_written_is_not_acknowledged_and_leaves_no_trace(tmp_path: Path) -> None:
    audit = open_log(tmp_path)
    await audit.record("approve_host", "host/a", who="ann")
    (path,) = list_files(tmp_path / "audit")
    content = path.read_bytes()
    path.unlink()
    path.mkdir()

    with pytest.raises(AuditUnavailable):
        await audit.record("approve_host", "host/b", who="ann")

    path.rmdir()
    path.write_bytes(content)
    await audit.record("approve_host", "host/c", who="ann")
    audit.close()
    assert verify(tmp_path) == (2, [])


def test_refusals_beyond_the_measure_are_counted_and_told_later() -> None:
    damper = Damper(burst=2, per_minute=60)

    assert [damper.admit(0.0) for _ in range(4)] == [0, 0, None, None]
    assert damper.admit(1.0) == 2
    assert damper.admit(1.1) is None
