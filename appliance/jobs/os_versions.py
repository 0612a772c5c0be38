"""ManagedOSVersions of what bundles brought: an OS version under a name that people can say.

They name the mirror by its address, which can change between two starts; `refresh_versions` puts that right.
"""

import re

from appliance.api.contract import DEFAULT_NAMESPACE
from appliance.resources.managed_os_version import MANAGED_OS_VERSION
from appliance.resources.meta import Document
from appliance.store.base import Selection, Store, merge
from mirror.oci import parse_reference

BUNDLE_LABEL = "skerry.dev/bundle"
IMAGE = "skerry.dev/image"  # repository@digest, without the mirror's address
MANAGER = "skerry-bundles"


def render_version(
    *, reference: str, digest: str, version: str, display_name: str, bundle: str, mirror: str
) -> Document:
    """The document for one image of a bundle."""
    parsed = parse_reference(reference)
    image = f"{parsed.repository}@{digest}"
    return {
        "apiVersion": MANAGED_OS_VERSION.api_version,
        "kind": MANAGED_OS_VERSION.kind,
        "metadata": {
            "name": choose_name(parsed.repository, version or parsed.tag or digest[-12:]),
            "namespace": DEFAULT_NAMESPACE,
            "labels": {BUNDLE_LABEL: label_value(bundle)},
            "annotations": {IMAGE: image},
        },
        "spec": {
            "version": version or parsed.tag,
            "type": "container",
            "metadata": {"upgradeImage": f"{mirror}/{image}", "displayName": display_name or f"{reference}"},
        },
    }


def choose_name(repository: str, version: str) -> str:
    """A Kubernetes name that a person recognises: `skerry/demo-os`, `v2` make `demo-os-v2`."""
    text = f"{repository.rpartition('/')[2]}-{version}".lower()
    return re.sub(r"[^a-z0-9.]+", "-", text).strip("-.")[:253]


def label_value(text: str) -> str:
    """The part of a text that may be a label's value."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:63].strip("-._")


async def refresh_versions(store: Store, mirror: str) -> None:
    """Point every version that a bundle brought to where the mirror is now."""
    for document in (await store.list(MANAGED_OS_VERSION, Selection(labels=BUNDLE_LABEL))).items:
        metadata = document["metadata"]
        image = metadata.get("annotations", {}).get(IMAGE, "")
        wanted = f"{mirror}/{image}"
        if image and document.get("spec", {}).get("metadata", {}).get("upgradeImage") != wanted:
            await store.patch(
                MANAGED_OS_VERSION,
                metadata["name"],
                merge({"spec": {"metadata": {"upgradeImage": wanted}}}),
                namespace=metadata["namespace"],
            )
