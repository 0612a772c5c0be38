"""This machine's TPM 2.0 through tpm2-pytss: the only file that imports it.

Nothing is left behind: what is persistent in the TPM is used, everything else is transient and flushed. The
endorsement key is always the RSA one, from which every client of this protocol computes the same hash.
It needs empty endorsement and owner passwords, as all of them do.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent.errors import AgentError
from agent.protocol.errors import CredentialRejected
from agent.protocol.messages import Challenge
from agent.protocol.structures import ATTESTATION_KEY_ATTRIBUTES
from agent.protocol.token import AttestationKey, TpmToken

# The C library writes its own errors to stderr; ours say the same in words.
os.environ.setdefault("TSS2_LOG", "all+NONE")

from tpm2_pytss import ESAPI, TSS2_Exception
from tpm2_pytss.constants import ESYS_TR, TPM2_ALG, TPM2_SE
from tpm2_pytss.types import (
    TPM2B_DATA,
    TPM2B_ENCRYPTED_SECRET,
    TPM2B_ID_OBJECT,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE_CREATE,
    TPMT_SIG_SCHEME,
    TPMT_SYM_DEF,
    TPMU_SIG_SCHEME,
)
from tpm2_pytss.utils import NVReadEK, create_ek_template

# TCG "EK Credential Profile" 2.2.1.5 and "TPM v2.0 Provisioning Guidance" 7.8: where these keys persist.
PERSISTENT_EK = 0x81010001
PERSISTENT_SRK = 0x81000001

ATTESTATION_KEY = "rsa2048:rsassa-sha256:null"


class HardwareTpm:
    """Satisfies `Tpm`. `tcti` names the way to it: `device:/dev/tpmrm0`, `swtpm:path=SOCKET`."""

    auth: Literal["tpm", "emulated-tpm"] = "tpm"

    def __init__(self, tcti: str) -> None:
        """Raises AgentError when there is no TPM behind `tcti`."""
        self._tcti = tcti
        self._flush: list[Callable[[], None]] = []
        try:
            self._esys: Any = ESAPI(tcti)
        except TSS2_Exception as error:
            raise _explain(error, f"cannot open the TPM at {tcti}") from error
        self._endorsement_key: Any = None
        self._attestation_key: Any = None

    def attest(self) -> TpmToken:
        """Find or make the endorsement key, make a fresh attestation key, and have its creation signed."""
        self._flush_all()
        try:
            endorsement = self._open_endorsement_key()
            return TpmToken(endorsement, self._create_attestation_key())
        except TSS2_Exception as error:
            raise _explain(error, f"the TPM at {self._tcti} cannot attest a key") from error

    def activate(self, challenge: Challenge) -> bytes:
        assert self._attestation_key is not None, "attest comes before activate"
        credential, _ = TPM2B_ID_OBJECT.unmarshal(challenge.credential)
        secret, _ = TPM2B_ENCRYPTED_SECRET.unmarshal(challenge.secret)
        try:
            session = self._esys.start_auth_session(
                ESYS_TR.NONE,
                ESYS_TR.NONE,
                TPM2_SE.POLICY,
                TPMT_SYM_DEF(algorithm=TPM2_ALG.NULL),
                TPM2_ALG.SHA256,
            )
            self._remember(session)
            self._esys.policy_secret(ESYS_TR.ENDORSEMENT, session, expiration=0)
            opened = self._esys.activate_credential(
                self._attestation_key,
                self._endorsement_key,
                credential,
                secret,
                session1=ESYS_TR.PASSWORD,
                session2=session,
            )
        except TSS2_Exception as error:
            raise CredentialRejected(f"the TPM does not open the challenge: {error}") from error
        return bytes(opened)

    def close(self) -> None:
        self._flush_all()
        self._esys.close()

    def _open_endorsement_key(self) -> bytes:
        """The key's PEM: its certificate when the TPM has one."""
        certificate, template = create_ek_template("EK-RSA2048", NVReadEK(self._esys))
        key = self._find_persistent(PERSISTENT_EK)
        if key is None:
            key, _, _, _, _ = self._esys.create_primary(None, template, ESYS_TR.ENDORSEMENT)
            self._remember(key)
        self._endorsement_key = key
        if certificate:
            return _render_certificate(bytes(certificate))
        public, _, _ = self._esys.read_public(key)
        return bytes(public.to_pem())

    def _create_attestation_key(self) -> AttestationKey:
        """A restricted signing key under the storage root key, as Elemental's client makes it."""
        parent = self._find_persistent(PERSISTENT_SRK)
        if parent is None:
            parent, _, _, _, _ = self._esys.create_primary(None, "rsa2048", ESYS_TR.OWNER)
            self._remember(parent)
        template = TPM2B_PUBLIC.parse(
            ATTESTATION_KEY, objectAttributes=ATTESTATION_KEY_ATTRIBUTES, nameAlg=TPM2_ALG.SHA256
        )
        private, public, creation_data, creation_hash, ticket = self._esys.create(
            parent, TPM2B_SENSITIVE_CREATE(), template
        )
        key = self._esys.load(parent, private, public)
        self._remember(key)
        scheme = TPMT_SIG_SCHEME(scheme=TPM2_ALG.RSASSA, details=TPMU_SIG_SCHEME())
        scheme.details.any.hashAlg = TPM2_ALG.SHA256
        attestation, signature = self._esys.certify_creation(
            key, key, TPM2B_DATA(), creation_hash, scheme, ticket
        )
        self._attestation_key = key
        return AttestationKey(
            public=bytes(public.publicArea.marshal()),
            create_data=bytes(creation_data.creationData.marshal()),
            create_attestation=bytes(attestation),
            create_signature=bytes(signature.marshal()),
        )

    def _find_persistent(self, handle: int) -> Any:
        """The RSA key that is kept at this handle; None where there is none, or one of another type."""
        try:
            key = self._esys.tr_from_tpmpublic(handle)
            public, _, _ = self._esys.read_public(key)
        except TSS2_Exception:
            return None
        if public.publicArea.type != TPM2_ALG.RSA:
            return None
        return key

    def _remember(self, handle: Any) -> None:
        self._flush.append(lambda: self._esys.flush_context(handle))

    def _flush_all(self) -> None:
        """Newest first. A session that the TPM already ended has nothing to flush."""
        while self._flush:
            with suppress(TSS2_Exception):
                self._flush.pop()()
        self._attestation_key = None


def _render_certificate(content: bytes) -> bytes:
    """PEM of the certificate as the TPM keeps it: perhaps behind a PC-client header, perhaps padded."""
    if content[:3] == b"\x10\x01\x00":
        content = content[5 : 5 + int.from_bytes(content[3:5])]
    length = 4 + int.from_bytes(content[2:4]) if content[:2] == b"\x30\x82" else len(content)
    return x509.load_der_x509_certificate(content[:length]).public_bytes(Encoding.PEM)


def _explain(error: Any, what: str) -> AgentError:
    return AgentError(
        f"{what}: {error}", hint="see that nobody else holds the TPM and that it is provisioned"
    )
