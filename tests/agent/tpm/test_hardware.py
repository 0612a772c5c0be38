"""A real TPM 2.0 (swtpm, through tpm2-pytss) against our verifier and our handshake."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.errors import AgentError
from agent.facts import NO_FACTS
from agent.identity import TpmIdentity
from agent.protocol.client_config import Registration
from agent.protocol.credential import make_credential
from agent.protocol.errors import CredentialRejected
from agent.register import Registered, authorize, converse
from appliance.attestation.verifier import Trusted, verify
from tests.agent.tpm import swtpm
from tests.simulators.appliance_end import ApplianceEnd

if TYPE_CHECKING:
    from agent.tpm.hardware import HardwareTpm

pytestmark = pytest.mark.tpm

SECRET = bytes(range(32))


@pytest.fixture(scope="module", params=[True, False], ids=["with certificate", "without certificate"])
def tcti(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with swtpm.running(tmp_path_factory.mktemp("tpm"), certificate=request.param) as tcti:
        yield tcti


@pytest.fixture
def tpm(tcti: str) -> "Iterator[HardwareTpm]":
    from agent.tpm.hardware import HardwareTpm

    tpm = HardwareTpm(tcti)
    yield tpm
    tpm.close()


def trusted(tpm: "HardwareTpm") -> Trusted:
    verdict = verify(tpm.attest())
    assert isinstance(verdict, Trusted), verdict
    return verdict


def test_the_verifier_believes_it(tpm: "HardwareTpm", request: pytest.FixtureRequest) -> None:
    verdict = trusted(tpm)

    assert (verdict.endorsement.certificate is not None) == ("with certificate" in request.node.name)


def test_the_hash_is_the_tpms_and_not_the_conversations(tpm: "HardwareTpm") -> None:
    first, second = trusted(tpm), trusted(tpm)

    assert first.tpm_hash == second.tpm_hash
    assert first.attestation_name != second.attestation_name


def test_it_opens_what_was_sealed_for_it_and_nothing_else(tpm: "HardwareTpm") -> None:
    verdict = trusted(tpm)
    sealed = make_credential(verdict.endorsement_key, verdict.attestation_name, secret=SECRET)
    for_another = make_credential(verdict.endorsement_key, b"\x00\x0b" + bytes(32), secret=SECRET)

    assert tpm.activate(sealed) == SECRET
    with pytest.raises(CredentialRejected):
        tpm.activate(for_another)


def test_it_registers(tpm: "HardwareTpm") -> None:
    identity = TpmIdentity(tpm)
    end = ApplianceEnd(authorize(identity))

    outcome = converse(
        end,
        identity,
        facts=NO_FACTS,
        annotations={"auth": tpm.auth},
        labels={},
        updating=False,
        local=Registration(),
    )

    assert isinstance(outcome, Registered)
    assert end.registrants[0].annotations == {"auth": "tpm"}


def test_it_leaves_nothing_behind(tpm: "HardwareTpm") -> None:
    """A TPM has room for three transient keys: a leak would show within a few conversations."""
    for _ in range(8):
        verdict = trusted(tpm)
        tpm.activate(make_credential(verdict.endorsement_key, verdict.attestation_name, secret=SECRET))


def test_no_tpm_there_is_said_in_words(tmp_path: Path) -> None:
    from agent.tpm.hardware import HardwareTpm

    with pytest.raises(AgentError, match="cannot open the TPM"):
        HardwareTpm(f"swtpm:path={tmp_path}/nobody")
