"""Lists of expected hosts, what machines claim, and who claims the same: the pure parts."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.protocol.documents import JSON
from appliance.hosts.claims import (
    Claims,
    clean_mac,
    clean_serial,
    clean_uuid,
    find_changes,
    read_claims,
    recorded_claims,
)
from appliance.hosts.expected import MAX_BYTES, MAX_LINES, ListInvalid, parse_expected
from appliance.hosts.identities import MAX_CLASHES, Identities, describe_clashes

HASH = "ab" * 32
UUID = "4c4c4544-0051-3610-8052-b4c04f564231"
LIST = f"""EK_hash, serial,mac,uuid,note
{HASH.upper()},,,,by its TPM
,SN-1,02-FC-00-00-00-01,,both must be right

,,,{UUID},
,,02:fc:00:00:00:02,,
"""


def test_a_machine_is_found_by_its_proved_tpm_before_all_it_says() -> None:
    listed = parse_expected(f"\ufeff{LIST}")

    found = listed.find(HASH, Claims(serial="SN-1", macs=("02:fc:00:00:00:01",)))

    assert found is not None
    assert (found.line, found.key, found.note) == (2, f"ek={HASH[:16]}", "by its TPM")


@pytest.mark.parametrize(
    ("claims", "line"),
    [
        (Claims("SN-1", "", ("02:fc:00:00:00:01",)), 3),
        (Claims("SN-1", "", ()), None),
        (Claims("", "", ("02:fc:00:00:00:01",)), None),
        (Claims("", UUID, ()), 5),
        (Claims("SN-9", "", ("02:fc:00:00:00:02", "02:fc:00:00:00:09")), 6),
        (Claims(), None),
    ],
    ids=["all", "half", "other half", "uuid", "one of its macs", "nothing"],
)
def test_a_line_fits_when_all_of_it_does(claims: Claims, line: int | None) -> None:
    found = parse_expected(LIST).find("cd" * 32, claims)

    assert (found.line if found else None) == line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "line 1 must name columns", id="empty"),
        pytest.param("name,serial\n", "line 1 must name columns", id="unknown column"),
        pytest.param("serial,serial\n", "line 1 must name columns", id="column twice"),
        pytest.param("serial,mac\nSN-1\n", "line 2 has 1 columns, not 2", id="short line"),
        pytest.param("ek_hash\nabc\n", "line 2: the ek_hash is not 64 hex digits", id="short hash"),
        pytest.param("mac\n01:00:5e:00:00:01\n", "is no mac that tells", id="multicast"),
        pytest.param("serial\nTo be filled by O.E.M.\n", "is no serial that tells", id="filler"),
        pytest.param("uuid\nff\n", "is no uuid that tells", id="bad uuid"),
        pytest.param("serial,note\n,only a note\n", "line 2 names no machine", id="no machine"),
        pytest.param("serial\nSN-1\nSN-1\n", "line 3 is the machine of line 2", id="twice"),
        pytest.param('serial\n"SN-1\n', "is no CSV", id="open quote"),
        pytest.param("serial\0\n", "is not text", id="nul"),
        pytest.param("serial\n" + "x" * MAX_BYTES, "over", id="too large"),
        pytest.param("serial\n" + "\n" * (MAX_LINES + 1), "more than", id="too long"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ListInvalid, match=said):
        parse_expected(text)


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    with suppress(ListInvalid):
        assert all(host.key for host in parse_expected(f"serial,mac\n{text}").hosts)


SENT: dict[str, JSON] = {
    "System Information": {"Serial Number": " SN-1 ", "UUID": UUID.upper()},
    "Network": {
        "TotalNICs": "2",
        "NICs": {
            "0": {"Name": "eth0", "MacAddress": "02:FC:00:00:00:01", "IsVirtual": "false"},
            "1": {"Name": "docker0", "MacAddress": "02:42:00:00:00:01", "IsVirtual": "true"},
        },
    },
    "System Data": {"Network": {"eth1": {"MacAddress": "02:fc:00:00:00:02"}}},
}


def test_claims_are_read_from_all_places_and_remembered() -> None:
    claims = read_claims(SENT)

    assert claims == Claims("SN-1", UUID, ("02:fc:00:00:00:01", "02:fc:00:00:00:02"))
    assert recorded_claims(claims.annotations()) == claims
    assert Claims().annotations() == {}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["MacAddress", "Network", "IsVirtual", "Serial Number", "UUID", "x"]), inner
            )
        ),
    )
)
def test_whatever_shape_a_machine_sends_is_read(tree: JSON) -> None:
    claims = read_claims({"System Information": tree, "Network": tree, "System Data": {"Network": tree}})

    assert recorded_claims(claims.annotations()).macs == claims.macs


@pytest.mark.parametrize(
    ("clean", "filler"),
    [
        (clean_serial, "Default string"),
        (clean_serial, "0000000"),
        (clean_serial, ["SN"]),
        (clean_uuid, "00000000-0000-0000-0000-000000000000"),
        (clean_uuid, "03000200-0400-0500-0006-000700080009"),
        (clean_mac, "ff:ff:ff:ff:ff:ff"),
        (clean_mac, "00:00:00:00:00:00"),
        (clean_mac, 7),
    ],
)
def test_what_every_board_says_is_nothing(clean: object, filler: object) -> None:
    assert callable(clean)
    assert clean(filler) == ""


def test_only_serial_and_uuid_changing_is_worth_a_doubt() -> None:
    before, now = Claims("A-1", UUID, ("02:fc:00:00:00:01",)), Claims("A-2", UUID, ("02:fc:00:00:00:02",))

    assert find_changes(before, now) == "serial A-2, which was A-1"
    assert find_changes(Claims(), now) == ""
    assert find_changes(before, Claims()) == ""


def test_everybody_concerned_by_a_change_is_named() -> None:
    identities = Identities()
    a, b, c = ("ns", "a"), ("ns", "b"), ("ns", "c")

    assert identities.put(a, Claims("SN-1")) == {a}
    assert identities.put(b, Claims("SN-1", macs=("m",))) == {a, b}
    assert identities.put(b, Claims("SN-1", macs=("m",))) == set()
    assert identities.put(c, Claims(macs=("m",))) == {b, c}
    assert identities.find_clashes(b, Claims("SN-1", macs=("m",))) == [(a, "serial=SN-1"), (c, "mac=m")]
    assert identities.forget(b) == {a, c}
    assert identities.forget(b) == set()
    assert identities.find_clashes(None, Claims("SN-1")) == [(a, "serial=SN-1")]


def test_a_crowd_with_one_serial_costs_no_more_than_a_few() -> None:
    identities = Identities()

    concerned = [len(identities.put(("ns", f"m{number:04}"), Claims("SN-1"))) for number in range(500)]

    assert max(concerned) == MAX_CLASHES + 1
    assert len(identities.find_clashes(None, Claims("SN-1"))) == MAX_CLASHES


def test_many_doubles_are_told_in_few_words() -> None:
    clashes = [(("ns", f"m{number}"), "serial=1") for number in range(5)]

    assert describe_clashes(clashes) == (
        "serial=1 is also m0's; serial=1 is also m1's; serial=1 is also m2's, and more"
    )
    assert describe_clashes([]) == ""
