"""SeedImage: an installation medium with a registration on it, built on request, kept for a while."""

from typing import Any, Literal

import msgspec

from appliance.resources.machine_registration import GROUP, VERSION
from appliance.resources.meta import Column, Condition, Kind, ObjectReference, Resource

DEFAULT_CLEANUP_MINUTES = 60
DEFAULT_VOLUME_BYTES = 6 * 1024**3

SeedImageType = Literal["iso", "raw"]
SeedImageState = Literal["Initialized", "Started", "Completed", "Failed", "NotStarted"]
SeedImageCondition = Literal["Ready", "SeedImageReady"]
SeedImageReason = Literal[
    "ResourcesNotCreatedYet",
    "RegistrationNotFound",
    "PodCreationFailure",
    "ServiceCreationFailure",
    "ConfigMapCreationFailure",
    "ResourcesSuccessfullyCreated",
    "SeedImageBuildNotStarted",
    "SeedImageBuildOngoing",
    "SeedImageBuildFailure",
    "SeedImageExposeFailure",
    "SeedImageBuildSuccess",
    "SeedImageBuildDeadline",
    "SeedImageBuildUnknown",
]


class BuildContainer(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    name: str = ""
    image: str = ""
    command: list[str] = msgspec.field(default_factory=list)
    args: list[str] = msgspec.field(default_factory=list)
    image_pull_policy: str = ""


class SeedImageSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    registration_ref: ObjectReference
    type: SeedImageType = "iso"
    base_image: str = ""
    build_container: BuildContainer | None = None
    cleanup_after_minutes: int = DEFAULT_CLEANUP_MINUTES
    retrigger_build: bool = False
    size: int | str = DEFAULT_VOLUME_BYTES
    target_platform: str = ""
    cloud_config: dict[str, Any] = msgspec.field(name="cloud-config", default_factory=dict)


class SeedImageStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    conditions: list[Condition] = msgspec.field(default_factory=list)
    download_token: str = msgspec.field(name="downloadToken", default="")
    download_url: str = msgspec.field(name="downloadURL", default="")
    checksum_url: str = msgspec.field(name="checksumURL", default="")
    state: SeedImageState | None = None


class SeedImage(Resource, frozen=True, kw_only=True):
    spec: SeedImageSpec | None = None
    status: SeedImageStatus = SeedImageStatus()


SEED_IMAGE = Kind(
    group=GROUP,
    version=VERSION,
    kind="SeedImage",
    plural="seedimages",
    struct=SeedImage,
    short_names=("si",),
    columns=(
        Column("TYPE", "spec.type"),
        Column("REGISTRATION", "spec.registrationRef.name"),
        Column("READY", "status.conditions[SeedImageReady].status"),
        Column("REASON", "status.conditions[SeedImageReady].reason"),
        Column("URL", "status.downloadURL", wide=True),
        Column("AGE", "metadata.creationTimestamp", type="date"),
    ),
)
