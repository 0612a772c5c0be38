"""build-iso: an installer medium for one MachineRegistration: a tree of files and the registration document.

The job decides what goes onto the medium; how an ISO image is laid out belongs to `bundles.media.iso`. It
replaces a finished image only by a finished one, so running it again is safe.
"""

import os
from pathlib import Path
from typing import Any

import msgspec

from agent.protocol.client_config import render_registration
from appliance.api.contract import DEFAULT_NAMESPACE
from appliance.errors import InvalidParameters
from appliance.hosts.reply import describe_registration
from appliance.jobs.workshop import Workshop
from appliance.operations import OperationContext, OperationKind
from appliance.resources.machine_registration import MACHINE_REGISTRATION, MachineRegistration
from appliance.resources.meta import decode

MAX_FILES = 50_000


class BuildIso(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`tree` is a folder whose content goes onto the medium; `uefi_image` and `bios_image` are files in it.

    Paths are the appliance's own and absolute.
    """

    output: str
    registration: str
    namespace: str = DEFAULT_NAMESPACE
    tree: str = ""
    uefi_image: str = ""
    bios_image: str = ""
    cloud_config: str = ""


def build_iso_kind(workshop: Workshop) -> OperationKind[BuildIso]:
    """The kind, bound to what it works with."""

    def work(params: BuildIso, context: OperationContext) -> dict[str, Any]:
        from bundles.media.iso import BootImage, build_iso

        output = _absolute(params.output)
        document = context.on_loop(
            workshop.store.get(MACHINE_REGISTRATION, params.registration, namespace=params.namespace)
        )
        registration = decode(MachineRegistration, document)
        if not registration.status.registration_url:
            raise InvalidParameters(
                f"Registration {params.registration} has no URL yet.", hint="Try again in a moment."
            )
        described = describe_registration(registration, ca_pem=workshop.ca_pem)
        boot_images = [
            *([BootImage(params.bios_image, "bios")] if params.bios_image else []),
            *([BootImage(params.uefi_image, "uefi")] if params.uefi_image else []),
        ]
        image = build_iso(
            read_tree(_absolute(params.tree)) if params.tree else {},
            output,
            registration=render_registration(described),
            cloud_config=params.cloud_config.encode() or None,
            boot_images=boot_images,
            progress=context.progress,
        )
        return {"path": str(image.path), "size": image.size, "sha256": image.sha256}

    return OperationKind("build-iso", BuildIso, work, is_resumable=True)


def read_tree(root: Path) -> dict[str, bytes | Path]:
    """Every plain file below `root` by its path on the medium. A link could lead out of the tree: refused."""
    files: dict[str, bytes | Path] = {}
    for folder, _, names in os.walk(root, onerror=_raise):
        for name in names:
            path = Path(folder, name)
            if path.is_symlink() or not path.is_file():
                raise InvalidParameters(f"{path} is not a plain file.", hint="Put a copy in its place.")
            files[str(path.relative_to(root))] = path
            if len(files) > MAX_FILES:
                raise InvalidParameters(f"{root} holds more than {MAX_FILES} files.")
    return files


def _absolute(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise InvalidParameters(f"The path {text!r} is not absolute.", hint="Start it with a slash.")
    return path


def _raise(error: OSError) -> None:
    raise error
