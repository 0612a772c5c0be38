"""The journal of names: what comes back from it, also when a crash or a disk has been at it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.names import (
    MAX_LINE_BYTES,
    Deleted,
    Event,
    NameJournal,
    Names,
    Put,
    Tagged,
    Untagged,
    events_of,
    parse_line,
    render_line,
)
from mirror.oci import OCI_MANIFEST, digest_of

DIGESTS = [digest_of(b"%d" % number) for number in range(3)]
repositories = st.sampled_from(["a", "a/b"])
digests = st.sampled_from(DIGESTS)
tags = st.lists(st.sampled_from(["v1", "v2", "latest"]), max_size=2, unique=True).map(tuple)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Put, repositories, digests, st.just(OCI_MANIFEST), tags),
    st.builds(Tagged, repositories, digests, tags),
    st.builds(Untagged, repositories, st.sampled_from(["v1", "v2"])),
    st.builds(Deleted, repositories, digests),
)
PUT = Put("a", DIGESTS[0], OCI_MANIFEST, ("v1",))


@given(events)
def test_a_line_says_what_was_written(event: Event) -> None:
    assert parse_line(render_line(event)) == event


@given(st.lists(events, max_size=20))
def test_a_shortened_journal_says_the_same(history: list[Event]) -> None:
    names = Names()
    for event in history:
        names.apply(event)
    names.tags = {key: to for key, to in names.tags.items() if (key[0], to) in names.manifests}

    again = Names()
    for event in events_of(names):
        again.apply(event)

    assert again == names


def test_many_tags_go_over_several_lines() -> None:
    names = Names({("a", DIGESTS[0]): OCI_MANIFEST}, {("a", f"v{n}"): DIGESTS[0] for n in range(1001)})

    lines = [render_line(event) for event in events_of(names)]

    assert len(lines) == 11
    assert max(map(len, lines)) < MAX_LINE_BYTES


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"no checksum",
        render_line(PUT)[:-10],
        render_line(PUT).replace(b"v1", b"v2"),
        b"00000000 {}\n",
        render_line(Put("../../etc", DIGESTS[0], OCI_MANIFEST)),
        render_line(Put("a", "sha256:short", OCI_MANIFEST)),
        render_line(Tagged("a", DIGESTS[0], ("/",))),
        render_line(Untagged("a", "")),
        render_line(Deleted("a", "")),
    ],
)
def test_a_line_that_cannot_be_believed_is_none(line: bytes) -> None:
    assert parse_line(line) is None


def test_damage_costs_the_lines_that_it_hit(tmp_path: Path) -> None:
    journal = NameJournal(tmp_path / "names.log")
    for number in range(3):
        journal.append(Put("a", DIGESTS[number], OCI_MANIFEST, (f"v{number}",)))
    content = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(content[0] + b"\x00" * (3 * MAX_LINE_BYTES) + b"\n" + content[2])

    names, damaged = journal.read()

    assert damaged == 1
    assert sorted(names.tags) == [("a", "v0"), ("a", "v2")]


def test_a_torn_line_takes_no_other_with_it(tmp_path: Path) -> None:
    journal = NameJournal(tmp_path / "names.log")
    journal.append(PUT)
    with journal.path.open("ab") as file:
        file.write(render_line(PUT)[:20])

    journal.append(Put("b", DIGESTS[1], OCI_MANIFEST))

    names, damaged = journal.read()
    assert damaged == 1
    assert sorted(names.manifests) == [("a", DIGESTS[0]), ("b", DIGESTS[1])]


def test_a_journal_that_cannot_be_rewritten_stays_as_it_was(tmp_path: Path) -> None:
    journal = NameJournal(tmp_path / "names.log")
    journal.append(PUT)
    (tmp_path / "names.new").mkdir()

    with pytest.raises(OSError, match="directory"):
        journal.rewrite([])

    assert journal.read()[0].tags == {("a", "v1"): DIGESTS[0]}
