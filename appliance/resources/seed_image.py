"""SeedImage: an installation medium with a registration on it, built on request, kept for a while."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from appliance.resources.machine_registration import GROUP, VERSION
from appliance.resources.meta import Column, Condition, Kind, ObjectReference, Resource

DEFAULT_CLEANUP_MINUTES = 60
DEFAULT_VOLUME_BYTES = 6 * 1024**3

_NUMBER = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)"
_QUANTITY = rf"^[+-]?{_NUMBER}([KMGTPE]i|[numkMGTPE]|[eE][+-]?{_NUMBER})?\Z"

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
    """Container that builds the medium in place of the usual.

    name: Name of the container.
    image: Its image.
    command: Entry point, in place of the image's.
    args: Arguments.
    image_pull_policy: When the image is pulled.
    """

    name: str = ""
    image: str = ""
    command: list[str] = msgspec.field(default_factory=list)
    args: list[str] = msgspec.field(default_factory=list)
    image_pull_policy: str = ""


class SeedImageSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What medium is to be built.

    registration_ref: Registration to put on the medium, by name and namespace.
    type: `iso` (a medium to boot) or `raw` (a disk to write).
    base_image: Image or URL of the medium to start from.
    build_container: Container that builds the medium in place of the usual.
    cleanup_after_minutes: How long it can be downloaded; 0 for ever.
    retrigger_build: Set to build again; taken back by the controller.
    size: Room for the build, as 6Gi or in bytes.
    target_platform: Platform of the base image, such as linux/x86_64.
    cloud_config: cloud-init or yip configuration to put on the medium.
    """

    registration_ref: ObjectReference
    type: SeedImageType = "iso"
    base_image: str = ""
    build_container: BuildContainer | None = None
    cleanup_after_minutes: int = DEFAULT_CLEANUP_MINUTES
    retrigger_build: bool = False
    size: int | Annotated[str, Meta(pattern=_QUANTITY)] = DEFAULT_VOLUME_BYTES
    target_platform: Annotated[str, Meta(pattern=r"^\Z|^\S+/\S+\Z")] = ""
    cloud_config: dict[str, Any] = msgspec.field(name="cloud-config", default_factory=dict)


class SeedImageStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where it can be downloaded.

    conditions: `Ready`: the build could start; `SeedImageReady`: it is built.
    download_token: Token of the download URL.
    download_url: Where to download it.
    checksum_url: Where to download its SHA-256.
    state: Never set, as upstream.
    """

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
