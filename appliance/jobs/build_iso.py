"""build-iso: an installer medium for one MachineRegistration, from a tree of files or from a finished base.

The base is an image of the mirror that holds an ISO, or the URL of one; the tree is a folder here. The job
decides what goes onto the medium; how an ISO image is laid out belongs to `bundles.media`. It replaces a
finished image only by a finished one, so running it again is safe.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

import msgspec

from agent.protocol.client_config import render_registration
from appliance.api.contract import DEFAULT_NAMESPACE
from appliance.configured_urls import fetch, is_url
from appliance.errors import InvalidParameters, OperationError
from appliance.files import PUBLIC, sync_directory, write_durably
from appliance.hosts.reply import describe_registration
from appliance.image_files import ImageFiles
from appliance.jobs.places import check_image, check_tree
from appliance.jobs.workshop import Workshop
from appliance.operations import OperationContext, OperationKind
from appliance.resources.machine_registration import MACHINE_REGISTRATION, MachineRegistration
from appliance.resources.meta import decode
from bundles.progress import ProgressEvent

MAX_FILES = 50_000
MAX_BASE_BYTES = 64 * 1024**3
FLOOR_BYTES = 256 * 1024**2  # of the disk that a build leaves alone
DOWNLOAD_SECONDS = 6 * 3600.0
HASH_BYTES = 1024 * 1024


class BuildIso(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`tree` is a folder whose content goes onto the medium; `uefi_image` and `bios_image` are files in it.

    `base_image` stands instead of all three. Paths are of the appliance's machine and absolute, and not every
    one may be named (`jobs.places`). `limit` is the largest base in bytes; `with_checksum` writes
    `<output>.sha256` too, before the image has its name.
    """

    output: str
    registration: str
    namespace: str = DEFAULT_NAMESPACE
    tree: str = ""
    uefi_image: str = ""
    bios_image: str = ""
    cloud_config: str = ""
    base_image: str = ""
    platform: str = ""
    limit: int = 0
    with_checksum: bool = False


class BaseUnusable(OperationError):
    """The base image holds no ISO, or there is no room for it."""


def build_iso_kind(workshop: Workshop) -> OperationKind[BuildIso]:
    """The kind, bound to what it works with."""

    def work(params: BuildIso, context: OperationContext) -> dict[str, Any]:
        from bundles.media.iso import BootImage, build_iso

        output = _absolute(params.output)
        check_image(output, data=workshop.data, may_be_downloaded=not params.tree)
        if params.tree:
            check_tree(_absolute(params.tree), data=workshop.data)
        document = context.on_loop(
            workshop.store.get(MACHINE_REGISTRATION, params.registration, namespace=params.namespace)
        )
        registration = decode(MachineRegistration, document)
        if not registration.status.registration_url:
            raise InvalidParameters(
                f"Registration {params.registration} has no URL yet.", hint="Try again in a moment."
            )
        document_bytes = render_registration(describe_registration(registration, ca_pem=workshop.ca_pem))
        if params.base_image:
            return stamp_base(params, output, document_bytes, workshop=workshop, context=context)
        boot_images = [
            *([BootImage(params.bios_image, "bios")] if params.bios_image else []),
            *([BootImage(params.uefi_image, "uefi")] if params.uefi_image else []),
        ]
        image = build_iso(
            read_tree(_absolute(params.tree)) if params.tree else {},
            output,
            registration=document_bytes,
            cloud_config=params.cloud_config.encode() or None,
            boot_images=boot_images,
            progress=context.progress,
        )
        if params.with_checksum:
            write_checksum(output, image.sha256)
        return {"path": str(image.path), "size": image.size, "sha256": image.sha256}

    return OperationKind("build-iso", BuildIso, work, is_resumable=True)


def stamp_base(
    params: BuildIso, output: Path, registration: bytes, *, workshop: Workshop, context: OperationContext
) -> dict[str, Any]:
    """Copy the base beside the output, put the registration into the copy, and give it the output's name."""
    from bundles.media.iso import CLOUD_CONFIG_PATH, REGISTRATION_PATH
    from bundles.media.stamp import stamp_iso

    output.parent.mkdir(parents=True, exist_ok=True)
    with open_part(output) as image:
        room = shutil.disk_usage(output.parent).free - FLOOR_BYTES

        def advance(done: int, total: int) -> None:
            if max(done, total) > room:
                raise BaseUnusable(
                    f"{params.base_image} needs {total or done} bytes on the disk of {output.parent}, "
                    f"and there is room for {max(0, room)}.",
                    hint="Delete SeedImages that are done with, or collect the mirror.",
                )
            context.progress(ProgressEvent("building", done, max(done, total), output.name))

        copy_base(params, image, workshop=workshop, advance=advance)
        files = {REGISTRATION_PATH: registration}
        if params.cloud_config:
            files[CLOUD_CONFIG_PATH] = params.cloud_config.encode()
        stamp_iso(image, files)
        image.flush()
        os.fchmod(image.fileno(), PUBLIC)
        os.fsync(image.fileno())
        size, sha256 = _measure(image)
        if params.with_checksum:
            write_checksum(output, sha256)
        os.rename(part_of(output), output)
    sync_directory(output.parent)
    return {"path": str(output), "size": size, "sha256": sha256}


def part_of(output: Path) -> Path:
    """The unfinished image: one name, so that what a crash leaves is taken up or removed with the rest."""
    return output.with_name(f".{output.name}.part")


@contextmanager
def open_part(output: Path) -> Iterator[BinaryIO]:
    """The unfinished image, empty and nobody else's; it is removed unless it was given its name."""
    path = part_of(output)
    with path.open("a+b") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BaseUnusable(f"{output} is being built already.") from error
        try:
            with path.open("r+b") as image:
                image.truncate()
                yield image
        finally:
            path.unlink(missing_ok=True)


def copy_base(
    params: BuildIso, image: IO[bytes], *, workshop: Workshop, advance: Callable[[int, int], None]
) -> None:
    """Bring the base ISO here, from the mirror or from its URL. Raises BaseUnusable and ImageUnusable."""
    limit = params.limit or MAX_BASE_BYTES
    if is_url(params.base_image):
        fetch(
            params.base_image,
            image,
            limit=limit,
            seconds=DOWNLOAD_SECONDS,
            ca_pem=workshop.ca_pem,
            on_read=advance,
        )
        return
    base = ImageFiles(workshop.registry, params.base_image, address=workshop.mirror, platform=params.platform)
    if base.extract(is_iso_path, image, limit=limit, on_copied=advance) is None:
        raise BaseUnusable(
            f"{params.base_image} holds no ISO: there is no /elemental-iso/*.iso in it.",
            hint="An OS image is for upgrades; name the image of the same version that carries the ISO.",
        )


def is_iso_path(path: str) -> bool:
    """Where images carry their ISO; an artifact of one file is it, whatever it is called."""
    folder, _, name = path.rpartition("/")
    return path == "" or (name.endswith(".iso") and folder in ("", "/elemental-iso"))


def write_checksum(output: Path, sha256: str) -> None:
    """As sha256sum writes it, so that `sha256sum -c` reads it."""
    content = f"{sha256}  {output.name}\n".encode()
    write_durably(output.with_name(f"{output.name}.sha256"), content, mode=PUBLIC)


def _measure(image: IO[bytes]) -> tuple[int, str]:
    image.seek(0)
    state = hashlib.sha256()
    while chunk := image.read(HASH_BYTES):
        state.update(chunk)
    return image.tell(), state.hexdigest()


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
