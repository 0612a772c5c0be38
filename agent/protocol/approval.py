"""How a host tells "wait for a person" and "no" apart from other errors: the first words of an Error message.

Elemental's own client only prints the text and tries again later, so both ends stay compatible.
"""

from typing import Literal

WAITING_FOR_APPROVAL = "waiting for approval"
REFUSED = "refused"

Outcome = Literal["waiting", "refused", "failed"]


def render_waiting(name: str, *, tpm_hash: str = "", remark: str = "") -> str:
    """The Error text for a machine that a person has yet to approve, and a remark for its screen."""
    proof = f" (TPM …{tpm_hash[-8:]})" if tpm_hash else ""
    waiting = f"{WAITING_FOR_APPROVAL}: {name}{proof} must be approved on the appliance"
    return f"{waiting}. {remark}" if remark else waiting


def render_refused(reason: str) -> str:
    """The Error text for a machine that a person has rejected."""
    return f"{REFUSED}: {reason}"


def parse_outcome(message: str) -> Outcome:
    """What an Error message in answer to Get means for the host."""
    if message.startswith(WAITING_FOR_APPROVAL):
        return "waiting"
    if message.startswith(REFUSED):
        return "refused"
    return "failed"
