"""ManagedOSImage: becomes a Rollout of the same name, which it owns and keeps in step.

Where Elemental hands the work to Fleet and the system upgrade controller, the embedded mode has its own
Rollout. The user's spec is never written to (D16), and what is wrong with it becomes a condition (D17).
"""

from collections.abc import Sequence

import msgspec

from appliance.controllers.events import Recorder
from appliance.controllers.manager import DONE, Result, Watch, owner_keys
from appliance.controllers.queue import Key
from appliance.controllers.settings import ControllerSettings
from appliance.controllers.writes import set_condition, write_changes, write_status
from appliance.resources.managed_os_image import MANAGED_OS_IMAGE, ManagedOSImage
from appliance.resources.meta import Condition, ConditionStatus, Document, Kind, decode
from appliance.resources.rollout import ROLLOUT, Rollout
from appliance.store.base import AlreadyExists, Conflict, NotFound, Store

VERSION_LABEL = "elemental.cattle.io/managed-os-version-name"
OWNED_SPEC = ("image", "managedOSVersionName", "selector", "maxUnavailable")


class ManagedOSImageController:
    def __init__(self, store: Store, settings: ControllerSettings) -> None:
        self._store = store
        self._clock = settings.clock
        self._recorder = Recorder(store, clock=settings.clock)

    @property
    def kind(self) -> Kind:
        return MANAGED_OS_IMAGE

    @property
    def watches(self) -> Sequence[Watch]:
        return (Watch(ROLLOUT, owner_keys(MANAGED_OS_IMAGE)),)

    async def reconcile(self, key: Key) -> Result:
        """Keep the owned Rollout, the version label and the conditions in step with the spec."""
        try:
            document = await self._store.get(self.kind, key.name, namespace=key.namespace)
        except NotFound:
            return DONE
        image = decode(ManagedOSImage, document)
        if image.metadata.deletion_timestamp is not None:
            return DONE
        document = await self._label(document, image)
        if not image.spec.os_image and not image.spec.managed_os_version_name:
            message = "spec names neither osImage nor managedOSVersionName"
            ready = Condition(type="Ready", status="False", reason="InvalidSpec", message=message)
        else:
            rollout = await self._ensure_rollout(image)
            if rollout is None:
                message = f"Rollout {key} exists and is not ours; delete it or rename the image"
                ready = Condition(type="Ready", status="False", reason="RolloutExists", message=message)
            else:
                ready = _judge(rollout)
        await self._write_ready(document, image, ready)
        return DONE

    async def _label(self, document: Document, image: ManagedOSImage) -> Document:
        """Upstream's label: the version in use, and gone when an image is named instead (D18)."""
        version = "" if image.spec.os_image else image.spec.managed_os_version_name
        changes = {"metadata": {"labels": {VERSION_LABEL: version or None}}}
        return await write_changes(self._store, self.kind, document, changes)

    async def _ensure_rollout(self, image: ManagedOSImage) -> Rollout | None:
        """The owned Rollout as it should be; None if the name is somebody else's."""
        name, namespace = image.metadata.name, image.metadata.namespace
        wanted = render_rollout(image)
        try:
            present = await self._store.get(ROLLOUT, name, namespace=namespace)
        except NotFound:
            try:
                return decode(Rollout, await self._store.create(ROLLOUT, wanted))
            except AlreadyExists as error:
                raise Conflict(f"Rollout {namespace}/{name} was made by somebody else just now") from error
        owners = present["metadata"].get("ownerReferences") or []
        if not any(owner.get("uid") == image.metadata.uid for owner in owners):
            return None
        spec = {key: wanted["spec"].get(key) for key in OWNED_SPEC}
        return decode(Rollout, await write_changes(self._store, ROLLOUT, present, {"spec": spec}))

    async def _write_ready(self, document: Document, image: ManagedOSImage, ready: Condition) -> None:
        conditions = set_condition(
            image.status.conditions, "Ready", ready.status, ready.reason, ready.message, now=self._clock()
        )
        status = msgspec.structs.replace(image.status, conditions=conditions)
        await write_status(self._store, self.kind, document, status)
        await self._recorder.record_condition(document, "Ready", image.status.conditions, conditions)


def render_rollout(image: ManagedOSImage) -> Document:
    """The Rollout that an image asks for. `osImage` wins over the version, as upstream."""
    spec: Document = {"maxUnavailable": max(1, image.spec.concurrency or 1)}
    if image.spec.os_image:
        spec["image"] = image.spec.os_image
    else:
        spec["managedOSVersionName"] = image.spec.managed_os_version_name
    if image.spec.node_selector is not None:
        spec["selector"] = msgspec.to_builtins(image.spec.node_selector)
    return {
        "apiVersion": ROLLOUT.api_version,
        "kind": ROLLOUT.kind,
        "metadata": {
            "name": image.metadata.name,
            "namespace": image.metadata.namespace,
            "ownerReferences": [
                {
                    "apiVersion": MANAGED_OS_IMAGE.api_version,
                    "kind": MANAGED_OS_IMAGE.kind,
                    "name": image.metadata.name,
                    "uid": image.metadata.uid,
                    "controller": True,
                }
            ],
        },
        "spec": spec,
    }


def _judge(rollout: Rollout) -> Condition:
    status: ConditionStatus = "True" if rollout.status.phase == "Completed" else "False"
    if rollout.status.phase in ("Pending", "Progressing"):
        status = "Unknown"
    return Condition(type="Ready", status=status, reason=rollout.status.phase, message=rollout.status.reason)
