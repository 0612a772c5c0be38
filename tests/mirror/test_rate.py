"""Token buckets, with a clock that is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.rate import BURST_SECONDS, RateLimiter

HERE = "10.0.0.1"


def test_a_burst_passes_and_then_as_many_as_the_rate() -> None:
    limiter = RateLimiter(2.0)

    burst = [limiter.take(HERE, 0.0) for _ in range(10)]
    assert burst == [0.0] * 10
    assert limiter.take(HERE, 0.0) == pytest.approx(0.5)

    assert limiter.take(HERE, 0.5) == 0.0
    assert limiter.take(HERE, 0.5) == pytest.approx(0.5)


@given(st.lists(st.floats(0.0, 3.0), max_size=200), st.floats(0.5, 50.0))
def test_never_more_than_burst_and_rate_together(pauses: list[float], rate: float) -> None:
    limiter = RateLimiter(rate)
    now, passed = 0.0, 0
    for pause in pauses:
        now += pause
        passed += limiter.take(HERE, now) == 0.0

    assert passed <= max(1.0, rate * BURST_SECONDS) + rate * now + 1e-6


def test_addresses_do_not_pay_for_each_other() -> None:
    limiter = RateLimiter(0.2)

    assert limiter.take("10.0.0.1", 0.0) == 0.0
    assert limiter.take("10.0.0.1", 0.0) > 0.0
    assert limiter.take("10.0.0.2", 0.0) == 0.0


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("odd", "odd", True),
        ("", "odd", False),
    ],
)
def test_which_addresses_are_one_client(one: str, other: str, is_same: bool) -> None:
    limiter = RateLimiter(0.2)
    limiter.take(one, 0.0)

    assert (limiter.take(other, 0.0) > 0.0) is is_same


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_spared_unless_told_otherwise(address: str) -> None:
    sparing, strict = RateLimiter(0.2), RateLimiter(0.2, spares_loopback=False)

    assert [sparing.take(address, 0.0) for _ in range(5)] == [0.0] * 5
    assert [strict.take(address, 0.0) > 0.0 for _ in range(3)] == [False, True, True]


def test_the_table_does_not_grow_with_addresses() -> None:
    limiter = RateLimiter(0.2, kept=3)
    for number in range(100):
        limiter.take(f"10.0.0.{number}", 0.0)

    assert len(limiter._buckets) == 3
    assert limiter.take("10.0.0.99", 0.0) > 0.0
    assert limiter.take("10.0.0.1", 0.0) == 0.0


def test_a_clock_that_goes_back_gives_nothing() -> None:
    limiter = RateLimiter(0.2)
    limiter.take(HERE, 100.0)

    assert limiter.take(HERE, 0.0) > 0.0
