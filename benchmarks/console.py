"""The console against Textual's own table: first paint with 10,000 hosts, and bytes a changed cell costs.

Run `python -m benchmarks.console`. Both sides run in the same process kind, in turn, over the same hosts;
bytes are counted at the far end of a real pseudo-terminal of 80x24. It prints numbers and ratios and
judges nothing.
"""

import asyncio
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from textual.app import App, ComposeResult
from textual.widgets import DataTable

from tests.simulators.appliance import SimulatedAppliance
from tests.tui.factories import make_host, make_transaction
from tui.console import Console
from tui.serial import SerialDriver

FLEET = 10_000
UPDATES = 20
PAUSE_SECONDS = 0.3
NOW = datetime(2026, 11, 20, 3, 12, tzinfo=UTC)
COLUMNS = ("STATE", "NAME", "SLOT", "VERSION", "PHASE", "PROGRESS", "SEEN")


class Peer(App[None]):
    """A DataTable of the same columns and rows."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.theme = "ansi-dark"

    def compose(self) -> ComposeResult:
        yield DataTable[str](cursor_type="row")

    def on_mount(self) -> None:
        table = self.query_one(DataTable[str])
        for title in COLUMNS:
            table.add_column(title, key=title)
        for number in range(self.count):
            table.add_row(
                *("^ upgrading", f"host-{number:05}", "A", "v1.0.0", "writing", "[###·····] 40%", "now"),
                key=str(number),
            )

    def change(self, percent: int) -> None:
        self.query_one(DataTable[str]).update_cell("3", "PROGRESS", f"[###·····] {percent}%")


def make_fleet(count: int) -> SimulatedAppliance:
    appliance = SimulatedAppliance()
    for number in range(count):
        appliance.put_host(make_host(f"host-{number:05}", "Upgrading", transaction=make_transaction()))
    return appliance


def make_console(appliance: SimulatedAppliance, *, basic: bool = False) -> Console:
    driver = SerialDriver if basic else None
    return Console(
        appliance,
        server="unix:/run/skerry.sock",
        clock=lambda: NOW,
        basic=basic,
        paint_seconds=0.01,
        driver=driver,
    )


async def measure_first_paint(make: Callable[[], App[None]], is_shown: Callable[[App[None]], bool]) -> float:
    """Seconds from making the app to the rows standing on its screen."""
    started = time.perf_counter()
    app = make()
    async with app.run_test(size=(80, 24)) as pilot:
        while not is_shown(app):
            await pilot.pause(0.001)
        return time.perf_counter() - started


def is_shown(app: App[None]) -> bool:
    return any("host-000" in strip.text for strip in app.screen._compositor.render_strips(app.size))


class Meter:
    """Starts this file again on a pseudo-terminal as `role` and counts what it sends between its marks."""

    def __init__(self, role: str, terminal: str) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 80))
        self._marks, marks = os.pipe()
        environ = {**os.environ, "TERM": terminal, "MARKS": str(marks), "COLUMNS": "80", "LINES": "24"}
        if not terminal.startswith("xterm"):
            environ["TEXTUAL_COLOR_SYSTEM"] = "standard"
        environ.pop("COLORTERM", None)
        self._child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.console", role],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            pass_fds=(marks,),
            env=environ,
        )
        os.close(slave)
        os.close(marks)

    def run(self) -> list[int]:
        """Bytes sent before the first mark, then between each two."""
        counts, count = list[int](), 0
        while True:
            ready, _, _ = select.select([self._master, self._marks], [], [], 60)
            if not ready:
                raise TimeoutError("the measured program has stopped")
            if self._master in ready:
                try:
                    count += len(os.read(self._master, 65536))
                except OSError:
                    break
            elif self._marks in ready:
                if not os.read(self._marks, 1):
                    break
                counts.append(count)
                count = 0
        self._child.wait()
        return counts


def measure_bytes(role: str, terminal: str) -> tuple[int, float, int]:
    """Bytes of the first paint, of one changed cell (mean), and of a quiet second."""
    first, idle, *updates = Meter(role, terminal).run()
    return first, sum(updates) / len(updates), idle


async def play(app: App[None], change: Callable[[int], None]) -> None:
    """Be measured: a mark after the first paint, after a quiet second, and after each change."""
    marks = int(os.environ["MARKS"])

    async def script() -> None:
        await asyncio.sleep(2)
        os.write(marks, b".")
        await asyncio.sleep(1)
        os.write(marks, b".")
        for number in range(UPDATES):
            change(41 + number)
            await asyncio.sleep(PAUSE_SECONDS)
            os.write(marks, b".")
        app.exit()

    app.call_later(lambda: app.run_worker(script()))
    await app.run_async(mouse=False)


def main(arguments: Sequence[str]) -> None:
    match arguments:
        case ["console" | "basic" as role]:
            appliance = make_fleet(20)
            console = make_console(appliance, basic=role == "basic")

            def change(percent: int) -> None:
                transaction = make_transaction(percent=percent)
                appliance.put_host(make_host("host-00003", "Upgrading", transaction=transaction))

            asyncio.run(play(console, change))
        case ["peer"]:
            peer = Peer(20)
            asyncio.run(play(peer, peer.change))
        case _:
            report()


def report() -> None:
    appliance = make_fleet(FLEET)
    ours = asyncio.run(measure_first_paint(lambda: make_console(appliance), is_shown))
    theirs = asyncio.run(measure_first_paint(lambda: Peer(FLEET), is_shown))
    print(f"first paint, {FLEET} hosts: console {ours:.2f} s, DataTable {theirs:.2f} s, {theirs / ours:.1f}x")
    for terminal, role in (("xterm-256color", "console"), ("vt220", "console"), ("vt220", "basic")):
        paint, update, idle = measure_bytes(role, terminal)
        peer_paint, peer_update, _ = measure_bytes("peer", terminal)
        print(
            f"{terminal}, {role}: changed cell {update:.0f} B, DataTable {peer_update:.0f} B, "
            f"{peer_update / update:.0f}x less; first paint {paint} B, DataTable {peer_paint} B; "
            f"a quiet second {idle} B"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
