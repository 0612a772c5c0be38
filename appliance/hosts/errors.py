"""What can go wrong between a host and its admission. Each message is sent to the host as it stands.

HostsError
├── NotAdmissible   the registration and what the host sent make no valid machine
└── Ambiguous       two machines claim the same identity; a person must delete one
"""


class HostsError(Exception):
    """A sentence about the host; `hint` says what to do, if there is something."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class NotAdmissible(HostsError):
    pass


class Ambiguous(HostsError):
    pass
