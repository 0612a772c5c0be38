"""The mirror as a child process: started, watched, restarted with back-off, and never outliving us.

It keeps its port over a restart, so that hosts find it again. This file runs no registry code itself; it is
one of the doors to subprocess.
"""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from appliance.errors import ChildFailed

log = logging.getLogger(__name__)

READY_SECONDS = 30.0
STOP_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
MAX_LINE_BYTES = 64 * 1024


class _Ready(msgspec.Struct):
    ready: bool
    listen: str


class MirrorProcess:
    """`start` returns when the mirror answers; `supervise` keeps it so; `stop` ends it.

    `options` go to `skerry-mirror serve` as they are.
    """

    def __init__(
        self,
        root: Path,
        listen: str,
        *,
        tls: tuple[Path, Path] | None,
        options: Sequence[str] = (),
        command: Sequence[str] = (),
    ) -> None:
        self._root = root
        self._listen = listen
        self._tls = tls
        self._options = tuple(options)
        self._command = tuple(command)
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> str:
        """Start it and return the HOST:PORT that it listens on. Raises ChildFailed."""
        process = await asyncio.create_subprocess_exec(
            *(self._command or (sys.executable, "-m", "mirror")),
            *("serve", "--root", str(self._root), "--listen", self._listen, "--exit-with-parent"),
            *(("--tls-cert", str(self._tls[0]), "--tls-key", str(self._tls[1])) if self._tls else ()),
            *self._options,
            stdout=asyncio.subprocess.PIPE,
            stdin=asyncio.subprocess.DEVNULL,
            limit=MAX_LINE_BYTES,
        )
        self._process = process
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), READY_SECONDS)
            self._listen = msgspec.json.decode(line, type=_Ready).listen
        except (TimeoutError, msgspec.DecodeError, ValueError) as error:
            await self._end(process)
            raise ChildFailed(
                f"The mirror on {self._listen} did not start (exit code {process.returncode}).",
                hint="Its own words are above; is the port taken, or the disk full?",
            ) from error
        return self._listen

    async def supervise(self) -> None:
        """Start it again whenever it ends, with growing pauses, until `stop`."""
        pause = FIRST_PAUSE_SECONDS
        while self._process is not None:
            began = asyncio.get_running_loop().time()
            code = await self._wait(self._process)
            if self._stopping.is_set():
                return
            if asyncio.get_running_loop().time() - began > LONGEST_PAUSE_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            log.error("mirror: ended with code %s; starting it again in %.1f s", code, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            with contextlib.suppress(ChildFailed):
                await self.start()

    def restart(self) -> None:
        """Let it end in order and be started again by `supervise`, as for a new certificate."""
        if self.is_running and self._process is not None:
            self._process.send_signal(signal.SIGTERM)

    async def stop(self) -> None:
        self._stopping.set()
        if self._process is not None:
            await self._end(self._process)

    async def _wait(self, process: asyncio.subprocess.Process) -> int:
        """Wait for its end, passing on nothing of what it prints, but reading it so that it never blocks."""
        assert process.stdout is not None
        while await process.stdout.read(MAX_LINE_BYTES):
            pass
        return await process.wait()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()
