"""What a SeedImage asks of whoever builds media, and how the two find each other again after a crash. Pure.

A medium is named by a fingerprint of everything that goes onto it. So a finished file of that name is the
right one whoever finds it, and a change of anything is another name: nothing has to be remembered between the
wish and the file.
"""

import hashlib
import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, Protocol

import msgspec

from appliance.controllers.cloud_config import render_cloud_config
from appliance.resources.machine_registration import MachineRegistration
from appliance.resources.seed_image import DEFAULT_VOLUME_BYTES, SeedImage

BuildState = Literal["absent", "building", "built", "failed"]

_QUANTITY = re.compile(
    r"\+?([0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:([KMGTPE]i|[numkMGTPE])|[eE]([+-]?[0-9]{1,2}))?"
)
_FACTORS = {
    **{unit: Decimal(1000) ** power for power, unit in enumerate(["n", "u", "m", "", *"kMGTPE"], start=-3)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}
_MOST_BYTES = 2**63 - 1  # where Kubernetes' quantities end, too
_MAX_STEM = 60


class InvalidMedium(ValueError):
    """The SeedImage asks for what cannot be built; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Medium:
    """`owner` is the SeedImage's uid, `name` the file's; `limit` is in bytes, 0 for none."""

    owner: str
    name: str
    registration: str
    namespace: str
    base_image: str
    platform: str = ""
    cloud_config: bytes = b""
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Build:
    """How far a medium is. `finished_at` is of a failure, RFC 3339."""

    state: BuildState
    message: str = ""
    finished_at: str = ""


class MediaBuilder(Protocol):
    """Builds media in files of its own. `start` and `remove` may be repeated."""

    def render_registration(self, registration: MachineRegistration) -> bytes:
        """What a medium for this registration carries; empty while the registration has no URL."""

    async def look(self, medium: Medium) -> Build: ...

    async def start(self, medium: Medium) -> None: ...

    async def remove(self, owner: str, *, keep: str = "") -> None:
        """End the owner's builds and delete its files, but for the one called `keep`."""


class NoMedia:
    """What an appliance that builds no media answers."""

    def render_registration(self, registration: MachineRegistration) -> bytes:
        return b""

    async def look(self, medium: Medium) -> Build:
        return Build("failed", "this appliance builds no media")

    async def start(self, medium: Medium) -> None:
        raise InvalidMedium("this appliance builds no media")

    async def remove(self, owner: str, *, keep: str = "") -> None:
        """There is nothing to remove."""


def choose_medium(
    image: SeedImage, registration: MachineRegistration, document: bytes, *, build: str
) -> Medium:
    """The medium that a SeedImage asks for; `build` tells repeated builds apart. Raises InvalidMedium."""
    spec = image.spec
    if spec is None:
        raise InvalidMedium("spec is missing")
    if spec.type != "iso":
        raise InvalidMedium(f"spec.type: {spec.type} images are not built here; use iso")
    if spec.build_container is not None and spec.build_container.image:
        raise InvalidMedium("spec.buildContainer: builds run in the appliance and not in a container")
    if not spec.base_image:
        raise InvalidMedium(
            "spec.baseImage: name an image of the mirror that holds an ISO, or the URL of an ISO"
        )
    config = render_cloud_config(spec.cloud_config)
    parts = [spec.base_image, document.decode(), config.decode(), spec.target_platform, build]
    fingerprint = hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:12]
    stem = registration.metadata.name[:_MAX_STEM].rstrip("-.")
    return Medium(
        owner=image.metadata.uid,
        name=f"{stem}-{fingerprint}.iso",
        registration=registration.metadata.name,
        namespace=registration.metadata.namespace,
        base_image=spec.base_image,
        platform=spec.target_platform,
        cloud_config=config,
        limit=parse_quantity(spec.size),
    )


def parse_quantity(quantity: int | str) -> int:
    """A Kubernetes quantity of bytes; none is the default. Raises InvalidMedium."""
    text = str(max(quantity, 0)) if isinstance(quantity, int) else quantity.strip()
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise InvalidMedium(f"spec.size: {text[:40]!r} is not a quantity such as 6Gi")
    number, unit, exponent = match.groups()
    size = Decimal(number) * _FACTORS[unit or ""] * Decimal(10) ** int(exponent or 0)
    return min(math.ceil(size), _MOST_BYTES) or DEFAULT_VOLUME_BYTES
