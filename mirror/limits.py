"""The bounds of one mirror in size and in time, one value each; tests lower them."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """`free_space` is the floor: writes that would leave less than it on the disk are refused.

    `quota` bounds the bytes of all blobs together, those on their way in included; 0 is no bound.
    `renewal_seconds` is how old a blob's lease may be before whoever relies on the blob renews it.

    Distribution-spec 1.1 asks for manifests of at least 4 MiB to be taken.
    """

    manifest_bytes: int = 4 * MIB
    blob_bytes: int = 1024 * 1024 * MIB
    free_space: int = 64 * MIB
    quota: int = 0
    renewal_seconds: float = 60.0
    open_uploads: int = 1000
    upload_age_seconds: float = 24 * 3600
    page: int = 10_000


@dataclass(frozen=True, slots=True)
class Patience:
    """How many seconds a client may do nothing: between requests, in sending a body, in reading an answer.

    Reading gets the most: a client may unpack a layer to a slow card before it reads on.
    """

    between_requests: float = 75.0
    in_body: float = 60.0
    in_reading: float = 300.0


DEFAULT_LIMITS = Limits()
DEFAULT_PATIENCE = Patience()
