"""Single files out of images that the mirror holds, without running anything and without unpacking the rest.

An image is layers of tar, of which the topmost that has a path wins and a whiteout hides what lies below. An
artifact is blobs that are files themselves. Blocks on the disk: call it in a thread.
"""

import gzip
import os
import shlex
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, BinaryIO

import msgspec

from appliance.errors import ApplianceFault
from mirror.errors import MirrorError
from mirror.oci import Descriptor, Index, Manifest, parse_manifest, parse_reference
from mirror.registry import Registry

TITLE = "org.opencontainers.image.title"
MAX_CONFIG_BYTES = 1024 * 1024
MAX_MEMBERS = 1_000_000
MAX_HEADER_BYTES = 1024 * 1024  # of a long name or of extended attributes, which tarfile reads at once
COPY_BYTES = 1024 * 1024
DEFAULT_PLATFORM = "linux/amd64"
# Elemental writes the machine's word, OCI the Go port's.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
DEFAULT_LIST = "/channel.json"


def tell_nobody(done: int, total: int) -> None:
    """Nobody wants to know how far a copy is."""


class ImageUnusable(ApplianceFault):
    """The image is not here, or does not hold what it should; the sentence names it."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    path: str
    size: int


class ImageSettings(msgspec.Struct, frozen=True):
    """What of an image's configuration says how it runs."""

    entrypoint: list[str] | None = msgspec.field(name="Entrypoint", default=None)
    cmd: list[str] | None = msgspec.field(name="Cmd", default=None)


class _Config(msgspec.Struct, frozen=True):
    config: ImageSettings | None = None


class ImageFiles:
    """One image of the mirror, for one platform. Raises ImageUnusable."""

    def __init__(
        self, registry: Registry, reference: str, *, address: str, platform: str = DEFAULT_PLATFORM
    ) -> None:
        self.reference = reference
        self._registry = registry
        with self._in_words():
            wanted = parse_reference(reference.removeprefix("oci://").removeprefix("oci:"))
            if wanted.registry not in ("", address) and not registry.has_manifest(
                wanted.repository, wanted.digest or wanted.tag or "latest"
            ):
                raise ImageUnusable(
                    f"{reference} is not in this mirror ({address})",
                    hint="Load a bundle that brings it.",
                )
            self._repository = wanted.repository
            self.manifest = self._load(wanted.digest or wanted.tag or "latest", platform)

    def settings(self) -> ImageSettings:
        """How the image runs; an artifact does not."""
        if self.manifest.config.size > MAX_CONFIG_BYTES:
            raise ImageUnusable(
                f"{self.reference}: its configuration is larger than {MAX_CONFIG_BYTES} bytes"
            )
        with self._open(self.manifest.config) as file:
            try:
                return msgspec.json.decode(file.read(), type=_Config).config or ImageSettings()
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                return ImageSettings()

    def extract(
        self,
        is_wanted: Callable[[str], bool],
        output: IO[bytes],
        *,
        limit: int,
        on_copied: Callable[[int, int], None] = tell_nobody,
    ) -> FoundFile | None:
        """Copy the first file whose absolute path is wanted; None if there is none.

        `on_copied` hears how many bytes of how many are written, the first time before the first is. What it
        raises ends the copy.
        """
        hidden: set[str] = set()
        for layer in reversed(self.manifest.layers):
            with self._open(layer) as blob:
                title = (layer.annotations or {}).get(TITLE, "")
                if title or not _is_tar(layer):
                    if is_wanted(f"/{title}" if title else ""):
                        self._check_size(title or layer.digest, layer.size, limit)
                        copy(blob, output, layer.size, on_copied)
                        return FoundFile(title or layer.digest, layer.size)
                    continue
                found = self._extract_from(blob, is_wanted, hidden, output, limit, on_copied)
                if found is not None:
                    return found
        return None

    def _extract_from(
        self,
        blob: BinaryIO,
        is_wanted: Callable[[str], bool],
        hidden: set[str],
        output: IO[bytes],
        limit: int,
        on_copied: Callable[[int, int], None],
    ) -> FoundFile | None:
        below: set[str] = set()
        try:
            with tarfile.open(fileobj=blob, mode="r|*", tarinfo=_Member) as layer:
                for number, member in enumerate(layer):
                    layer.members.clear()  # type: ignore[attr-defined]  # or it keeps them all
                    if number > MAX_MEMBERS:
                        raise ImageUnusable(f"{self.reference} has a layer of more than {MAX_MEMBERS} files")
                    path = "/" + os.path.normpath(member.name.lstrip("/"))
                    folder, _, name = path.rpartition("/")
                    if name == OPAQUE:
                        below.add(folder)
                    elif name.startswith(WHITEOUT):
                        below.add(f"{folder}/{name.removeprefix(WHITEOUT)}")
                    elif is_wanted(path) and not _is_hidden(path, hidden):
                        content = layer.extractfile(member) if member.isreg() else None
                        if content is None:
                            raise ImageUnusable(f"{path} in {self.reference} is not a plain file")
                        self._check_size(path, member.size, limit)
                        copy(content, output, member.size, on_copied)
                        return FoundFile(path, member.size)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError) as error:
            # Beyond TarError: what tarfile makes of odd numbers in extended headers.
            raise ImageUnusable(f"a layer of {self.reference} cannot be read: {error}") from error
        hidden |= below
        return None

    def _check_size(self, path: str, size: int, limit: int) -> None:
        if size > limit:
            raise ImageUnusable(f"{path} in {self.reference} has {size} bytes; {limit} are allowed")

    def _load(self, reference: str, platform: str) -> Manifest:
        stored = self._registry.get_manifest(self._repository, reference)
        found = parse_manifest(stored.content, stored.media_type)
        if isinstance(found, Index):
            found = self._choose(stored.content, platform)
        if not isinstance(found, Manifest):
            raise ImageUnusable(f"{self.reference} is neither an image nor an artifact")
        return found

    def _choose(self, content: bytes, platform: str) -> Manifest:
        """The image of an index that is for the platform, or the only one of it that is here."""
        entries = msgspec.json.decode(content, type=_PlatformIndex).manifests or []
        wanted = normalise_platform(platform)
        matching = [entry for entry in entries if entry.platform and str(entry.platform) == wanted]
        here = [
            entry
            for entry in matching or entries
            if self._registry.has_manifest(self._repository, entry.digest)
        ]
        if len(here) != 1 and not (matching and here):
            raise ImageUnusable(f"{self.reference} is not here for {wanted}")
        stored = self._registry.get_manifest(self._repository, here[0].digest)
        found = parse_manifest(stored.content, stored.media_type)
        if not isinstance(found, Manifest):
            raise ImageUnusable(f"{self.reference} is an index of indexes")
        return found

    @contextmanager
    def _open(self, blob: Descriptor) -> Iterator[BinaryIO]:
        with self._in_words():
            descriptor = self._registry.open_blob(self._repository, blob.digest)
        with os.fdopen(descriptor, "rb") as file:
            if os.fstat(descriptor).st_size != blob.size:
                raise ImageUnusable(f"{self.reference}: {blob.digest} is not of the size that is said of it")
            yield file

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except MirrorError as error:
            raise ImageUnusable(
                f"the mirror does not hold {self.reference}: {error}", hint="Load a bundle that brings it."
            ) from error


