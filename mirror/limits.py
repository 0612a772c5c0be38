"""The bounds of one mirror, in one value; tests lower them."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """`free_space` is the floor: writes that would leave less than it on the disk are refused.

    Distribution-spec 1.1 asks for manifests of at least 4 MiB to be taken.
    """

    manifest_bytes: int = 4 * MIB
    blob_bytes: int = 1024 * 1024 * MIB
    free_space: int = 64 * MIB
    open_uploads: int = 1000
    upload_age_seconds: float = 24 * 3600
    page: int = 10_000


DEFAULT_LIMITS = Limits()
