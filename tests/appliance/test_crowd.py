"""Who has to leave when there are too many: the one who takes most, never the one who came last."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.crowd import Crowd, choose_group


def test_a_guest_from_elsewhere_takes_the_place_of_the_oldest_of_those_who_hold_most() -> None:
    crowd: Crowd[str] = Crowd(4)
    crowd.enter("honest", "192.0.2.1", now=0.0)
    for number in range(3):
        crowd.enter(f"hostile-{number}", "192.0.2.66", now=1.0)

    leaver = crowd.enter("newcomer", "192.0.2.2", now=2.0)

    assert leaver == "hostile-0"
    assert len(crowd) == 4


def test_a_flood_from_one_address_only_ever_pushes_out_itself() -> None:
    crowd: Crowd[int] = Crowd(8)
    crowd.enter(-1, "192.0.2.1", now=0.0)

    leavers = [crowd.enter(number, "192.0.2.66", now=1.0) for number in range(1000)]

    assert -1 not in leavers
    assert crowd.leave(-1)


def test_those_who_are_overdue_are_cleared_oldest_first_and_only_once() -> None:
    crowd: Crowd[str] = Crowd(9)
    for moment, guest in enumerate(("a", "b", "c")):
        crowd.enter(guest, "192.0.2.1", now=float(moment))

    assert crowd.clear_before(2.0) == ["a", "b"]
    assert crowd.clear_before(2.0) == []
    assert not crowd.leave("a")


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_ipv6_address_counts_for_its_network(address: str, group: str) -> None:
    assert choose_group(address) == group


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.sampled_from("abc")), max_size=200))
def test_there_are_never_more_than_places_and_nobody_is_counted_twice(
    steps: list[tuple[bool, int, str]],
) -> None:
    crowd: Crowd[tuple[int, int]] = Crowd(5)
    present: set[tuple[int, int]] = set()
    for number, (comes, who, address) in enumerate(steps):
        if comes:
            guest = (number, who)
            leaver = crowd.enter(guest, address, now=float(number))
            assert (leaver is None) == (len(present) < 5)
            if leaver:
                present.remove(leaver)
            present.add(guest)
        else:
            for guest in [each for each in present if each[1] == who]:
                assert crowd.leave(guest)
                present.discard(guest)
        assert len(crowd) == len(present) <= 5
