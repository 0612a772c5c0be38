"""What can be wrong with what the other end sent. Both ends catch the root at one place: the connection.

ProtocolError
├── Malformed            the bytes break their format
│   └── Unsupported      well-formed, but of a kind that this protocol does not use
├── TooLarge             more bytes than the format's limit
├── Unexpected           a message of the wrong type for this moment
└── CredentialRejected   a credential that does not open: another TPM's, or tampered with
"""


class ProtocolError(Exception):
    """A sentence about the message; `hint` says what to do, if there is something."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Malformed(ProtocolError):
    pass


class Unsupported(Malformed):
    pass


class TooLarge(ProtocolError):
    pass


class Unexpected(ProtocolError):
    pass


class CredentialRejected(ProtocolError):
    pass
