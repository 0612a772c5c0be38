"""Everything this package raises on purpose. The edge maps these to exit codes and problem documents.

BundleError
├── Refused               the bundle must not be loaded; the mirror is as it was
│   ├── NotABundle        no bundle there, or one that cannot be read as a bundle
│   ├── UnsupportedFormat made by a newer Skerry
│   ├── Unreadable        the medium does not give the file back
│   ├── Unsigned          no signature beside the manifest
│   ├── UntrustedSigner   signed by a key that this appliance does not trust
│   ├── BadSignature      the manifest is not what the signer signed
│   ├── UnsafeEntry       a link, a device or a path that leaves the bundle
│   ├── UnexpectedFile    a file that the signed manifest does not list
│   ├── MissingBlob       a listed file that is not there
│   ├── SizeMismatch      a listed file that is shorter or longer than it should be
│   ├── DigestMismatch    a listed file whose content is not what was signed
│   ├── IncompleteImage   an image that names content the bundle does not hold
│   └── TooLarge          over a size limit
├── SourceError           what was to be packed cannot be read, or is not an image
├── OutputExists          something is already where the result should go
├── NoSpace               the disk is full, or would be
├── KeyUnusable           a key file that is not a usable Ed25519 key
├── RecipeFailed          an OS image could not be built
├── Cancelled             whoever follows the progress asked to stop
└── MediaError            burning and ISO images
    ├── DeviceRefused     a target that must not be overwritten
    ├── DeviceTooSmall    a target that cannot hold the image
    ├── ReadBackMismatch  the medium does not give back what was written
    └── IsoUnusable       an ISO image that cannot be made as asked
"""


class BundleError(Exception):
    """A sentence that names the thing; `hint` says what to do, if there is something."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Refused(BundleError):
    pass


class NotABundle(Refused):
    pass


class UnsupportedFormat(Refused):
    pass


class Unreadable(Refused):
    pass


class Unsigned(Refused):
    pass


class UntrustedSigner(Refused):
    pass


class BadSignature(Refused):
    pass


class UnsafeEntry(Refused):
    pass


class UnexpectedFile(Refused):
    pass


class MissingBlob(Refused):
    pass


class SizeMismatch(Refused):
    pass


class DigestMismatch(Refused):
    pass


class IncompleteImage(Refused):
    pass


class TooLarge(Refused):
    pass


class SourceError(BundleError):
    pass


class OutputExists(BundleError):
    pass


class NoSpace(BundleError):
    pass


class KeyUnusable(BundleError):
    pass


class RecipeFailed(BundleError):
    pass


class Cancelled(BundleError):
    pass


class MediaError(BundleError):
    pass


class DeviceRefused(MediaError):
    pass


class DeviceTooSmall(MediaError):
    pass


class ReadBackMismatch(MediaError):
    pass


class IsoUnusable(MediaError):
    pass
