"""From the name that a person gives an image to what hosts pull: the mirror's address and a digest."""

from appliance.controllers.settings import ImageUnresolved
from mirror.errors import MirrorError
from mirror.oci import parse_reference
from mirror.registry import Registry


class MirrorImages:
    """Answers from the mirror's own files, so it works while the mirror's process restarts."""

    def __init__(self, registry: Registry, address: str) -> None:
        self._registry = registry
        self._address = address

    def resolve(self, reference: str) -> str:
        """Return `HOST:PORT/repository@sha256:…`. Blocks on the disk. Raises ImageUnresolved.

        An image of another registry passes only by digest: we cannot ask that registry what a tag means.
        """
        try:
            wanted = parse_reference(reference.removeprefix("oci://").removeprefix("oci:"))
            if wanted.registry not in ("", self._address):
                if wanted.digest:
                    return f"{wanted.registry}/{wanted.repository}@{wanted.digest}"
                raise ImageUnresolved(
                    f"{reference} is not in this mirror ({self._address}) and has no digest"
                )
            found = self._registry.get_manifest(wanted.repository, wanted.digest or wanted.tag or "latest")
        except MirrorError as error:
            raise ImageUnresolved(f"the mirror does not hold {reference}: {error}") from error
        return f"{self._address}/{wanted.repository}@{found.digest}"
