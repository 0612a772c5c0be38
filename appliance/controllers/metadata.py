"""Metadata: which operator answers here, for user interfaces that ask before they show anything.

Written once at each start, where upstream's chart writes it: named after the release, in its namespace.
"""

from appliance.resources.meta import Document
from appliance.resources.metadata import METADATA
from appliance.store.base import Patch, Store

NAME = "elemental-operator"
NAMESPACE = "cattle-elemental-system"
MANAGER = "skerry"


async def write_metadata(store: Store, *, version: str, server_url: str) -> None:
    """Say that this version of the appliance is the operator here; what others added stays."""
    body: Document = {
        "apiVersion": METADATA.api_version,
        "kind": METADATA.kind,
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {"appVersion": version, "annotations": {"skerry.dev/server-url": server_url}},
    }
    await store.patch(
        METADATA, NAME, Patch(type="apply", body=body, manager=MANAGER, force=True), namespace=NAMESPACE
    )
