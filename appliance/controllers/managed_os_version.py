"""ManagedOSVersion: may not go while something still needs it, and says what that is.

Upstream asks a label that it never removes (D18); we look at what images, rollouts and media
really name.
"""

from collections.abc import Iterable, Sequence

from appliance.controllers.events import Recorder
from appliance.controllers.manager import DONE, Result, Watch
from appliance.controllers.queue import Key
from appliance.controllers.settings import ControllerSettings
from appliance.controllers.version_users import find_user, named_version
from appliance.controllers.writes import write_changes
from appliance.resources.managed_os_image import MANAGED_OS_IMAGE
from appliance.resources.managed_os_version import MANAGED_OS_VERSION, ManagedOSVersion
from appliance.resources.meta import Document, Kind, decode
from appliance.resources.rollout import ROLLOUT
from appliance.store.base import NotFound, Store

FINALIZER = "managedosversion.elemental.cattle.io"
RECHECK_SECONDS = 30.0


class ManagedOSVersionController:
    def __init__(self, store: Store, settings: ControllerSettings) -> None:
        self._store = store
        self._recorder = Recorder(store, clock=settings.clock)
        self._told: dict[Key, str] = {}  # who holds what: told once, not at every look

    @property
    def kind(self) -> Kind:
        return MANAGED_OS_VERSION

    @property
    def watches(self) -> Sequence[Watch]:
        return (Watch(MANAGED_OS_IMAGE, _version_key), Watch(ROLLOUT, _version_key))

    async def reconcile(self, key: Key) -> Result:
        """Hold a version with a finalizer; let it go when nothing names it."""
        try:
            document = await self._store.get(self.kind, key.name, namespace=key.namespace)
        except NotFound:
            self._told.pop(key, None)
            return DONE
        metadata = decode(ManagedOSVersion, document).metadata
        if metadata.deletion_timestamp is None:
            if FINALIZER not in metadata.finalizers:
                await self._write_finalizers(document, [*metadata.finalizers, FINALIZER])
            return DONE
        if FINALIZER not in metadata.finalizers:
            return DONE
        user = await find_user(self._store, document)
        if user:
            if self._told.get(key) != user:
                self._told[key] = user
                message = f"{user} still needs this version"
                await self._recorder.record(document, "Normal", "StillUsed", message)
            # What stops naming the version no longer leads here, so look again now and then.
            return Result(again_in=RECHECK_SECONDS)
        await self._write_finalizers(document, [name for name in metadata.finalizers if name != FINALIZER])
        return DONE

    async def _write_finalizers(self, document: Document, finalizers: list[str]) -> None:
        await write_changes(self._store, self.kind, document, {"metadata": {"finalizers": finalizers}})


def _version_key(document: Document) -> Iterable[Key]:
    name = named_version(document)
    return [Key(document["metadata"].get("namespace", ""), name)] if name else []
