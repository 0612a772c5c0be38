"""What registering asks of a TPM, whichever it is; `software` and `hardware` are the two."""

from typing import Literal, Protocol

from agent.protocol.messages import Challenge
from agent.protocol.token import TpmToken


class Tpm(Protocol):
    """One TPM for one conversation at a time: `activate` answers for the key that `attest` offered last."""

    @property
    def auth(self) -> Literal["tpm", "emulated-tpm"]:
        """What the machine says of itself in its annotations."""
        ...

    def attest(self) -> TpmToken:
        """Offer the endorsement key and an attestation key that was made for this."""
        ...

    def activate(self, challenge: Challenge) -> bytes:
        """Open the secret. Raises CredentialRejected or Malformed if it was made for another TPM."""
        ...

    def close(self) -> None:
        """Give up the attestation key and the way to the TPM."""
        ...
