"""Build an ISO image from a mapping of files. The only file that imports pycdlib.

ISO 9660 level 3 with Rock Ridge, and El Torito entries if boot images are named. It does not know what the
files mean, except for two fixed places that live systems read at boot. Partition tables for booting from a
stick are not written here. pycdlib stamps the current time into the image, so two builds differ in that.
"""

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pycdlib
from pycdlib.pycdlibexception import PyCdlibException

from bundles.errors import BundleError, IsoUnusable, NoSpace
from bundles.layout import sync_directory
from bundles.progress import Progress, ProgressEvent, ignore_progress

REGISTRATION_PATH = "livecd-cloud-config.yaml"
CLOUD_CONFIG_PATH = "iso-config/cloud-config.yaml"
VOLUME_ID = "COS_LIVE"
BOOT_CATALOG = "boot/boot.catalog"
MAX_CONFIG_BYTES = 1024 * 1024
MAX_DEPTH = 32
COPY_BYTES = 1024 * 1024
_ISO_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


@dataclass(frozen=True, slots=True)
class BootImage:
    """`path` is one of the files: a FAT image for `uefi`, a loader with a boot info table for `bios`."""

    path: str
    platform: Literal["bios", "uefi"]


@dataclass(frozen=True, slots=True)
class IsoImage:
    path: Path
    size: int
    sha256: str


def build_iso(
    files: Mapping[str, bytes | Path],
    output: Path,
    *,
    registration: bytes | None = None,
    cloud_config: bytes | None = None,
    volume_id: str = VOLUME_ID,
    boot_images: Sequence[BootImage] = (),
    progress: Progress = ignore_progress,
) -> IsoImage:
    """Write an ISO of `files` (path in the image to content, or to a file here) to `output`, replacing it.

    `registration` and `cloud_config` go to the places where a live system looks for them.
    """
    check_volume_id(volume_id)
    contents = dict(files)
    for path, config in ((REGISTRATION_PATH, registration), (CLOUD_CONFIG_PATH, cloud_config)):
        if config is not None:
            _check_config(path, config, contents)
            contents[path] = config
    names = choose_iso_names([*contents, *([BOOT_CATALOG] if boot_images else [])])
    output.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name[:80]}-")
    try:
        with os.fdopen(fd, "w+b") as file:
            _write(file, contents, names, volume_id=volume_id, boot_images=boot_images, progress=progress)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
            size, digest = _measure(file)
        os.rename(temporary, output)
    except BundleError:
        raise
    except PyCdlibException as error:
        raise IsoUnusable(f"{output} cannot be made: {error}") from error
    except OSError as error:
        raise NoSpace(f"{output} cannot be written: {error.strerror}") from error
    finally:
        Path(temporary).unlink(missing_ok=True)
    sync_directory(output.parent)
    return IsoImage(output, size, digest)


def read_iso_file(image: Path, path: str, *, limit: int = MAX_CONFIG_BYTES) -> bytes:
    """The content of one small file in an ISO image, by its Rock Ridge path."""
    iso: Any = pycdlib.PyCdlib()
    try:
        iso.open(str(image))
        with closing(iso), iso.open_file_from_iso(rr_path=f"/{path}") as file:
            content: bytes = file.read(limit + 1)
    except (PyCdlibException, OSError) as error:
        raise IsoUnusable(f"{path} cannot be read from {image}: {error}") from error
    if len(content) > limit:
        raise IsoUnusable(f"{path} in {image} is larger than the {limit} bytes that are read of it")
    return content


def check_volume_id(volume_id: str) -> None:
    if not 1 <= len(volume_id) <= 32 or not set(volume_id) <= _ISO_CHARACTERS:
        raise IsoUnusable(
            f"{volume_id[:80]!r} is not a volume id", hint="use up to 32 of A to Z, 0 to 9 and _"
        )


def choose_iso_names(paths: Sequence[str]) -> dict[str, str]:
    """Each path and folder on the way with its absolute ISO 9660 name; Rock Ridge keeps the real one."""
    names: dict[str, str] = {"": ""}
    taken: set[str] = set()
    folders = {parent for path in paths for parent in _parents(path)}
    for path in sorted({*paths, *folders}):
        if path in paths:
            _check_path(path)
        if path in paths and path in folders:
            raise IsoUnusable(f"{path!r} would be a file and a folder in one image")
        parent, _, name = path.rpartition("/")
        for number in range(10_000):
            candidate = f"{names[parent]}/{_iso_name(name, number=number, is_folder=path in folders)}"
            if candidate not in taken:
                break
        taken.add(candidate)
        names[path] = candidate
    return names


