"""What a host remembers of its registration: that there was one, and which emulated TPM it used.

The file is Elemental's, key for key, so either client can continue where the other stopped. It holds no
secret: an emulated TPM's seed protects nothing.
"""

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from agent.durable import make_directories, write_durably
from agent.errors import StateInvalid
from agent.protocol.documents import as_object, parse_yaml, render_yaml
from agent.protocol.errors import ProtocolError

MAX_STATE_BYTES = 64 * 1024
NEVER = "0001-01-01T00:00:00Z"  # Go's zero time, which Elemental's client writes for "not yet"


class RegistrationState(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename={
        "initial_registration": "initialRegistration",
        "emulated_tpm": "emulatedTPM",
        "emulated_tpm_seed": "emulatedTPMSeed",
    },
    omit_defaults=True,
):
    """`initial_registration` is RFC 3339 text, empty before the first success; never refreshed."""

    initial_registration: str = ""
    emulated_tpm: bool = False
    emulated_tpm_seed: int = 0

    @property
    def is_registered(self) -> bool:
        return self.initial_registration not in ("", NEVER)


def load_state(path: Path) -> RegistrationState:
    """Read the file; a missing or empty one is a host that never registered. Raises StateInvalid."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_STATE_BYTES + 1)
    except FileNotFoundError:
        return RegistrationState()
    try:
        document = parse_yaml(content, what=str(path), limit=MAX_STATE_BYTES)
        return msgspec.convert(as_object(document, what=str(path)), RegistrationState)
    except (ProtocolError, msgspec.ValidationError) as error:
        raise StateInvalid(
            f"the registration state {path} cannot be read: {error}",
            hint="delete it to register from scratch",
        ) from error


def write_state(path: Path, state: RegistrationState) -> None:
    make_directories(path.parent)
    write_durably(path, render_yaml(msgspec.to_builtins(state)), mode=0o600)


def mark_registered(state: RegistrationState, *, at: datetime) -> RegistrationState:
    """The state after a success: the first one's time stays."""
    if state.is_registered:
        return state
    time = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return msgspec.structs.replace(state, initial_registration=time)
