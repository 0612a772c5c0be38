"""The words by which a host learns whether to wait, to stop, or that something is broken."""

import pytest

from agent.protocol.approval import parse_outcome, render_refused, render_waiting


def test_waiting_names_the_machine_and_the_tail_of_its_hash() -> None:
    message = render_waiting("press-7", tpm_hash="0" * 56 + "1234abcd")

    assert message == "waiting for approval: press-7 (TPM …1234abcd) must be approved on the appliance"
    assert parse_outcome(message) == "waiting"


def test_a_machine_without_a_tpm_waits_too() -> None:
    remarked = render_waiting("press-7", remark="label site: the host sent no value for ${Rack/Unit}")
    assert remarked.endswith("on the appliance. label site: the host sent no value for ${Rack/Unit}")
    assert parse_outcome(remarked) == "waiting"
    assert render_waiting("press-7") == "waiting for approval: press-7 must be approved on the appliance"


def test_a_refusal_carries_its_reason() -> None:
    assert render_refused("not ours") == "refused: not ours"
    assert parse_outcome("refused: not ours") == "refused"


@pytest.mark.parametrize("message", ["", "MachineInventory not found", "it was refused"])
def test_anything_else_is_a_failure(message: str) -> None:
    assert parse_outcome(message) == "failed"
