"""Running the console headless: start it, wait for what should happen, read the screen as text."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from textual.pilot import Pilot

from tests.simulators.appliance import SimulatedAppliance
from tests.tui.factories import NOW
from tui.console import Console
from tui.session import Backoff

SIZE = (80, 24)
SERVER = "unix:/run/skerry/skerry.sock"
_PATIENCE_SECONDS = 20


@asynccontextmanager
async def running(
    appliance: SimulatedAppliance,
    *,
    size: tuple[int, int] = SIZE,
    basic: bool = False,
    clock: Callable[[], datetime] = lambda: NOW,
) -> AsyncIterator[Pilot[None]]:
    """A console that has heard everything the appliance knows."""
    console = Console(
        appliance,
        server=SERVER,
        operator="night@plant",
        clock=clock,
        basic=basic,
        paint_seconds=0.001,
        backoff=Backoff(first=0.01, longest=0.02),
    )
    async with console.run_test(size=size) as pilot:
        await until(
            pilot, lambda: "rollouts" in console.desk.known.listed or bool(console.desk.known.trouble)
        )
        await settled(pilot)
        yield pilot


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    """Wait for a condition; the bound is only there to end a broken test."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not condition():
            await pilot.pause(0.005)


async def settled(pilot: Pilot[None]) -> None:
    """Wait until nothing is left to take in or to paint."""
    await until(pilot, lambda: not console_of(pilot).paint_is_due)
    await pilot.pause()


async def until_shown(pilot: Pilot[None], text: str) -> None:
    try:
        await until(pilot, lambda: text in screen_text(pilot))
    except TimeoutError:
        raise AssertionError(f"{text!r} never appeared on:\n{screen_text(pilot)}") from None


async def press(pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await settled(pilot)


def screen_text(pilot: Pilot[None]) -> str:
    """What is on the screen, line for line, without trailing blanks."""
    app = pilot.app
    lines = app.screen._compositor.render_strips(app.size)
    return "\n".join(strip.text.rstrip() for strip in lines) + "\n"


def console_of(pilot: Pilot[None]) -> Console:
    assert isinstance(pilot.app, Console)
    return pilot.app
