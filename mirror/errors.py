"""Everything the mirror raises on purpose. The wire's statuses and codes are chosen in `mirror.distribution`.

MirrorError
├── NameInvalid           a repository, tag or reference that breaks the grammar
├── NameUnknown           no such repository
├── DigestInvalid         a digest that breaks the grammar, or content that has another digest
├── BlobUnknown           the repository has no such blob
├── ManifestUnknown       the repository has no such manifest or tag
├── ManifestInvalid       a manifest that cannot be read as what it says it is
├── ManifestBlobUnknown   a manifest that names a blob its repository has not
├── SizeInvalid           content of another length than was announced
├── TooLarge              over a limit of this mirror
├── NoSpace               the disk is full, or would fall below the free-space floor
├── UploadUnknown         no such upload session: finished, cancelled or expired
├── UploadBusy            another request is writing to the same session
├── TooManyUploads        over the limit of open sessions
├── OutOfOrder            a chunk that does not start where the upload ends
├── RequestInvalid        a request that makes no sense whatever the mirror holds
├── Unsupported           a request the mirror understands and does not do
├── IndexTooNew           the index on disk was written by a newer mirror
├── IndexMissing          the index is gone or half rebuilt, and what the mirror holds is not
├── MirrorBusy            something that needs the mirror for itself, and others have it open
├── SettingInvalid        a file of passwords or rules that cannot be used
├── CredentialsInvalid    credentials that are wrong, or cannot be read
└── TransferFailed        another registry or layout could not be read or written
"""


class MirrorError(Exception):
    """A sentence that names the thing; `hint` says what to do, if there is something."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class NameInvalid(MirrorError):
    pass


class NameUnknown(MirrorError):
    pass


class DigestInvalid(MirrorError):
    pass


class BlobUnknown(MirrorError):
    pass


class ManifestUnknown(MirrorError):
    pass


class ManifestInvalid(MirrorError):
    pass


class ManifestBlobUnknown(MirrorError):
    pass


class SizeInvalid(MirrorError):
    pass


class TooLarge(MirrorError):
    pass


class NoSpace(MirrorError):
    pass


class UploadUnknown(MirrorError):
    pass


class UploadBusy(MirrorError):
    pass


class TooManyUploads(MirrorError):
    pass


class OutOfOrder(MirrorError):
    """`offset` is where the next chunk must start."""

    def __init__(self, message: str, *, offset: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.offset = offset


class RequestInvalid(MirrorError):
    pass


class Unsupported(MirrorError):
    pass


class IndexTooNew(MirrorError):
    pass


class IndexMissing(MirrorError):
    pass


class MirrorBusy(MirrorError):
    pass


class SettingInvalid(MirrorError):
    pass


class CredentialsInvalid(MirrorError):
    pass


class TransferFailed(MirrorError):
    pass
