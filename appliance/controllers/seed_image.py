"""SeedImage: an installation medium of one registration, kept built, downloadable and no longer than wished.

It asks a builder (`media.MediaBuilder`) and tells what became of it. A change of the spec, the registration
or the CA is another medium, which is built in the old one's place. Names and words are upstream's; `state` is
really set, and a failure says what failed (D14).
"""

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from appliance.controllers.events import Recorder
from appliance.controllers.manager import DONE, Result, Watch, identify
from appliance.controllers.media import Build, InvalidMedium, Medium, choose_medium
from appliance.controllers.queue import Key
from appliance.controllers.settings import ControllerSettings
from appliance.controllers.writes import parse_time, set_condition, write_changes, write_status
from appliance.resources.machine_registration import MACHINE_REGISTRATION, MachineRegistration
from appliance.resources.meta import Condition, ConditionStatus, Document, Kind, decode, find_condition
from appliance.resources.seed_image import (
    DEFAULT_CLEANUP_MINUTES,
    SEED_IMAGE,
    SeedImage,
    SeedImageReason,
    SeedImageState,
    SeedImageStatus,
)
from appliance.store.base import NotFound, Store

FINALIZER = "seedimage.skerry.dev"
BUILD = "skerry.dev/build"  # annotation: counts the builds that were asked for once more
MEDIUM = "skerry.dev/medium"  # annotation: the file that is built, or was
DOWNLOAD_PATH = "/elemental/seedimage"

TOKEN_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # noqa: S105 - letters, not a secret
TOKEN_LENGTH = 54
LOOK_SECONDS = 1.0
RETRY = timedelta(minutes=5)