def copy(
    source: IO[bytes], output: IO[bytes], size: int, on_copied: Callable[[int, int], None] = tell_nobody
) -> None:
    """Copy in pieces, telling how far it is; `size` is what is expected."""
    done = 0
    on_copied(done, size)
    while chunk := source.read(COPY_BYTES):
        output.write(chunk)
        done += len(chunk)
        on_copied(done, size)


def choose_list_paths(
    settings: ImageSettings, *, command: Sequence[str], args: Sequence[str], output_file: str
) -> list[str]:
    """Where a channel's image has its list: what its command copies, else where everybody puts it. Pure.

    `command` and `args` stand for the image's own, as in a pod.
    """
    words = [*(command or settings.entrypoint or ()), *(args or (() if command else settings.cmd or ()))]
    if words and "-c" in words and words.index("-c") + 1 < len(words):
        try:
            words = shlex.split(words[words.index("-c") + 1])
        except ValueError:
            words = []
    paths = [DEFAULT_LIST, output_file]
    names = [word.rpartition("/")[2] for word in words]
    if "cp" in names:
        sources = [word for word in words[names.index("cp") + 1 :] if not word.startswith("-")]
        if len(sources) >= 2 and sources[0].startswith("/"):
            paths.insert(0, sources[0])
    return list(dict.fromkeys(os.path.normpath(path) for path in paths))


def normalise_platform(platform: str) -> str:
    """`linux/x86_64` as OCI writes it: `linux/amd64`."""
    system, _, architecture = (platform or DEFAULT_PLATFORM).partition("/")
    return f"{system}/{ARCHITECTURES.get(architecture, architecture)}"


class _Platform(msgspec.Struct, frozen=True):
    os: str = ""
    architecture: str = ""

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"


class _PlatformEntry(msgspec.Struct, frozen=True):
    digest: str
    platform: _Platform | None = None


class _PlatformIndex(msgspec.Struct, frozen=True):
    manifests: list[_PlatformEntry] | None = None


_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


class _Member(tarfile.TarInfo):
    """A member whose headers are of a bearable size; `_proc_member` is where tarfile lets a subclass in."""

    def _proc_member(self, layer: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _HEADERS and self.size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return super()._proc_member(layer)  # type: ignore[misc,no-any-return]


def _is_tar(layer: Descriptor) -> bool:
    return ".tar" in layer.media_type or layer.media_type.endswith("+gzip")


def _is_hidden(path: str, hidden: set[str]) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in hidden)
