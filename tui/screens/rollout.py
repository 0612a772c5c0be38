"""One rollout, one screen: waves, who is being upgraded now, and why it stands still when it does."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate

from textual.app import ComposeResult

from appliance.resources.rollout import ROLLOUT as ROLLOUT_KIND
from appliance.resources.rollout import Rollout, RolloutHost, RolloutWave
from appliance.rollout import FAILED_PHASES, is_finished, render_pause, render_resume
from tui import twins
from tui.desk import Desk
from tui.estimate import render_remaining
from tui.known import Known
from tui.screens.frame import Action, Frame
from tui.screens.host import HostScreen
from tui.session import Command
from tui.states import ROLLOUT, ROLLOUT_HOST
from tui.text import render_since, short_digest
from tui.widgets.confirm import Choice, Option
from tui.widgets.lines import EMPTY, Bar, Line, Span, line, spread, wrap
from tui.widgets.progress import percent
from tui.widgets.table import Cells, Column, LineTable

COLUMNS = (
    Column("HOST", 18),
    Column("WAVE", 4),
    Column("STATE", 13),
    Column("FOR", 4),
    Column("NOW"),
)
_BAR_WIDTH = 30
_MOST_WAVES = 6


class RolloutScreen(Frame):
    def __init__(self, desk: Desk, key: str) -> None:
        super().__init__(desk)
        self.key = key

    @property
    def rollout(self) -> Rollout | None:
        return self.desk.known.rollouts.get(self.key)

    def twin(self) -> str:
        return twins.show_rollout(*reversed(self.key.split("/", 1)))

    def body(self) -> ComposeResult:
        yield Bar(id="waves")
        yield LineTable(COLUMNS, self.cells, id="members", jump=self.desk.basic)

    def actions(self) -> Sequence[Action]:
        return rollout_actions(self, self.rollout) if self.rollout else ()

    def paint_body(self) -> None:
        rollout = self.rollout
        waves, table = self.query_one("#waves", Bar), self.query_one(LineTable)
        if rollout is None:
            waves.show(line(f" {self.key} is gone. Esc goes back."))
            table.show([])
            return
        lines = render_rollout(rollout, now=self.desk.clock(), width=self.app.size.width)
        waves.styles.height = len(lines)
        waves.show(*lines)
        hosts = sorted(rollout.status.hosts, key=lambda host: (ROLLOUT_HOST[host.phase].rank, host.name))
        table.show([host.name for host in hosts], empty="No host was chosen yet.")

    def cells(self, name: str) -> Cells:
        rollout = self.rollout
        member = next((host for host in rollout.status.hosts if host.name == name), None) if rollout else None
        if rollout is None or member is None:
            return [Span("")] * len(COLUMNS)
        state = ROLLOUT_HOST[member.phase]
        return (
            Span(name),
            Span(str(member.wave + 1)),
            Span(str(state), state.tone),
            Span(render_since(member.since, self.desk.clock()), "dim"),
            Span(
                _doing(member, rollout, self.desk.known, self.desk.clock()) or member.reason,
                state.tone if member.phase in FAILED_PHASES else "",
            ),
        )

    def on_line_table_chosen(self, event: LineTable.Chosen) -> None:
        if self.rollout is not None:
            key = f"{self.rollout.metadata.namespace}/{event.row}"
            self.app.push_screen(HostScreen(self.desk, key))


def rollout_actions(frame: Frame, rollout: Rollout) -> Sequence[Action]:
    """Pause while it moves, resume while it stands; nothing for one that is finished."""
    if is_finished(rollout.status.phase):
        return ()
    if rollout.status.phase == "Paused" or rollout.spec.paused:
        return (Action("r", "resume", lambda: ask_resume(frame, rollout)),)
    return (Action("p", "pause", lambda: frame.desk.act(pause_of(rollout))),)


def ask_resume(frame: Frame, rollout: Rollout) -> None:
    """Going on leaves the failed hosts behind, so with failures that is a question."""
    failed = [host for host in rollout.status.hosts if host.phase in FAILED_PHASES]
    if not failed:
        frame.desk.act(resume_of(rollout))
        return

    def resume(answer: str | None) -> None:
        if answer:
            frame.desk.act(resume_of(rollout))
            frame.paint()

    names = ", ".join(host.name for host in failed[:6]) + (
        f" and {len(failed) - 6} more" if failed[6:] else ""
    )
    lines = [
        *wrap(f"Without: {names}", 66, tone="strong"),
        *wrap(f"{failed[0].name}: {failed[0].reason or 'gave no reason'}", 66)[:4],
        *wrap("They stay on the image they run; every other host goes on.", 66),
    ]
    options = [Option("1", f"resume without {len(failed)} failed", "resume")]
    frame.app.push_screen(Choice(f"Resume {rollout.metadata.name}?", lines, options), resume)


def pause_of(rollout: Rollout) -> Command:
    name, namespace = rollout.metadata.name, rollout.metadata.namespace
    return Command(
        twins.pause_rollout(name, namespace),
        f"{name} is paused: hosts under way finish, no other starts.",
        lambda appliance: appliance.patch_object(ROLLOUT_KIND, name, namespace, render_pause()),
    )


def resume_of(rollout: Rollout) -> Command:
    name, namespace = rollout.metadata.name, rollout.metadata.namespace
    return Command(
        twins.resume_rollout(name, namespace),
        f"{name} goes on.",
        lambda appliance: appliance.patch_object(ROLLOUT_KIND, name, namespace, render_resume(rollout)),
    )


def render_rollout(rollout: Rollout, *, now: datetime, width: int) -> list[Line]:
    """Title, reason, one bar a wave."""
    status, state = rollout.status, ROLLOUT[rollout.status.phase]
    target = status.image or rollout.spec.image or rollout.spec.managed_os_version_name
    running = render_since(status.started_at, now) if not status.finished_at else ""
    title = spread(
        line(" ", Span(rollout.metadata.name, "strong"), Span(f"  {rollout.metadata.namespace}", "dim")),
        line("  ", Span(str(state), state.tone), f"  {running} "),
        width,
    )
    image = line(Span(f" to {target}", "dim"), Span(f"  {short_digest(status.digest)}", "dim"))
    tone = state.tone if state.tone in ("warn", "bad") else "dim"
    why = wrap(status.reason or "no reason given", width - 2, first=" why ", indent="     ", tone=tone)[:3]
    return [title, image, *why, EMPTY, *_render_waves(rollout), EMPTY]


def _render_waves(rollout: Rollout) -> list[Line]:
    waves = rollout.status.waves
    start = max(0, min(rollout.status.current_wave - 2, len(waves) - _MOST_WAVES))
    numbers = range(len(waves))[start : start + _MOST_WAVES]
    return [_render_wave(rollout, number, waves[number]) for number in numbers]


def _render_wave(rollout: Rollout, number: int, wave: RolloutWave) -> Line:
    waves = rollout.spec.waves
    name = waves[number].name if number < len(waves) else ""
    told = [host for host in rollout.status.hosts if host.wave == number]
    here = rollout.status.current_wave == number and rollout.status.phase in ("Progressing", "Paused")
    return line(
        f" wave {number + 1:<2} {name[:10]:<10} [",
        *_wave_bar(wave, told),
        f"] {wave.updated}/{wave.hosts}",
        Span(f"  {wave.failed} failed" if wave.failed else "", "warn"),
        Span("  <== here" if here else "", "strong"),
    )


def _wave_bar(wave: RolloutWave, hosts: Sequence[RolloutHost]) -> list[Span]:
    """Each phase's share of the bar in its symbol: updated, moving, failed, waiting."""
    if not wave.hosts:
        return [Span(" " * _BAR_WIDTH)]
    told = Counter(host.phase for host in hosts if host.phase not in ("Updated", "Waiting"))
    unnamed = wave.failed - sum(told[phase] for phase in FAILED_PHASES)
    told.update({"Updated": wave.updated, "Failed": max(0, unnamed)})
    told["Waiting"] = max(0, wave.hosts - told.total())
    order = sorted(told, key=lambda phase: (phase == "Waiting", -ROLLOUT_HOST[phase].rank))
    ends = list(accumulate(told[phase] for phase in order))
    picked = [order[bisect_right(ends, cell * ends[-1] // _BAR_WIDTH)] for cell in range(_BAR_WIDTH)]
    return [Span(ROLLOUT_HOST[phase].symbol, ROLLOUT_HOST[phase].tone) for phase in picked]


def _doing(member: RolloutHost, rollout: Rollout, known: Known, now: datetime) -> str:
    if member.phase not in ("Planned", "Upgrading"):
        return ""
    host = known.hosts.get(f"{rollout.metadata.namespace}/{member.name}")
    transaction = host.transaction if host else None
    if host is None or transaction is None or transaction.phase == "done":
        return ""
    remaining = render_remaining(known.sighting_of(host), now)
    return f"{transaction.phase} {percent(transaction.percent, 100)} {remaining}"
