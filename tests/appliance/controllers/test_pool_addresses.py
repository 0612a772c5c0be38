"""What an InClusterIPPool may give: a table, and hypothesis against the plain way of writing it out."""

import ipaddress
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.controllers.pool_addresses import InvalidPool, parse_pool
from appliance.resources.ipam import InClusterIPPoolSpec


def spec(*addresses: str, **more: object) -> InClusterIPPoolSpec:
    given = {"prefix": 24, **more}
    return InClusterIPPoolSpec(addresses=list(addresses), **given)  # type: ignore[arg-type]


def all_of(pool: InClusterIPPoolSpec, used: tuple[str, ...] = ()) -> list[str]:
    taken = [ipaddress.ip_address(address) for address in used]
    return [str(address) for address in islice(parse_pool(pool).free(taken), 300)]


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        (spec("10.0.0.7"), ["10.0.0.7"]),
        (spec("10.0.0.7-10.0.0.9"), ["10.0.0.7", "10.0.0.8", "10.0.0.9"]),
        (spec("10.0.0.9", "10.0.0.7-10.0.0.8", "10.0.0.8"), ["10.0.0.7", "10.0.0.8", "10.0.0.9"]),
        (spec("10.0.0.0/30"), ["10.0.0.1", "10.0.0.2"]),
        (
            spec("10.0.0.0/30", allocate_reserved_ip_addresses=True),
            ["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3"],
        ),
        (spec("10.0.0.4/31"), ["10.0.0.4", "10.0.0.5"]),
        (spec("10.0.0.4/32"), ["10.0.0.4"]),
        (spec("10.0.0.0/30", gateway="10.0.0.1"), ["10.0.0.2"]),
        (spec("10.0.0.1-10.0.0.5", excluded_addresses=["10.0.0.2-10.0.0.4"]), ["10.0.0.1", "10.0.0.5"]),
        (spec("10.0.0.1-10.0.0.3", excluded_addresses=["10.0.0.0/24"]), []),
        (spec("fd00::1-fd00::2", prefix=64), ["fd00::1", "fd00::2"]),
    ],
    ids=[
        "one", "range", "overlap", "subnet", "reserved", "pair", "single", "gateway", "hole", "none", "six",
    ],
)  # fmt: skip
def test_a_pool_gives_its_addresses_from_the_lowest_on(
    pool: InClusterIPPoolSpec, expected: list[str]
) -> None:
    assert all_of(pool) == expected
    assert parse_pool(pool).total == len(expected)


def test_what_is_in_use_is_passed_over() -> None:
    assert all_of(spec("10.0.0.1-10.0.0.3"), ("10.0.0.2",)) == ["10.0.0.1", "10.0.0.3"]


def test_a_large_subnet_is_not_written_out() -> None:
    pool = parse_pool(spec("fd00::/64", prefix=64))

    assert str(next(pool.free([]))) == "fd00::1"
    assert pool.total == 2**31 - 1
    assert ipaddress.ip_address("fd00::ffff") in pool


@pytest.mark.parametrize(
    "pool",
    [
        spec(),
        spec("nonsense"),
        spec("10.0.0.300"),
        spec("10.0.0.9-10.0.0.1"),
        spec("10.0.0.1-fd00::1"),
        spec("10.0.0.0/33"),
        spec("10.0.0.1", "fd00::1"),
        spec("10.0.0.1", prefix=33),
        spec("10.0.0.1", gateway="x"),
        spec("10.0.0.1", excluded_addresses=["x"]),
    ],
    ids=["none", "word", "octet", "backwards", "versions", "mask", "mixed", "prefix", "gateway", "excluded"],
)
def test_a_pool_that_cannot_be_read_is_refused_by_name(pool: InClusterIPPoolSpec) -> None:
    with pytest.raises(InvalidPool):
        parse_pool(pool)


ends = st.integers(min_value=0, max_value=60)
ranges = st.lists(st.tuples(ends, ends).map(sorted), min_size=1, max_size=5)


def text_of(span: list[int]) -> str:
    return f"10.0.0.{span[0]}-10.0.0.{span[1]}"


@given(spans=ranges, holes=st.lists(st.tuples(ends, ends).map(sorted), max_size=3), used=st.sets(ends))
def test_spans_are_what_writing_them_out_gives(
    spans: list[list[int]], holes: list[list[int]], used: set[int]
) -> None:
    pool = parse_pool(spec(*map(text_of, spans), excluded_addresses=list(map(text_of, holes))))
    inside = {number for first, last in spans for number in range(first, last + 1)}
    inside -= {number for first, last in holes for number in range(first, last + 1)}

    taken = [ipaddress.ip_address(f"10.0.0.{number}") for number in used]
    assert [int(str(address).rpartition(".")[2]) for address in pool.free(taken)] == sorted(inside - used)
    assert pool.total == len(inside)
    assert all(
        (ipaddress.ip_address(f"10.0.0.{number}") in pool) == (number in inside) for number in range(64)
    )
