"""Manifests of the kinds that upstream documents apply unchanged and are read back without loss."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml

from appliance.resources.kinds import KINDS
from appliance.resources.meta import Document, Kind
from appliance.resources.tidying import unknown_fields
from appliance.store.base import Patch, Store
from appliance.store.sqlite import SqliteStore

EXAMPLES = Path(__file__).parent / "examples"
KNOWN = {(kind.api_version, kind.kind): kind for kind in KINDS}

# Statuses as upstream's operator leaves them.
CONDITION = {
    "type": "Ready",
    "status": "Unknown",
    "reason": "ResourcesNotCreatedYet",
    "message": "",
    "lastTransitionTime": "2026-03-01T10:00:00Z",
}
PLAN = {"checksum": "ab", "state": "Applied", "secretRef": {"name": "press-7", "namespace": "fleet-default"}}
STATUSES: dict[str, Document] = {
    "MachineRegistration": {
        "registrationURL": "https://box.lan/elemental/registration/bcd",
        "registrationToken": "bcd",
        "serviceAccountRef": {"kind": "ServiceAccount", "name": "plant", "namespace": "fleet-default"},
    },
    "MachineInventory": {"plan": PLAN},
    "MachineInventorySelector": {
        "ready": True,
        "addresses": [{"type": "InternalIP", "address": "10.9.0.7"}],
        "bootstrapPlanChecksum": "cd",
        "machineInventoryRef": {"name": "press-7"},
    },
    "ManagedOSVersionChannel": {
        "lastSyncedTime": "2026-03-01T10:00:00Z",
        "failedSynchronizationAttempts": 2,
        "syncedGeneration": 1,
    },
    "SeedImage": {
        "downloadToken": "bcd",
        "downloadURL": "https://box.lan/elemental/seedimage/bcd/a.iso",
        "checksumURL": "https://box.lan/elemental/seedimage/bcd/a.iso.sha256",
        "state": "Completed",
    },
}


def examples() -> Iterator[tuple[str, Document]]:
    for path in sorted(EXAMPLES.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield f"{path.stem}-{document['kind']}-{document['metadata']['name']}", document


ALL = dict(examples())


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with SqliteStore.open(tmp_path / "skerry.db") as store:
        yield store


@pytest.mark.parametrize("document", ALL.values(), ids=ALL.keys())
@pytest.mark.parametrize("way", ["created", "applied"])
async def test_an_example_is_taken_as_it_is_and_nothing_of_it_is_lost(
    store: Store, document: Document, way: str
) -> None:
    kind, metadata = kind_of(document), document["metadata"]
    if way == "created":
        await store.create(kind, document)
    else:
        patch = Patch("apply", document, manager="kubectl")
        await store.patch(kind, metadata["name"], patch, namespace=metadata["namespace"])

    kept = await store.get(kind, metadata["name"], namespace=metadata["namespace"])
    assert losses(document, kept) == []
    assert unknown_fields(kind, document) == []


@pytest.mark.parametrize("name", STATUSES)
async def test_a_status_of_upstreams_is_kept_whole(store: Store, name: str) -> None:
    document = next(example for example in ALL.values() if example["kind"] == name)
    kind, metadata = kind_of(document), document["metadata"]
    status = {"conditions": [CONDITION], **STATUSES[name]}
    await store.create(kind, document)

    await store.patch(
        kind,
        metadata["name"],
        Patch("merge", {"status": status}),
        namespace=metadata["namespace"],
        subresource="status",
    )

    assert (await store.get(kind, metadata["name"], namespace=metadata["namespace"]))["status"] == status


def test_there_is_an_example_of_each_of_the_nine_kinds() -> None:
    nine = {kind.kind for kind in KINDS if kind.group == "elemental.cattle.io"}

    assert len(nine) == 9
    assert nine <= {document["kind"] for document in ALL.values()}


def kind_of(document: Document) -> Kind:
    return KNOWN[document["apiVersion"], document["kind"]]


def losses(sent: object, kept: object, path: str = "") -> list[str]:
    """Paths of what was sent and is not there, or is something else. What was added is no loss."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        return [
            lost
            for key, value in sent.items()
            for lost in (losses(value, kept[key], f"{path}.{key}") if key in kept else [f"{path}.{key}"])
        ]
    if isinstance(sent, list) and isinstance(kept, list) and len(sent) == len(kept):
        return [
            lost for one, other in zip(sent, kept, strict=True) for lost in losses(one, other, f"{path}[]")
        ]
    return [] if sent == kept else [path]
