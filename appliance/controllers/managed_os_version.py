"""ManagedOSVersion: may not go while something still upgrades to it.

Upstream asks a label that it never removes (D18); we look at what the images and rollouts really name.
"""

from collections.abc import Iterable, Sequence

from appliance.controllers.manager import DONE, Result, Watch
from appliance.controllers.queue import Key
from appliance.controllers.settings import ControllerSettings
from appliance.controllers.writes import write_changes
from appliance.resources.managed_os_image import MANAGED_OS_IMAGE
from appliance.resources.managed_os_version import MANAGED_OS_VERSION, ManagedOSVersion
from appliance.resources.meta import Document, Kind, decode
from appliance.resources.rollout import ROLLOUT, Rollout
from appliance.rollout import is_finished
from appliance.store.base import NotFound, Selection, Store

FINALIZER = "managedosversion.elemental.cattle.io"
RECHECK_SECONDS = 30.0


class ManagedOSVersionController:
    def __init__(self, store: Store, settings: ControllerSettings) -> None:
        self._store = store

    @property
    def kind(self) -> Kind:
        return MANAGED_OS_VERSION

    @property
    def watches(self) -> Sequence[Watch]:
        return (Watch(MANAGED_OS_IMAGE, _named_version), Watch(ROLLOUT, _named_version))

    async def reconcile(self, key: Key) -> Result:
        """Hold a version with a finalizer; let it go when nothing names it."""
        try:
            document = await self._store.get(self.kind, key.name, namespace=key.namespace)
        except NotFound:
            return DONE
        metadata = decode(ManagedOSVersion, document).metadata
        if metadata.deletion_timestamp is None:
            if FINALIZER not in metadata.finalizers:
                await self._write_finalizers(document, [*metadata.finalizers, FINALIZER])
            return DONE
        if FINALIZER not in metadata.finalizers:
            return DONE
        if await self._is_used(key):
            # An image that stops naming the version no longer leads here, so look again now and then.
            return Result(again_in=RECHECK_SECONDS)
        await self._write_finalizers(document, [name for name in metadata.finalizers if name != FINALIZER])
        return DONE

    async def _is_used(self, key: Key) -> bool:
        here = Selection(namespace=key.namespace)
        for document in (await self._store.list(MANAGED_OS_IMAGE, here)).items:
            if key in _named_version(document):
                return True
        for document in (await self._store.list(ROLLOUT, here)).items:
            if key in _named_version(document) and not is_finished(decode(Rollout, document).status.phase):
                return True
        return False

    async def _write_finalizers(self, document: Document, finalizers: list[str]) -> None:
        await write_changes(self._store, self.kind, document, {"metadata": {"finalizers": finalizers}})


def _named_version(document: Document) -> Iterable[Key]:
    """The version that an image or rollout names; upstream's `osImage` and our `image` win over it."""
    spec = document.get("spec") or {}
    name = spec.get("managedOSVersionName")
    if not name or spec.get("osImage") or spec.get("image"):
        return []
    return [Key(document["metadata"].get("namespace", ""), name)]
