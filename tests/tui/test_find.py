import pytest

from tests.tui.factories import ago, make_host, make_pending
from tui.find import find_hosts

FLEET = [
    make_host("host-1"),
    make_host("host-2", "Failed", version="v2.0.0", labels={"line": "7"}),
    make_host("host-3", "Upgrading", addresses=["10.1.2.3"], last_seen=ago(hours=1)),
    make_pending("host-9"),
]


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("", ["host-2", "host-9", "host-3", "host-1"]),
        ("host-3", ["host-3"]),
        ("10.1.2", ["host-3"]),
        ("LINE=7", ["host-2"]),
        ("v1.0 ready", ["host-1"]),
        ("!v1.0.0 !waiting", ["host-2"]),
        ("upgrading !host-3", []),
        ("!", []),
    ],
)
def test_every_typed_word_narrows_the_list(typed: str, names: list[str]) -> None:
    found = find_hosts(FLEET, typed=typed, order="STATE")

    assert found == [f"fleet-default/{name}" for name in names]


def test_a_host_is_found_by_the_tail_of_its_tpm_hash() -> None:
    found = find_hosts(FLEET, typed=FLEET[0].tpm_hash[-6:], order="NAME")

    assert found == ["fleet-default/host-1"]


def test_orders_differ() -> None:
    by_name = find_hosts(FLEET, typed="", order="NAME")
    by_seen = find_hosts(FLEET, typed="", order="SEEN")

    assert by_name[0].endswith("host-1")
    assert by_seen[:2] == ["fleet-default/host-9", "fleet-default/host-3"]
