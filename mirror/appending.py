"""Appending to a file past the page cache, one block on its way to the disk while the next is filled.

Content that comes in once and is read by other machines later gains little from being cached on the way, and
copying it into fresh cache pages costs more than hashing it. So full blocks are written with O_DIRECT; what
is left over at a flush goes the ordinary way, as does everything on file systems that know no O_DIRECT.
"""

import errno
import mmap
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor

BLOCK_BYTES = 1024 * 1024
ALIGNMENT = 4096  # holds for every disk whose logical sectors are 512 bytes or 4 KiB
THREADS = 8
BLOCKS_KEPT = 32


class Writers:
    """What appenders share: threads that write, and blocks of aligned memory that are used again."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="mirror-write")
        self._blocks: list[mmap.mmap] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Blocks are let go of, not closed: an error's traceback may still look into one."""
        self._pool.shutdown()
        self._blocks.clear()

    def take_block(self) -> mmap.mmap:
        with self._lock:
            if self._blocks:
                return self._blocks.pop()
        return mmap.mmap(-1, BLOCK_BYTES)

    def give_back(self, block: mmap.mmap) -> None:
        with self._lock:
            if len(self._blocks) < BLOCKS_KEPT:
                self._blocks.append(block)

    def start(self, appender: "Appender", block: mmap.mmap, offset: int) -> Future[None]:
        return self._pool.submit(appender.write_block, block, offset)


class Appender:
    """The end of one open file. What it holds reaches the file block by block, and the rest at `flush`.

    An error of the disk is raised by the call after the one that met it. The file always holds a beginning of
    what was appended, never a hole.
    """

    def __init__(self, fd: int, *, offset: int, writers: Writers) -> None:
        self._fd = fd
        self._direct = -1
        self._is_direct = True
        self._writers = writers
        self._start = offset  # of the block that is being filled
        self._filled = 0
        self._block: mmap.mmap | None = None
        self._writing: tuple[Future[None], mmap.mmap] | None = None

    def append(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        while view:
            block = self._block or self._open_block()
            count = min(len(view), BLOCK_BYTES - self._filled)
            block[self._filled : self._filled + count] = view[:count]
            self._filled += count
            view = view[count:]
            if self._filled == BLOCK_BYTES:
                self._send_block(block)

    def flush(self) -> None:
        """Everything is in the file, though not on the disk yet."""
        self._wait()
        if self._block is not None:
            with memoryview(self._block) as view:
                _write_all(self._fd, view[: self._filled], self._start)

    def close(self) -> None:
        """Give everything back; what was not flushed may be lost."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing[0].exception()
            self._writers.give_back(writing[1])
        if self._block is not None:
            self._writers.give_back(self._block)
            self._block = None
        if self._direct >= 0:
            os.close(self._direct)
            self._direct = -1

    def write_block(self, block: mmap.mmap, offset: int) -> None:
        """Runs in a writer's thread."""
        if self._is_direct:
            try:
                self._write_direct(block, offset)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                    raise
                self._is_direct = False
            else:
                return
        with memoryview(block) as view:
            _write_all(self._fd, view, offset)

    def _write_direct(self, block: mmap.mmap, offset: int) -> None:
        if self._direct < 0:
            path = f"/proc/self/fd/{self._fd}"  # the file may have lost its name meanwhile
            self._direct = os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
        with memoryview(block) as view:
            _write_all(self._direct, view, offset)

    def _open_block(self) -> mmap.mmap:
        """Begin a block; a file that ends between two alignments has its end read back into it."""
        block = self._writers.take_block()
        self._filled = self._start % ALIGNMENT
        self._start -= self._filled
        if self._filled:
            block[: self._filled] = os.pread(self._fd, self._filled, self._start)
        self._block = block
        return block

    def _send_block(self, block: mmap.mmap) -> None:
        self._wait()
        self._writing = self._writers.start(self, block, self._start), block
        self._block = None
        self._start += BLOCK_BYTES
        self._filled = 0

    def _wait(self) -> None:
        """One block at a time is on its way, so that after an error nothing lies behind a hole."""
        writing, self._writing = self._writing, None
        if writing is not None:
            error = writing[0].exception()
            self._writers.give_back(writing[1])
            if error is not None:
                raise error


def _write_all(fd: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(fd, data, offset)
        offset += written
        data = data[written:]
