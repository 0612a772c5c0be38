"""Write an image to a medium, then prove by reading it back that the medium holds it.

The target is a block device, which must be safe (`bundles.media.devices`), or a plain file, which stands for
a medium of its size and is made if it is not there. The read back goes past the page cache, since a cached
one would prove only that the memory works. Nothing is resumed.
"""

import errno
import fcntl
import hashlib
import mmap
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bundles.errors import DeviceRefused, DeviceTooSmall, MediaError, NoSpace, ReadBackMismatch
from bundles.media.devices import Device, check_target
from bundles.progress import Meter, Progress, ignore_progress

BLOCK_BYTES = 4 * 1024 * 1024
ALIGNMENT = 4096  # what O_DIRECT wants of lengths, on any device we know
BLKFLSBUF = 0x1261  # linux/fs.h: write out and forget what is cached of a block device

CheckDevice = Callable[[Path], Device | None]


@dataclass(frozen=True, slots=True)
class Burned:
    """`sha256` is of the image's bytes, as they were read back from the target."""

    target: Path
    size: int
    sha256: str


def burn(
    image: Path,
    target: Path,
    *,
    sha256: str = "",
    chosen: Device | None = None,
    check_device: CheckDevice = check_target,
    progress: Progress = ignore_progress,
) -> Burned:
    """Write `image` to `target` and compare; raise DeviceRefused, DeviceTooSmall or ReadBackMismatch.

    `sha256` is what the image should have, if known. `chosen` is the device that a person has chosen: the one
    at `target` must still be it.
    """
    with _open_image(image) as source:
        size = os.fstat(source).st_size
        if size == 0:
            raise MediaError(f"{image} is empty")
        with _open_target(image, target, size=size, chosen=chosen, check_device=check_device) as medium:
            written = _write(source, medium, image=image, target=target, progress=progress)
            if sha256 and written != sha256:
                raise MediaError(
                    f"{image} is damaged: it has sha256 {written} instead of {sha256}",
                    hint="the target holds the damaged image now; copy the image again and burn again",
                )
            _drop_cache(medium)
            read = _hash(medium, size, what=str(target), progress=progress)
            if read != written:
                raise ReadBackMismatch(
                    f"{target} does not give back what was written: first difference in the 4 MiB block at "
                    f"{_first_difference(source, medium, size)}",
                    hint="the medium is failing or smaller than it claims; use another one",
                )
    return Burned(target, size, written)


