"""Metadata: which operator answers here, for user interfaces that ask before they show anything.

Written once at each start, where upstream's chart writes it: named after the release, in its namespace. It is
a courtesy: where it cannot be written, everything else works.
"""

import logging
from contextlib import suppress

from appliance.resources.core import NAMESPACE as NAMESPACE_KIND
from appliance.resources.meta import Document
from appliance.resources.metadata import METADATA
from appliance.store.base import AlreadyExists, NotFound, Patch, Store, StoreError

log = logging.getLogger(__name__)

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
    patch = Patch(type="apply", body=body, manager=MANAGER, force=True)
    try:
        try:
            await store.patch(METADATA, NAME, patch, namespace=NAMESPACE)
        except NotFound:  # a cluster wants the namespace first
            with suppress(AlreadyExists):
                await store.create(NAMESPACE_KIND, {"metadata": {"name": NAMESPACE}})
            await store.patch(METADATA, NAME, patch, namespace=NAMESPACE)
    except StoreError as error:
        log.warning("Metadata %s/%s cannot be written: %s", NAMESPACE, NAME, error)
