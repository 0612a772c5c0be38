"""Which entry a machine is, and when two claims are a conflict."""

from appliance.inventory.matching import Claim, Known, Match, match

ONE = Known(1, {"tpm": "t1", "uid": "u1"})
TWO = Known(2, {"tpm": "t2", "uid": "u2"})
HEARD = Known(3, {})


def test_a_machine_that_was_never_seen_is_new() -> None:
    assert match([("tpm", "t9"), ("serial", "s9")], {}) == Match(None)


def test_a_tpm_outweighs_a_serial_and_the_claim_is_shown() -> None:
    found = {("tpm", "t1"): [ONE], ("serial", "s"): [ONE, TWO]}

    assert match([("serial", "s"), ("tpm", "t1")], found) == Match(1, (Claim("serial", "s", 2),))


def test_another_tpm_with_the_same_serial_is_another_machine_and_a_conflict() -> None:
    assert match([("tpm", "t9"), ("serial", "s")], {("serial", "s"): [ONE]}) == Match(
        None, (Claim("serial", "s", 1),)
    )


def test_a_serial_finds_a_machine_that_showed_no_tpm() -> None:
    assert match([("tpm", "t9"), ("serial", "s")], {("serial", "s"): [HEARD]}) == Match(3)


def test_a_serial_goes_before_a_mac() -> None:
    found = {("serial", "s"): [HEARD], ("mac", "m"): [Known(4, {})]}

    assert match([("mac", "m"), ("serial", "s")], found) == Match(3, (Claim("mac", "m", 4),))


def test_a_record_of_ones_own_goes_before_a_tpm_that_two_records_have() -> None:
    found = {("tpm", "t"): [Known(1, {"tpm": "t", "uid": "u1"}), Known(2, {"tpm": "t", "uid": "u2"})]}
    found[("uid", "u2")] = [found[("tpm", "t")][1]]

    assert match([("tpm", "t"), ("uid", "u2")], found) == Match(2, (Claim("tpm", "t", 1),))


def test_a_second_record_of_one_tpm_is_a_second_entry_and_a_conflict() -> None:
    found = {("tpm", "t1"): [ONE]}

    assert match([("tpm", "t1"), ("uid", "u9")], found) == Match(None, (Claim("tpm", "t1", 1),))


def test_a_new_record_takes_the_place_of_one_that_is_gone() -> None:
    gone = Known(1, {"tpm": "t1", "uid": ""})

    assert match([("tpm", "t1"), ("uid", "u9")], {("tpm", "t1"): [gone]}) == Match(1)
    assert match([("tpm", "t1"), ("uid", "u9")], {("tpm", "t1"): [ONE]}, has_one_record=True) == Match(1)


def test_a_sign_that_two_machines_have_chooses_neither() -> None:
    matched = match([("serial", "s")], {("serial", "s"): [ONE, TWO]})

    assert matched.entry is None
    assert {claim.other for claim in matched.claims} == {1, 2}
