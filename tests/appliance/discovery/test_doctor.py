"""Which rung is broken follows from what was seen, and no rung is blamed for the one below it."""

import pytest

from appliance.discovery.doctor import Seen, judge, look

HERE = ("10.0.0.1",)


@pytest.mark.parametrize(
    ("seen", "verdicts"),
    [
        pytest.param(Seen(()), ["broken", "unknown", "unknown", "unknown"], id="no-address"),
        pytest.param(Seen(HERE, "in use"), ["ok", "broken", "unknown", "unknown"], id="port-taken"),
        pytest.param(
            Seen(HERE, hears_itself=False, heard=0), ["ok", "ok", "broken", "unknown"], id="dropped-here"
        ),
        pytest.param(Seen(HERE, hears_itself=True, heard=0), ["ok", "ok", "ok", "unknown"], id="nobody-else"),
        pytest.param(Seen(HERE, hears_itself=True, heard=3), ["ok", "ok", "ok", "ok"], id="all-is-well"),
    ],
)
def test_each_rung_has_its_verdict(seen: Seen, verdicts: list[str]) -> None:
    rungs = judge(seen)

    assert [rung.verdict for rung in rungs] == verdicts
    assert all(rung.hint for rung in rungs if rung.verdict == "broken")


def test_on_loopback_our_own_announcement_comes_back() -> None:
    seen = look(interfaces=["127.0.0.1"], seconds=1.0)

    assert (seen.addresses, seen.mdns_error, seen.hears_itself) == (("127.0.0.1",), "", True)


def test_without_an_address_nothing_is_sent() -> None:
    assert look(interfaces=["::1"], seconds=0) == Seen(())
