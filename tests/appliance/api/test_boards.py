"""What a watcher of a view is told, and that it is told nothing twice."""

from datetime import UTC, datetime, timedelta

import msgspec

from agent.protocol.discovery import render_link_id
from appliance.api.boards import HostBoard, InboxBoard, next_events
from appliance.api.contract import InboxEntry
from appliance.resources.host_report import HOST_REPORT
from appliance.resources.machine_inventory import APPROVAL, MACHINE_INVENTORY, SYSTEM_UUID
from appliance.resources.meta import Document, Kind
from appliance.store.base import Event

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def machine(name: str, approval: str = "approved") -> Document:
    return {
        "metadata": {"name": name, "namespace": "n", "annotations": {APPROVAL: approval}},
        "spec": {"tpmHash": "t"},
    }


def report(name: str, version: str = "v1") -> Document:
    said = {"agentVersion": "1", "bootId": "b", "mode": "active", "version": version}
    return {
        "metadata": {"name": name, "namespace": "n"},
        "report": said,
        "receivedAt": "2026-01-01T12:00:00Z",
    }


def added(kind: Kind, document: Document) -> Event:
    return Event("ADDED", kind, document)


def told(board: HostBoard, event: Event, now: datetime = NOW) -> list[tuple[str, str, str]]:
    return [(each.type, each.object["name"], each.object["phase"]) for each in board.feed(event, now)]


def test_a_host_is_added_changed_and_deleted() -> None:
    board = HostBoard()

    steps = [
        told(board, added(MACHINE_INVENTORY, machine("a", "pending"))),
        told(board, Event("MODIFIED", MACHINE_INVENTORY, machine("a"))),
        told(board, added(HOST_REPORT, report("a"))),
        told(board, Event("DELETED", MACHINE_INVENTORY, machine("a"))),
    ]

    assert steps == [
        [("ADDED", "a", "Pending approval")],
        [("MODIFIED", "a", "Registered")],
        [("MODIFIED", "a", "Ready")],
        [("DELETED", "a", "Ready")],
    ]


def test_what_changes_nothing_visible_is_not_told() -> None:
    board = HostBoard()
    board.take(MACHINE_INVENTORY, [machine("a")])
    board.take(HOST_REPORT, [report("a")])
    board.views(NOW)

    assert told(board, Event("MODIFIED", HOST_REPORT, report("a"))) == []
    assert told(board, Event("BOOKMARK", HOST_REPORT, {"metadata": {"resourceVersion": "9"}})) == []


def test_a_report_without_a_machine_is_nobody() -> None:
    board = HostBoard()

    assert told(board, added(HOST_REPORT, report("ghost"))) == []
    assert board.views(NOW) == []


def test_time_alone_makes_a_host_silent_and_says_so_once() -> None:
    board = HostBoard()
    board.take(MACHINE_INVENTORY, [machine("a")])
    board.take(HOST_REPORT, [report("a")])
    board.views(NOW)
    later = NOW + timedelta(minutes=10)

    first = [event.object["phase"] for event in board.tick(later)]
    second = list(board.tick(later + timedelta(minutes=1)))

    assert first == ["Silent"]
    assert second == []


def test_views_are_in_order_of_names() -> None:
    board = HostBoard()
    board.take(MACHINE_INVENTORY, [machine("b"), machine("a")])

    assert [view.name for view in board.views(NOW)] == ["a", "b"]


def test_the_inbox_holds_who_waits_before_who_was_heard() -> None:
    board = InboxBoard()
    board.hear([InboxEntry(kind="found", id="mdns/x", name="x")])
    board.feed(machine("b", "pending"))
    board.feed(machine("a", "pending"))
    board.feed(machine("c"))

    assert list(board.entries()) == ["n/a", "n/b", "mdns/x"]

    board.feed(machine("a"))
    board.feed(machine("b", "pending"), is_deleted=True)
    board.hear([])
    assert board.entries() == {}


def test_the_difference_is_told_and_nothing_else() -> None:
    one = InboxEntry(kind="found", id="1", name="one")
    two = InboxEntry(kind="found", id="2", name="two")
    moved = msgspec.structs.replace(one, address="10.0.0.1")

    events = list(next_events("inbox", {"1": one, "2": two}, {"1": moved, "3": two}))

    assert [(event.type, event.object["id"]) for event in events] == [
        ("MODIFIED", "1"),
        ("ADDED", "2"),
        ("DELETED", "2"),
    ]
    assert list(next_events("inbox", {"1": one}, {"1": one})) == []


def test_a_machine_that_registered_is_not_found_as_well_unless_it_waits_to_be_paired() -> None:
    uuid = "4c4c4544-0042-3510-8052-b4c04f4e3132"
    document = machine("a", "pending")
    document["metadata"]["annotations"][SYSTEM_UUID] = uuid
    heard = InboxEntry(kind="found", id="mdns/x", name="x", details={"id": render_link_id(uuid.upper())})
    alone = InboxEntry(kind="found", id="mdns/y", name="y", details={**heard.details, "pair": "1"})
    board = InboxBoard()
    board.hear([heard, alone])
    before = list(board.entries())

    board.feed(document)
    registered = list(board.entries())
    board.feed(document, is_deleted=True)

    assert before == ["mdns/x", "mdns/y"]
    assert registered == ["n/a", "mdns/y"]
    assert list(board.entries()) == before
