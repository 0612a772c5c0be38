"""Who uses a ManagedOSVersion: by what objects really name, not by a label that may be stale (D18)."""

from appliance.resources.managed_os_image import MANAGED_OS_IMAGE
from appliance.resources.meta import Document, decode
from appliance.resources.rollout import ROLLOUT, Rollout
from appliance.resources.seed_image import SEED_IMAGE
from appliance.rollout import is_finished
from appliance.store.base import Selection, Store


async def find_user(store: Store, version: Document) -> str:
    """`Kind name` of one object that needs the version; empty if nothing does."""
    name = version["metadata"]["name"]
    here = Selection(namespace=version["metadata"].get("namespace", ""))
    for document in (await store.list(MANAGED_OS_IMAGE, here)).items:
        if named_version(document) == name:
            return f"ManagedOSImage {document['metadata']['name']}"
    for document in (await store.list(ROLLOUT, here)).items:
        if named_version(document) == name and not is_finished(decode(Rollout, document).status.phase):
            return f"Rollout {document['metadata']['name']}"
    images = version_images(version)
    for document in (await store.list(SEED_IMAGE, here)).items:
        if (document.get("spec") or {}).get("baseImage") in images:
            return f"SeedImage {document['metadata']['name']}"
    return ""


def named_version(document: Document) -> str:
    """The version that an image or rollout names; upstream's `osImage` and our `image` win over it."""
    spec = document.get("spec") or {}
    if spec.get("osImage") or spec.get("image"):
        return ""
    return str(spec.get("managedOSVersionName") or "")


def version_images(version: Document) -> frozenset[str]:
    """What the version's images are called; a SeedImage names its base like that."""
    metadata = (version.get("spec") or {}).get("metadata") or {}
    found = (metadata.get(key) for key in ("upgradeImage", "uri"))
    return frozenset(image for image in found if isinstance(image, str) and image)
