"""ManagedOSImage: becomes a Rollout of the same name, or a Plan where the system-upgrade-controller runs.

Where Elemental hands the work to Fleet, the embedded mode has its own Rollout, which the image owns and keeps
in step; what becomes of it is copied into the image's conditions. The user's spec is never written to (D16),
and what is wrong with it becomes a condition (D17).
"""

from collections.abc import Iterable, Sequence

import msgspec

from appliance.controllers.cluster_targets import LOCAL_NAMESPACE, find_exclusion
from appliance.controllers.events import Recorder
from appliance.controllers.manager import DONE, Result, Watch, owner_keys
from appliance.controllers.owners import is_owned, render_owner
from appliance.controllers.queue import Key
from appliance.controllers.settings import ControllerSettings
from appliance.controllers.upgrade_plan import NAMESPACE, OWNER, name_plan, render_upgrade
from appliance.controllers.writes import replace_by, set_condition, write_changes, write_status
from appliance.resources.managed_os_image import MANAGED_OS_IMAGE, ManagedOSImage
from appliance.resources.managed_os_version import MANAGED_OS_VERSION, ManagedOSVersion
from appliance.resources.meta import Condition, ConditionStatus, Document, Kind, decode, find_condition
from appliance.resources.rollout import ROLLOUT, Rollout
from appliance.resources.system_upgrade_plan import SYSTEM_UPGRADE_PLAN, SystemUpgradePlan
from appliance.store.base import AlreadyExists, Conflict, NotFound, Patch, Store

FINALIZER = "managedosimage.skerry.dev"  # only where a Plan in another namespace must go with the image
MANAGER = "skerry-managed-os-images"
RETRY_SECONDS = 15.0
RECHECK_SECONDS = 60.0  # a version that changes, and what is taken away by hand, leads to no watch of ours
VERSION_LABEL = "elemental.cattle.io/managed-os-version-name"
OWNED_SPEC = ("image", "managedOSVersionName", "selector", "maxUnavailable", "cloudConfig")


