"""Image references as plans and registrations write them: `[oci:]HOST[:PORT]/repository[:tag][@sha256:…]`."""

import re
from dataclasses import dataclass

from agent.errors import ImageInvalid

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ADDRESS = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_SCHEMES = ("oci://", "docker://", "oci:", "docker:")
MAX_REFERENCE = 1024


@dataclass(frozen=True, slots=True)
class ImageReference:
    """Where an image is. At least one of `tag` and `digest` is set; the digest wins."""

    address: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.address}/{self.repository}{tag}{digest}"

    @property
    def version(self) -> str:
        """What a manifest is asked for by."""
        return self.digest or self.tag


def parse_reference(text: str) -> ImageReference:
    """Raises ImageInvalid. A registry address is required: a host never guesses one."""
    bare = next((text[len(scheme) :] for scheme in _SCHEMES if text.startswith(scheme)), text)
    address, _, rest = bare.partition("/")
    name, at, digest = rest.partition("@")
    repository, colon, tag = name.partition(":")
    if len(text) > MAX_REFERENCE or not _ADDRESS.fullmatch(address) or not _REPOSITORY.fullmatch(repository):
        raise ImageInvalid(
            f"{text[:200]!r} is not an image reference", hint="write HOST:PORT/repository@sha256:…"
        )
    if at and not DIGEST.fullmatch(digest):
        raise ImageInvalid(f"{text[:200]!r} does not end in a sha256 digest")
    if colon and not _TAG.fullmatch(tag):
        raise ImageInvalid(f"{text[:200]!r} has a malformed tag")
    return ImageReference(address, repository, tag if tag or digest else "latest", digest)