def _iso_name(name: str, *, number: int, is_folder: bool) -> str:
    """Capitals, digits and _, at most 30 of them; a number keeps apart what became equal."""
    stem, _, suffix = (name, "", "") if is_folder else name.rpartition(".")
    if not stem:
        stem, suffix = name, ""
    stem, suffix = _plain(stem)[:16], _plain(suffix)[:8]
    if number:
        stem = f"{stem}_{number}"
    return stem if is_folder else f"{stem}.{suffix};1"


def _plain(text: str) -> str:
    return "".join(each if each in _ISO_CHARACTERS else "_" for each in text.upper())


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: depth + 1]) for depth in range(len(parts))]


def _check_path(path: str) -> None:
    parts = path.split("/")
    is_usable = len(parts) <= MAX_DEPTH and all(
        part not in ("", ".", "..") and len(part.encode()) <= 240 and "\0" not in part for part in parts
    )
    if not is_usable:
        raise IsoUnusable(f"{path[:300]!r} is not a usable path in an ISO image")


def _check_config(path: str, config: bytes, files: Mapping[str, object]) -> None:
    if len(config) > MAX_CONFIG_BYTES:
        raise IsoUnusable(f"{path} would have {len(config)} bytes; {MAX_CONFIG_BYTES} are allowed")
    if path in files:
        raise IsoUnusable(f"{path} is among the files already", hint="leave it out; it is written by itself")


def _write(
    output: BinaryIO,
    contents: Mapping[str, bytes | Path],
    names: Mapping[str, str],
    *,
    volume_id: str,
    boot_images: Sequence[BootImage],
    progress: Progress,
) -> None:
    iso: Any = pycdlib.PyCdlib()
    iso.new(interchange_level=3, rock_ridge="1.09", vol_ident=volume_id)
    with ExitStack() as opened:
        opened.callback(iso.close)
        for path, iso_name in names.items():
            rock_ridge_name = path.rpartition("/")[2]
            if path in contents:
                file, size = _open(contents[path], opened)
                iso.add_fp(file, size, iso_name, rr_name=rock_ridge_name, file_mode=0o100644)
            elif path and path != BOOT_CATALOG:
                iso.add_directory(iso_name, rr_name=rock_ridge_name, file_mode=0o040755)
        for boot in boot_images:
            _add_boot_image(iso, boot, contents, names)
        iso.write_fp(
            output,
            blocksize=COPY_BYTES,
            progress_cb=lambda done, total, _: progress(ProgressEvent("building", done, total, volume_id)),
        )


def _add_boot_image(
    iso: Any, boot: BootImage, contents: Mapping[str, object], names: Mapping[str, str]
) -> None:
    """El Torito without emulation; BIOS firmware loads four sectors, which load the rest by the table."""
    if boot.path not in contents:
        raise IsoUnusable(f"boot image {boot.path} is not among the files")
    iso.add_eltorito(
        names[boot.path],
        bootcatfile=names[BOOT_CATALOG],
        rr_bootcatname=BOOT_CATALOG.rpartition("/")[2],
        platform_id=0xEF if boot.platform == "uefi" else 0,
        efi=boot.platform == "uefi",
        boot_load_size=None if boot.platform == "uefi" else 4,
        boot_info_table=boot.platform == "bios",
    )


def _open(content: bytes | Path, opened: ExitStack) -> tuple[BinaryIO, int]:
    if isinstance(content, bytes):
        return BytesIO(content), len(content)
    try:
        file = opened.enter_context(content.open("rb"))
    except OSError as error:
        raise IsoUnusable(f"{content} cannot be read: {error.strerror}") from error
    return file, os.fstat(file.fileno()).st_size


def _measure(file: BinaryIO) -> tuple[int, str]:
    file.seek(0)
    state = hashlib.sha256()
    while chunk := file.read(COPY_BYTES):
        state.update(chunk)
    return file.tell(), state.hexdigest()