class InvalidImage(Exception):
    """The image's spec cannot be carried out; the sentence says why."""

    def __init__(self, message: str, *, reason: str = "InvalidSpec") -> None:
        super().__init__(message)
        self.reason = reason


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
        return (
            Watch(ROLLOUT, owner_keys(MANAGED_OS_IMAGE)),
            Watch(SYSTEM_UPGRADE_PLAN, _plan_owner),
        )

    async def reconcile(self, key: Key) -> Result:
        """Keep what carries the image out, the version label and the conditions in step with the spec."""
        try:
            document = await self._store.get(self.kind, key.name, namespace=key.namespace)
        except NotFound:
            return DONE
        image = decode(ManagedOSImage, document)
        if image.metadata.deletion_timestamp is not None:
            await self._finish(document, image)
            return DONE
        document = await self._label(document, image)
        try:
            _check(image)
            excluded = find_exclusion(image.spec.cluster_targets)
            if excluded:
                await self._withdraw(image)
                ready = Condition(type="Ready", status="False", reason="NotTargeted", message=excluded)
                await self._tell(document, image, "nothing is to be carried out here", [ready])
            elif await self._store.has_kind(SYSTEM_UPGRADE_PLAN):
                document = await self._write_finalizers(document, {*image.metadata.finalizers, FINALIZER})
                plan = await self._ensure_plan(document, image)
                await self._tell(document, image, f"Plan {plan.metadata.name}", _judge_plan(plan))
                return Result(again_in=RECHECK_SECONDS)
            else:
                rollout = await self._ensure_rollout(image)
                conditions = [*rollout.status.conditions, _judge(rollout)]
                await self._tell(document, image, f"Rollout {rollout.metadata.name}", conditions)
        except InvalidImage as error:
            ready = Condition(type="Ready", status="False", reason=error.reason, message=str(error))
            await self._tell(document, image, str(error), [ready], has_failed=True)
            return Result(again_in=RETRY_SECONDS)
        return DONE

    async def _finish(self, document: Document, image: ManagedOSImage) -> None:
        """The Rollout goes by itself; a Plan in another namespace must be told."""
        if FINALIZER in image.metadata.finalizers:
            await self._withdraw(image)
            await self._write_finalizers(document, {*image.metadata.finalizers} - {FINALIZER})

    async def _withdraw(self, image: ManagedOSImage) -> None:
        """Take back what carried the image out."""
        name, namespace = image.metadata.name, image.metadata.namespace
        try:
            rollout = await self._store.get(ROLLOUT, name, namespace=namespace)
            if is_owned(rollout, image.metadata):
                await self._store.delete(ROLLOUT, name, namespace=namespace)
        except NotFound:
            pass
        if not await self._store.has_kind(SYSTEM_UPGRADE_PLAN):
            return
        for kind, body in reversed(render_upgrade(image, {}, None, reference="")):
            metadata = body["metadata"]
            try:
                present = await self._store.get(
                    kind, metadata["name"], namespace=metadata.get("namespace", "")
                )
                if _owner_of(present) == _owner_of(body):
                    await self._store.delete(kind, metadata["name"], namespace=metadata.get("namespace", ""))
            except NotFound:
                continue

    async def _ensure_plan(self, document: Document, image: ManagedOSImage) -> SystemUpgradePlan:
        """Apply the Plan and what it needs. Raises InvalidImage."""
        version = await self._find_version(image)
        reference = image.spec.os_image
        if not reference:
            found = version.spec.metadata.get("upgradeImage") if version else None
            if version is None or version.spec.type.lower() != "container" or not isinstance(found, str):
                name = image.spec.managed_os_version_name
                raise InvalidImage(f"ManagedOSVersion {name} names no container image to upgrade to")
            reference = found
        try:
            present = await self._store.get(
                SYSTEM_UPGRADE_PLAN, name_plan(image.metadata.name), namespace=NAMESPACE
            )
            owner = _owner_of(present)
        except NotFound:
            owner = ""
        if owner not in ("", f"{image.metadata.namespace}/{image.metadata.name}"):
            raise InvalidImage(f"Plan {name_plan(image.metadata.name)} is ManagedOSImage {owner}'s")
        applied: Document = {}
        for kind, body in render_upgrade(image, document, version, reference=reference):
            metadata = body["metadata"]
            patch = Patch(type="apply", body=body, manager=MANAGER, force=True)
            applied = await self._store.patch(
                kind, metadata["name"], patch, namespace=metadata.get("namespace", "")
            )
        return decode(SystemUpgradePlan, applied)

    async def _find_version(self, image: ManagedOSImage) -> ManagedOSVersion | None:
        name = image.spec.managed_os_version_name
        if not name:
            return None
        try:
            document = await self._store.get(MANAGED_OS_VERSION, name, namespace=image.metadata.namespace)
        except NotFound as error:
            raise InvalidImage(f"there is no ManagedOSVersion {name}") from error
        return decode(ManagedOSVersion, document)

    async def _write_finalizers(self, document: Document, finalizers: set[str]) -> Document:
        changes = {"metadata": {"finalizers": sorted(finalizers)}}
        return await write_changes(self._store, self.kind, document, changes)

    async def _label(self, document: Document, image: ManagedOSImage) -> Document:
        """Upstream's label: the version in use, and gone when an image is named instead (D18)."""
        version = "" if image.spec.os_image else image.spec.managed_os_version_name
        changes = {"metadata": {"labels": {VERSION_LABEL: version or None}}}
        return await write_changes(self._store, self.kind, document, changes)

    async def _ensure_rollout(self, image: ManagedOSImage) -> Rollout:
        """The owned Rollout as it should be. Raises InvalidImage if the name is somebody else's."""
        name, namespace = image.metadata.name, image.metadata.namespace
        wanted = render_rollout(image)
        try:
            present = await self._store.get(ROLLOUT, name, namespace=namespace)
        except NotFound:
            try:
                return decode(Rollout, await self._store.create(ROLLOUT, wanted))
            except AlreadyExists as error:
                raise Conflict(f"Rollout {namespace}/{name} was made by somebody else just now") from error
        if not is_owned(present, image.metadata):
            message = f"Rollout {name} exists and is not ours; delete it or rename the image"
            raise InvalidImage(message, reason="RolloutExists")
        spec = {key: wanted["spec"].get(key) for key in OWNED_SPEC}
        for key in ("cloudConfig", "selector"):
            if isinstance(spec[key], dict):
                spec[key] = replace_by((present.get("spec") or {}).get(key), spec[key])
        return decode(Rollout, await write_changes(self._store, ROLLOUT, present, {"spec": spec}))

    async def _tell(
        self,
        document: Document,
        image: ManagedOSImage,
        message: str,
        news: Sequence[Condition],
        *,
        has_failed: bool = False,
    ) -> None:
        """Write upstream's condition that something carries the image out, and what became of that."""
        now = self._clock()
        reason = "FleetBundleCreateFailure" if has_failed else "FleetBundleCreateSuccess"
        good: ConditionStatus = "False" if has_failed else "True"
        told = {"FleetBundleCreation", *(condition.type for condition in news)}
        conditions = [condition for condition in image.status.conditions if condition.type in told]
        conditions = set_condition(conditions, "FleetBundleCreation", good, reason, message, now=now)
        for each in news:
            conditions = set_condition(conditions, each.type, each.status, each.reason, each.message, now=now)
        status = msgspec.structs.replace(image.status, conditions=conditions)
        await write_status(self._store, self.kind, document, status)
        if find_condition(conditions, "Ready"):
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
    if image.spec.cloud_config:
        spec["cloudConfig"] = image.spec.cloud_config
    return {
        "apiVersion": ROLLOUT.api_version,
        "kind": ROLLOUT.kind,
        "metadata": {
            "name": image.metadata.name,
            "namespace": image.metadata.namespace,
            "ownerReferences": [render_owner(MANAGED_OS_IMAGE, image.metadata)],
        },
        "spec": spec,
    }


