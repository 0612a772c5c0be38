"""What stands on the screen of a machine that belongs to nobody."""

from agent.pairing_listener import draw, render_place, render_screen


def test_the_screen_shows_the_name_the_code_and_what_to_type() -> None:
    text = render_screen("new-ab12", "493028", places=["10.0.0.7"])

    assert "4   9   3   -   0   2   8" in text
    assert "skerry discover pair new-ab12 --registration NAME" in text
    assert "--address 10.0.0.7" in text
    assert "Wrong codes" not in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_without_an_address_it_asks_for_the_cable() -> None:
    assert "Is its cable in?" in render_screen("new-ab12", "493028")


def test_wrong_codes_and_a_locked_door_are_said() -> None:
    text = render_screen("new-ab12", "493028", failures=3, locked_seconds=15, places=["10.0.0.7"])

    assert "Wrong codes so far: 3" in text
    assert "the next 15 seconds" in text


def test_the_usual_port_need_not_be_typed() -> None:
    assert render_place("10.0.0.7", 8454) == "10.0.0.7"
    assert render_place("10.0.0.7", 99) == "10.0.0.7:99"
    assert render_place("fe80::1", 99) == "[fe80::1]:99"


def test_no_two_runs_have_a_code_session_and_exponent_in_common() -> None:
    draws = [draw() for _ in range(50)]

    assert len({each.session for each in draws}) == len({each.exponent for each in draws}) == 50
    assert len({each.code for each in draws}) > 1
    assert all(len(each.code) == 6 and each.code.isdigit() for each in draws)
