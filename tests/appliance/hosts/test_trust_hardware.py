"""A registration that asks for a maker's certificate, and real TPMs (swtpm) with one and without."""

from pathlib import Path

import pytest

from agent.errors import Denied
from agent.identity import TpmIdentity
from agent.register import Registered
from appliance.attestation.roots import add_roots
from appliance.hosts.judgement import EK_MAKER, EK_VERDICT
from appliance.hosts.policy import EK_CHAIN
from tests.agent.tpm import swtpm
from tests.appliance.attestation.makers import make_authority, pem
from tests.appliance.hosts.box import open_box

pytestmark = pytest.mark.tpm


def trust_authority_of(tpm: Path, box: Path) -> None:
    for path in (tpm / "ca").glob("*.pem"):
        if b"BEGIN CERTIFICATE" in path.read_bytes():
            add_roots(box / "ek-roots", path.read_bytes())


async def test_a_tpm_with_its_makers_certificate_is_genuine(tmp_path: Path) -> None:
    from agent.tpm.hardware import HardwareTpm

    with swtpm.running(tmp_path / "tpm", certificate=True) as tcti:
        tpm = HardwareTpm(tcti)
        trust_authority_of(tmp_path / "tpm", tmp_path)
        async with open_box(tmp_path, annotations={EK_CHAIN: "require"}) as box:
            outcome = await box.register(TpmIdentity(tpm))

            assert isinstance(outcome, Registered)
            (machine,) = await box.machines()
            annotations = machine.metadata.annotations
            assert annotations[EK_VERDICT].startswith("genuine: issued below CN=swtpm-localca-rootca")
            assert annotations[EK_MAKER]
        tpm.close()


@pytest.mark.parametrize(
    ("certificate", "said"),
    [(True, "issuer is not trusted here"), (False, "has no endorsement certificate")],
    ids=["of another maker", "without certificate"],
)
async def test_a_tpm_that_nobody_trusted_vouches_for_is_refused_with_the_reason(
    tmp_path: Path, certificate: bool, said: str
) -> None:
    from agent.tpm.hardware import HardwareTpm

    add_roots(tmp_path / "ek-roots", pem(make_authority("Another Maker").certificate))
    with swtpm.running(tmp_path / "tpm", certificate=certificate) as tcti:
        tpm = HardwareTpm(tcti)
        async with open_box(tmp_path, annotations={EK_CHAIN: "require"}) as box:
            with pytest.raises(Denied, match=said):
                await box.register(TpmIdentity(tpm))
            assert await box.machines() == []
        tpm.close()