class SeedImageController:
    def __init__(self, store: Store, settings: ControllerSettings) -> None:
        self._store = store
        self._settings = settings
        self._media = settings.media
        self._recorder = Recorder(store, clock=settings.clock)
        # Whose medium carries which registration, so that a change of that wakes them. Filled by reconciling.
        self._registered: dict[Key, Key] = {}

    @property
    def kind(self) -> Kind:
        return SEED_IMAGE

    @property
    def watches(self) -> Sequence[Watch]:
        return (Watch(MACHINE_REGISTRATION, self._concerned),)

    async def reconcile(self, key: Key) -> Result:
        """Bring the medium, its file and its status to where they should be."""
        try:
            document = await self._store.get(self.kind, key.name, namespace=key.namespace)
        except NotFound:
            self._registered.pop(key, None)
            return DONE
        image = decode(SeedImage, document)
        if image.metadata.deletion_timestamp is not None:
            await self._finish(document, image)
            return DONE
        registration = await self._find_registration(key, image)
        document = await self._claim(document, image, registration)
        image = decode(SeedImage, document)
        rendered = self._media.render_registration(registration) if registration else b""
        if registration is None or not rendered:
            await self._media.remove(image.metadata.uid)
            name = image.spec.registration_ref.name if image.spec else ""
            lack = "has no URL yet" if registration else "does not exist"
            message = f"MachineRegistration {name} {lack}"
            await self._refuse(document, image, "RegistrationNotFound", message)
            return DONE
        try:
            build = image.metadata.annotations.get(BUILD, "")
            medium = choose_medium(image, registration, rendered, build=build)
        except InvalidMedium as error:
            await self._media.remove(image.metadata.uid)
            await self._tell(document, image, "SeedImageBuildFailure", str(error), state="Failed")
            return DONE
        if image.metadata.annotations.get(MEDIUM) != medium.name:
            # What is told must be taken back before another medium takes the place of the one it tells of.
            message = "the build has been asked for"
            document = await self._tell(document, image, "SeedImageBuildOngoing", message, state="Started")
            changes = {"metadata": {"annotations": {MEDIUM: medium.name}}}
            document = await write_changes(self._store, self.kind, document, changes)
            image = decode(SeedImage, document)
        return await self._follow(document, image, medium)

    async def _follow(self, document: Document, image: SeedImage, medium: Medium) -> Result:
        """See how far the medium is, and do what comes next."""
        now = self._settings.clock()
        told = find_condition(image.status.conditions, "SeedImageReady")
        if told and told.reason == "SeedImageBuildDeadline":
            await self._media.remove(image.metadata.uid)
            return DONE
        await self._media.remove(image.metadata.uid, keep=medium.name)
        build = await self._media.look(medium)
        match build.state:
            case "built":
                return await self._expose(document, image, medium, told, now=now)
            case "building":
                await self._tell(
                    document, image, "SeedImageBuildOngoing", "the medium is built", state="Started"
                )
                return Result(again_in=LOOK_SECONDS)
            case "failed":
                return await self._explain(document, image, medium, build, now=now)
            case "absent":
                message = "the build has been asked for"
                await self._tell(document, image, "SeedImageBuildOngoing", message, state="Started")
                await self._media.start(medium)
                return Result(again_in=LOOK_SECONDS)

    async def _expose(
        self, document: Document, image: SeedImage, medium: Medium, told: Condition | None, *, now: datetime
    ) -> Result:
        """Give out the address, until the time is up."""
        is_exposed = told is not None and told.reason == "SeedImageBuildSuccess"
        built = parse_time(told.last_transition_time, default=now) if told and is_exposed else now
        minutes = image.spec.cleanup_after_minutes if image.spec else DEFAULT_CLEANUP_MINUTES
        left = built + timedelta(minutes=minutes) - now
        if minutes > 0 and left <= timedelta():
            message = f"the image was kept for {minutes} min; set spec.retriggerBuild to build it again"
            await self._tell(document, image, "SeedImageBuildDeadline", message, state="Completed")
            await self._media.remove(image.metadata.uid)
            return DONE
        token = image.status.download_token if is_exposed else ""
        token = token or "".join(secrets.choice(TOKEN_ALPHABET) for _ in range(TOKEN_LENGTH))
        await self._tell(
            document,
            image,
            "SeedImageBuildSuccess",
            f"{medium.name} can be downloaded",
            state="Completed",
            token=token,
            url=f"{self._settings.server_url}{DOWNLOAD_PATH}/{token}/{medium.name}",
        )
        return Result(again_in=left.total_seconds()) if minutes > 0 else DONE

    async def _explain(
        self, document: Document, image: SeedImage, medium: Medium, build: Build, *, now: datetime
    ) -> Result:
        """Say why it failed; what was lacking may come with a bundle, so try again now and then."""
        await self._tell(document, image, "SeedImageBuildFailure", build.message, state="Failed")
        wait = parse_time(build.finished_at, default=now) + RETRY - now
        if wait > timedelta():
            return Result(again_in=wait.total_seconds())
        await self._media.start(medium)
        return Result(again_in=LOOK_SECONDS)

    async def _find_registration(self, key: Key, image: SeedImage) -> MachineRegistration | None:
        if image.spec is None:
            return None
        reference = image.spec.registration_ref
        wanted = Key(reference.namespace or key.namespace, reference.name)
        self._registered[key] = wanted
        try:
            document = await self._store.get(MACHINE_REGISTRATION, wanted.name, namespace=wanted.namespace)
        except NotFound:
            return None
        return decode(MachineRegistration, document)

    async def _claim(
        self, document: Document, image: SeedImage, registration: MachineRegistration | None
    ) -> Document:
        """Our finalizer, the registration as an owner as upstream has it, and a wish for a new build."""
        metadata = image.metadata
        changes: Document = {"metadata": {}}
        if FINALIZER not in metadata.finalizers:
            changes["metadata"]["finalizers"] = [*metadata.finalizers, FINALIZER]
        if registration is not None and registration.metadata.namespace == metadata.namespace:
            owners = document["metadata"].get("ownerReferences") or []
            if not any(owner.get("uid") == registration.metadata.uid for owner in owners):
                owner = {
                    "apiVersion": MACHINE_REGISTRATION.api_version,
                    "kind": MACHINE_REGISTRATION.kind,
                    "name": registration.metadata.name,
                    "uid": registration.metadata.uid,
                }
                changes["metadata"]["ownerReferences"] = [*owners, owner]
        if image.spec is not None and image.spec.retrigger_build:
            number = metadata.annotations.get(BUILD, "0")
            number = str(int(number) + 1) if number.isdecimal() and len(number) < 10 else "1"
            changes["metadata"]["annotations"] = {BUILD: number}
            changes["spec"] = {"retriggerBuild": False}
        return await write_changes(self._store, self.kind, document, changes)

    async def _finish(self, document: Document, image: SeedImage) -> None:
        """Let a deleted image go once its files are gone."""
        if FINALIZER not in image.metadata.finalizers:
            return
        await self._media.remove(image.metadata.uid)
        kept = [finalizer for finalizer in image.metadata.finalizers if finalizer != FINALIZER]
        await write_changes(self._store, self.kind, document, {"metadata": {"finalizers": kept}})

    async def _refuse(
        self, document: Document, image: SeedImage, reason: SeedImageReason, message: str
    ) -> None:
        """Nothing can be built: say so in both conditions."""
        now = self._settings.clock()
        conditions = set_condition(image.status.conditions, "Ready", "False", reason, message, now=now)
        conditions = set_condition(
            conditions, "SeedImageReady", "False", "SeedImageBuildNotStarted", message, now=now
        )
        status = SeedImageStatus(conditions=conditions, state="NotStarted")
        await write_status(self._store, self.kind, document, status)
        await self._recorder.record_condition(document, "Ready", image.status.conditions, conditions)

    async def _tell(
        self,
        document: Document,
        image: SeedImage,
        reason: SeedImageReason,
        message: str,
        *,
        state: SeedImageState,
        token: str = "",
        url: str = "",
    ) -> Document:
        """Write the whole status; without an URL there is nothing to download."""
        now = self._settings.clock()
        good: ConditionStatus = (
            "True" if reason in ("SeedImageBuildSuccess", "SeedImageBuildDeadline") else "False"
        )
        conditions = set_condition(
            image.status.conditions, "Ready", "True", "ResourcesSuccessfullyCreated", now=now
        )
        conditions = set_condition(conditions, "SeedImageReady", good, reason, message, now=now)
        status = SeedImageStatus(
            conditions=conditions,
            download_token=token,
            download_url=url,
            checksum_url=f"{url}.sha256" if url else "",
            state=state,
        )
        written = await write_status(self._store, self.kind, document, status)
        if reason != "SeedImageBuildOngoing":  # which is no failure, though it is not True either
            await self._recorder.record_condition(
                document, "SeedImageReady", image.status.conditions, conditions
            )
        return written

    def _concerned(self, document: Document) -> Iterable[Key]:
        """The images that carry a registration."""
        changed = identify(document)
        return [key for key, registration in self._registered.items() if registration == changed]