def _check(image: ManagedOSImage) -> None:
    """Raise InvalidImage for what can be seen to be wrong without looking anywhere else."""
    if not image.spec.os_image and not image.spec.managed_os_version_name:
        raise InvalidImage("spec names neither osImage nor managedOSVersionName")
    if image.metadata.namespace == LOCAL_NAMESPACE and image.spec.cluster_targets:
        raise InvalidImage(f"spec.clusterTargets has no meaning in namespace {LOCAL_NAMESPACE}")


def _judge_plan(plan: SystemUpgradePlan) -> list[Condition]:
    """The Plan's conditions as they are, and whether the work is done."""
    complete = find_condition(plan.status.conditions, "Complete")
    is_done = complete is not None and complete.status == "True"
    waiting = f"applying to {', '.join(plan.status.applying)}" if plan.status.applying else ""
    ready = Condition(
        type="Ready",
        status="True" if is_done else "Unknown",
        reason="Completed" if is_done else "Progressing",
        message=waiting,
    )
    copied = [
        msgspec.structs.replace(each, reason=each.reason or "UnknownReason")
        for each in plan.status.conditions
        if each.type != "Ready"
    ]
    return [*copied, ready]


def _plan_owner(document: Document) -> Iterable[Key]:
    """The image of a Plan, which is in another namespace."""
    namespace, slash, name = _owner_of(document).partition("/")
    return [Key(namespace, name)] if slash else []


def _owner_of(document: Document) -> str:
    return str((document["metadata"].get("annotations") or {}).get(OWNER, ""))


def _judge(rollout: Rollout) -> Condition:
    status: ConditionStatus = "True" if rollout.status.phase == "Completed" else "False"
    if rollout.status.phase in ("Pending", "Progressing"):
        status = "Unknown"
    return Condition(type="Ready", status=status, reason=rollout.status.phase, message=rollout.status.reason)
