from agent.protocol.report import Slot
from tests.tui.factories import V1, V2, make_host
from tui.text import plain
from tui.widgets.lines import measure
from tui.widgets.slot_picture import render_slots


def picture(host_slots: list[Slot], *, booted: str = "a", width: int = 80) -> str:
    lines = render_slots(make_host(slots=host_slots, slot=booted), width)
    assert all(measure(each) <= width for each in lines)
    return "\n".join("".join(plain(span.text) for span in each) for each in lines)


def test_the_running_slot_says_so() -> None:
    shown = picture([Slot(name="a", state="good", digest=V1, version="v1.0.0"), Slot(name="b")])

    assert "slot A booted" in shown
    assert "slot B booted" not in shown
    assert "<== running now" in shown


def test_a_candidate_is_tried_next() -> None:
    shown = picture([Slot(name="a", state="good"), Slot(name="b", state="candidate", digest=V2)])

    assert "CANDIDATE" in shown
    assert "tried at the next boot" in shown


def test_a_booted_candidate_is_on_trial() -> None:
    shown = picture([Slot(name="a", state="good"), Slot(name="b", state="candidate")], booted="b")

    assert "on trial: not confirmed yet" in shown


def test_a_bad_slot_tells_its_reason() -> None:
    shown = picture([Slot(name="a", state="good"), Slot(name="b", state="bad", reason="check failed")])

    assert "BAD" in shown
    assert "check failed" in shown


def test_a_host_that_said_nothing_has_two_unknown_slots() -> None:
    assert picture([], booted="").count("nothing reported") == 2