@contextmanager
def _open_image(image: Path) -> Iterator[int]:
    try:
        fd = os.open(image, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise MediaError(f"{image} cannot be read: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise MediaError(f"{image} is not a file")
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _open_target(
    image: Path, target: Path, *, size: int, chosen: Device | None, check_device: CheckDevice
) -> Iterator[int]:
    """The target, checked and held alone; a file that was made here is removed if it is not finished."""
    is_new = not target.exists() and not target.is_symlink()
    if is_new:
        fd = _open_file(target, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        os.ftruncate(fd, size)
    elif target.is_block_device():
        fd = _open_device(target, chosen=chosen, check_device=check_device)
    elif target.is_file() and not target.samefile(image):
        fd = _open_file(target, os.O_RDWR)
    else:
        raise DeviceRefused(f"{target} is neither a disk nor a file to write to")
    try:
        capacity = os.lseek(fd, 0, os.SEEK_END)
        if capacity < size:
            raise DeviceTooSmall(
                f"{target} holds {capacity} bytes, but {image} has {size}", hint="use a larger medium"
            )
        yield fd
    except BaseException:
        if is_new:
            target.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


def _open_file(target: Path, flags: int) -> int:
    try:
        return os.open(target, flags | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise DeviceRefused(f"{target} cannot be written: {error.strerror}") from error


def _open_device(target: Path, *, chosen: Device | None, check_device: CheckDevice) -> int:
    """Exclusively: the kernel then refuses what is mounted or held, and later mounts."""
    found = check_device(target)
    if chosen is not None and (found is None or found.identity != chosen.identity):
        raise DeviceRefused(f"{target} is not the device that was chosen any more", hint="choose again")
    try:
        return os.open(target, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC | os.O_DIRECT)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise DeviceRefused(f"{target} is in use", hint="unmount it first") from error
        raise DeviceRefused(f"{target} cannot be opened: {error.strerror}") from error


def _write(source: int, medium: int, *, image: Path, target: Path, progress: Progress) -> str:
    """Copy all, hashing one block while the one before it is on its way; return the image's sha256."""
    size = os.fstat(source).st_size
    meter = Meter(progress, "writing", total=size)
    state = hashlib.sha256()
    buffers = [mmap.mmap(-1, BLOCK_BYTES), mmap.mmap(-1, BLOCK_BYTES)]  # page aligned, as O_DIRECT wants
    try:
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="burn") as writer:
            pending = writer.submit(int)
            for number, offset in enumerate(range(0, size, BLOCK_BYTES)):
                block = memoryview(buffers[number % 2])
                count = _read_block(source, block, offset=offset, limit=size)
                if count != min(BLOCK_BYTES, size - offset):
                    raise MediaError(f"{image} became shorter while it was read")
                state.update(block[:count])
                meter.advance(pending.result(), str(target))
                pending = writer.submit(_write_block, medium, block, offset=offset, count=count)
            meter.advance(pending.result(), str(target))
        os.fsync(medium)
    except OSError as error:
        raise _unwritable(target, error) from error
    return state.hexdigest()


def _write_block(medium: int, block: memoryview, *, offset: int, count: int) -> int:
    """The last block of a device is filled up with zeros, as far as the device goes."""
    length = count
    if stat.S_ISBLK(os.fstat(medium).st_mode):
        length = min(-(-count // ALIGNMENT) * ALIGNMENT, os.lseek(medium, 0, os.SEEK_END) - offset)
        block[count:length] = bytes(length - count)
    done = 0
    while done < length:
        done += os.pwrite(medium, block[done:length], offset + done)
    return count


def _read_block(fd: int, block: memoryview, *, offset: int, limit: int) -> int:
    """Fill the block up to its end or `limit`; O_DIRECT reads whole sectors, perhaps more than asked."""
    done = 0
    while done < len(block) and offset + done < limit:
        count = os.preadv(fd, [block[done:]], offset + done)
        if count == 0:
            break
        done += count
    return min(done, limit - offset)


def _hash(fd: int, size: int, *, what: str, progress: Progress) -> str:
    meter = Meter(progress, "reading back", total=size)
    state = hashlib.sha256()
    block = memoryview(mmap.mmap(-1, BLOCK_BYTES))
    for offset in range(0, size, BLOCK_BYTES):
        try:
            count = _read_block(fd, block, offset=offset, limit=size)
        except OSError as error:
            raise ReadBackMismatch(
                f"{what} cannot be read back at {offset}: {error.strerror}", hint="use another medium"
            ) from error
        state.update(block[:count])
        meter.advance(count, what)
    return state.hexdigest()


def _drop_cache(medium: int) -> None:
    os.posix_fadvise(medium, 0, 0, os.POSIX_FADV_DONTNEED)
    if stat.S_ISBLK(os.fstat(medium).st_mode):
        with suppress(OSError):  # reads are direct already; this only forgets what others have cached
            fcntl.ioctl(medium, BLKFLSBUF, 0)


def _first_difference(source: int, medium: int, size: int) -> int:
    ours, theirs = (memoryview(mmap.mmap(-1, BLOCK_BYTES)) for _ in range(2))
    for offset in range(0, size, BLOCK_BYTES):
        count = _read_block(source, ours, offset=offset, limit=size)
        if ours[:count] != theirs[: _read_block(medium, theirs, offset=offset, limit=size)]:
            return offset
    return size


def _unwritable(target: Path, error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
        return NoSpace(f"{target} ended before the image did: {error.strerror}", hint="use a larger medium")
    return MediaError(
        f"{target} cannot be written: {error.strerror}", hint="the medium may be failing or was pulled out"
    )
