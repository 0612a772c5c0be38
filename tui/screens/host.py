"""One host: why it is in its state, its two slots, what it is doing, and what happened before."""

from collections.abc import Sequence
from datetime import datetime

from textual.app import ComposeResult

from agent.protocol.report import HistoryEntry
from appliance.api.contract import HostView
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from tui import twins
from tui.desk import Desk
from tui.estimate import render_remaining
from tui.explain import explain
from tui.known import Known
from tui.screens.frame import Action, Frame
from tui.session import Command
from tui.states import HOST, Tone
from tui.text import parse_time, render_age, render_duration, short_digest, tail
from tui.widgets.confirm import TailQuestion
from tui.widgets.lines import EMPTY, Line, Paper, Span, line, spread, wrap
from tui.widgets.progress import percent, render_bar
from tui.widgets.slot_picture import render_slots

_TAIL_LENGTH = 4
_OUTCOMES: dict[str, Tone] = {"rolled-back": "warn", "failed": "bad", "refused": "warn"}


class HostScreen(Frame):
    def __init__(self, desk: Desk, key: str) -> None:
        super().__init__(desk)
        self.key = key

    @property
    def host(self) -> HostView | None:
        return self.desk.known.hosts.get(self.key)

    def twin(self) -> str:
        return twins.show_host(*reversed(self.key.split("/", 1)))

    def body(self) -> ComposeResult:
        yield Paper(id="host")

    def actions(self) -> Sequence[Action]:
        host = self.host
        if host is None:
            return ()
        decide: tuple[Action, ...] = ()
        if host.approval != "approved":
            decide += (Action("a", "approve", self.approve),)
        return (*decide, Action("d", "delete from inventory", self.ask_forget))

    def paint_body(self) -> None:
        paper = self.query_one(Paper)
        host = self.host
        if host is None:
            paper.show([EMPTY, line(f" {self.key} is not in the inventory (any more). Esc goes back.")])
            return
        now, width = self.desk.clock(), self.app.size.width
        paper.show(render_host(host, self.desk.known, now=now, width=width))

    def approve(self) -> None:
        if (host := self.host) is not None:
            self.desk.act(approval_of(host.name, host.namespace, by=self.desk.operator))

    def ask_forget(self) -> None:
        host = self.host
        if host is None:
            return
        command = Command(
            twins.forget(host.name, host.namespace),
            f"{host.name} is deleted from the inventory.",
            lambda appliance: appliance.delete_object(MACHINE_INVENTORY, host.name, host.namespace),
        )
        lines = [
            *wrap(
                f"Its identity, plan and history on the appliance are destroyed. TPM …{tail(host.tpm_hash)}",
                66,
            ),
            *wrap("The machine itself keeps running; it must register and be approved again.", 66),
        ]

        def forget(sure: bool | None) -> None:
            if sure:
                self.desk.act(command)
                self.paint()

        asked = tail(host.tpm_hash or host.name, _TAIL_LENGTH)
        self.app.push_screen(TailQuestion(f"Delete {host.name}?", lines, tail=asked), forget)


def approval_of(name: str, namespace: str, *, by: str) -> Command:
    """The approval, wherever it is given from."""
    return Command(
        twins.approve(name, namespace),
        f"{name} is approved.",
        lambda appliance: appliance.approve(name, namespace, by=by),
    )


def render_host(host: HostView, known: Known, *, now: datetime, width: int) -> list[Line]:
    """The whole page; the first 17 lines are what fits without scrolling at 80x24."""
    return [
        *_render_title(host, now, width),
        *wrap(explain(host), width - 2, first=" why   ", indent="       ", tone="strong")[:3],
        *render_slots(host, width),
        *_render_transaction(host, known, now),
        *_render_history(host.history, now),
        *_render_facts(host, now, width),
    ]


def _render_title(host: HostView, now: datetime, width: int) -> list[Line]:
    state = HOST[host.phase]
    seen = render_age(parse_time(host.last_seen), now)
    heard = {"never": "never heard from", "now": "heard from just now"}.get(seen, f"last heard {seen} ago")
    return [
        spread(
            line(" ", Span(host.name, "strong"), Span(f"  {host.namespace}", "dim")),
            line("  ", Span(str(state), state.tone or "strong"), " "),
            width,
        ),
        line(Span(f" TPM …{tail(host.tpm_hash) or '?'}  {host.address or 'no address'}  {heard}", "dim")),
    ]


def _render_transaction(host: HostView, known: Known, now: datetime) -> list[Line]:
    transaction = host.transaction
    if transaction is None:
        return [line(" doing ", Span("nothing was ever installed through this appliance", "dim"))]
    what = f"{transaction.action} of slot {transaction.slot.upper()} to {short_digest(transaction.digest)}"
    if transaction.phase == "done":
        outcome = Span(transaction.outcome or "done", _OUTCOMES.get(transaction.outcome, "dim"))
        return [line(" last  ", f"{what}: ", outcome)]
    remaining = render_remaining(known.sighting_of(host), now)
    return [
        line(" doing ", f"{what}: ", Span(transaction.phase, "busy")),
        line(
            "       ",
            *render_bar(transaction.percent, 100, 30),
            f" {percent(transaction.percent, 100)}  ",
            Span(remaining and f"this phase: {remaining}", "dim"),
        ),
    ]


def _render_history(history: Sequence[HistoryEntry], now: datetime) -> list[Line]:
    """Newest first, in the time zone of `now`."""
    lines = [EMPTY, line(Span(" history", "title"))]
    for entry in sorted(history, key=lambda entry: entry.time, reverse=True):
        time = parse_time(entry.time)
        words = f"{entry.action:<8} {entry.slot.upper()} {entry.version or short_digest(entry.digest):<12}"
        lines.append(
            line(
                Span(f" {time.astimezone(now.tzinfo):%d %b %H:%M}  " if time else " ?             ", "dim"),
                f"{words} ",
                Span(entry.outcome, _OUTCOMES.get(entry.outcome, "dim")),
                Span(f"  {entry.reason}" if entry.reason else ""),
            )
        )
    return lines if history else [*lines, line(Span(" nothing yet", "dim"))]


def _render_facts(host: HostView, now: datetime, width: int) -> list[Line]:
    created = parse_time(host.created)
    facts = {
        "image": host.image,
        "sha256": host.digest.removeprefix("sha256:"),
        "TPM": host.tpm_hash,
        "addresses": ", ".join(host.addresses),
        "hostname": host.hostname,
        "agent": host.agent_version,
        "booted": f"{host.mode}, up {render_duration(host.uptime_seconds)}" if host.mode else "",
        "registered": f"{created.astimezone(now.tzinfo):%d %b %Y %H:%M}" if created else "",
        **host.labels,
    }
    lines = [EMPTY, line(Span(" facts", "title"))]
    for name, value in facts.items():
        if value:
            lines += wrap(value, width - 2, first=f" {name:<11} ", indent=" " * 13)
    return lines
