"""The console: Textual's application around the screens. It owns what is known, the session and the log.

Messages from the session are taken in here and painted at most a few times a second; when nothing happens,
nothing is sent. It never exits because of the appliance.
"""

from collections.abc import Callable
from datetime import datetime
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.driver import Driver

from appliance.api.contract import HostView
from tui.desk import Desk
from tui.filters import BasicTerminal
from tui.known import Change, Changed, Known, key_of
from tui.messages import CommandFinished, ConnectionLost, ConnectionMade, MachinesFound, ObjectUnreadable
from tui.screens.bundles import BundlesScreen
from tui.screens.frame import Frame
from tui.screens.help import HelpScreen
from tui.screens.hosts import HostsScreen
from tui.screens.inbox import InboxScreen
from tui.screens.log import LogScreen
from tui.screens.rollouts import RolloutsScreen
from tui.serial import SerialDriver
from tui.session import Appliance, Backoff, Command, Session
from tui.states import HOST

PAINT_SECONDS = 0.25
BASIC_PAINT_SECONDS = 1.0
_CLOCK_SECONDS = 5.0
_PLACES = ("hosts", "inbox", "rollouts", "bundles", "log")


class Console(App[None], inherit_bindings=False):
    """`clock` gives the time in UTC; `paint_seconds` is the least time between two paints of news."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number), f"go('{place}')", show=False) for number, place in enumerate(_PLACES, 1)),
        Binding("6", "actions", show=False),
        Binding("9,question_mark", "help", show=False),
        Binding("escape,0", "back", show=False),
        Binding("q,ctrl+c", "quit", show=False),
    ]

    def __init__(
        self,
        appliance: Appliance,
        *,
        server: str,
        operator: str = "",
        clock: Callable[[], datetime],
        basic: bool = False,
        paint_seconds: float | None = None,
        backoff: Backoff | None = None,
        driver: type[Driver] | None = None,
    ) -> None:
        super().__init__(driver_class=driver)
        self.theme = "ansi-dark"
        self._paint_seconds = paint_seconds or (BASIC_PAINT_SECONDS if basic else PAINT_SECONDS)
        self.paint_is_due = False
        self.session = Session(appliance, self.post_message, backoff=backoff)
        self.desk = Desk(
            Known(clock),
            clock,
            self.run_command,
            self.session.search,
            basic=basic,
            server=server,
            operator=operator,
        )
        if basic:
            self._filters.append(BasicTerminal())
        self.add_mode("hosts", lambda: HostsScreen(self.desk))
        self.add_mode("inbox", lambda: InboxScreen(self.desk))
        self.add_mode("rollouts", lambda: RolloutsScreen(self.desk))
        self.add_mode("bundles", lambda: BundlesScreen(self.desk))
        self.add_mode("log", lambda: LogScreen(self.desk))

    def run_command(self, command: Command) -> None:
        self.session.run(command)

    async def on_mount(self) -> None:
        await self.switch_mode("hosts")
        self.desk.write("command", f"export SKERRY_SERVER={self.desk.server}")
        self.set_interval(_CLOCK_SECONDS, self.paint_header)
        self.session.start()

    def on_unmount(self) -> None:
        self.session.stop()

    # --- what happened

    def on_connection_made(self, message: ConnectionMade) -> None:
        known = self.desk.known
        known.version, known.connected, known.trouble = message.version, True, ""
        self.desk.write("event", f"connected to {message.version.site or self.desk.server}")
        self.paint_soon()

    def on_connection_lost(self, message: ConnectionLost) -> None:
        known = self.desk.known
        if known.connected or known.trouble != message.reason:
            self.desk.write("event", f"the appliance is away: {message.reason}")
        known.connected, known.trouble = False, message.reason
        self.paint_soon()

    def on_line_held(self) -> None:
        self.desk.known.heard_at = self.desk.clock()

    def on_news_arrived(self) -> None:
        for change in self.session.take_news():
            self._note(change)
            self.desk.known.learn(change)
        self.paint_soon()

    def on_command_finished(self, message: CommandFinished) -> None:
        self.desk.finish(message.twin, message.sentence, succeeded=message.succeeded)
        self.paint()

    def on_machines_found(self, message: MachinesFound) -> None:
        known = self.desk.known
        known.found_by, known.found = message.typed, message.keys
        self.paint_soon()

    def on_object_unreadable(self, message: ObjectUnreadable) -> None:
        self.desk.write("refused", f"an object of {message.kind} cannot be read: {message.reason}")

    # --- keys

    async def action_go(self, place: str) -> None:
        """The digit of the page in front paints it anew, for when something else wrote on the line."""
        if self.current_mode != place:
            await self.switch_mode(place)
        else:
            self.redraw()

    def redraw(self) -> None:
        if isinstance(self._driver, SerialDriver):
            self._driver.shown.forget()
        self.screen.refresh()

    def on_resize(self) -> None:
        self.redraw()

    def action_actions(self) -> None:
        if isinstance(self.screen, Frame):
            self.screen.show_actions()

    def action_help(self) -> None:
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.desk))

    async def action_back(self) -> None:
        if isinstance(self.screen, HostsScreen) and self.screen.back():
            return
        if len(self.screen_stack) > 1:
            self.pop_screen()
        elif self.current_mode != "hosts":
            await self.switch_mode("hosts")

    # --- painting

    def paint_soon(self) -> None:
        """Paint once, a moment from now, however often this is called until then."""
        if not self.paint_is_due:
            self.paint_is_due = True
            self.set_timer(self._paint_seconds, self.paint)

    def paint(self) -> None:
        self.paint_is_due = False
        for screen in self.screen_stack:
            if isinstance(screen, Frame):
                screen.paint()

    def paint_header(self) -> None:
        """Minutes and ages pass without news."""
        for screen in self.screen_stack:
            if isinstance(screen, Frame):
                screen.paint_header()

    def _note(self, change: Change) -> None:
        """Log what a technician would want to read later: hosts that changed their state."""
        if isinstance(change, Changed) and isinstance(change.item, HostView):
            before = self.desk.known.hosts.get(key_of(change.item))
            if before is not None and before.phase != change.item.phase:
                words = f"{HOST[before.phase].word} -> {HOST[change.item.phase].word}"
                reason = f": {change.item.reason}" if change.item.reason else ""
                self.desk.write("event", f"{change.item.name}: {words}{reason}")
