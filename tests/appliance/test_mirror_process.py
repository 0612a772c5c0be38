"""The mirror as a child: told to restart, it comes back on its port, and with what is new."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from appliance.mirror_process import MirrorProcess


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():
            await asyncio.sleep(0.02)


async def answers(listen: str) -> bool:
    host, _, port = listen.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionError:
        return False
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return True


async def test_a_restart_is_another_process_on_the_same_port(tmp_path: Path) -> None:
    mirror = MirrorProcess(tmp_path / "mirror", "127.0.0.1:0", tls=None, options=("--read-only",))
    listen = await mirror.start()
    before = mirror.pid
    supervising = asyncio.create_task(mirror.supervise())

    mirror.restart()

    await until(lambda: mirror.is_running and mirror.pid != before)
    async with asyncio.timeout(30):
        while not await answers(listen):
            await asyncio.sleep(0.02)
    await mirror.stop()
    await supervising
    assert not mirror.is_running


async def test_one_that_does_not_run_is_not_restarted(tmp_path: Path) -> None:
    mirror = MirrorProcess(tmp_path / "mirror", "127.0.0.1:0", tls=None)

    mirror.restart()

    assert not mirror.is_running
