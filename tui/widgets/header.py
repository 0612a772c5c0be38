"""The two lines at the top of every screen: which appliance, how fresh, and how the fleet is."""

from collections import Counter
from datetime import datetime

from tui.known import Known
from tui.states import HOST, ROLLOUT, State, Tone
from tui.text import plain, render_duration
from tui.widgets.lines import Bar, Line, Span, line, spread

_FRESH_STEP_SECONDS = 5


class Header(Bar):
    """Painted from what is known; still as long as nothing happens."""

    DEFAULT_CSS = "Header { height: 2; }"

    def __init__(self) -> None:
        super().__init__(height=2)

    def show_known(self, known: Known, *, server: str, now: datetime) -> None:
        self.show(render_site(known, server=server, now=now, width=self.size.width), render_totals(known))


def render_site(known: Known, *, server: str, now: datetime, width: int) -> Line:
    """Site and address at the left; connection, its age and the time of day at the right."""
    version = known.version
    site = version.site if version and version.site else "skerry"
    url = version.url if version and version.url else server
    word, tone = _connection(known, now)
    return spread(
        line(" ", Span(site, "strong"), "  ", Span(url, "dim")),
        line("  ", Span(word, tone), f"  {now:%H:%M} "),
        width,
    )


def render_totals(known: Known) -> Line:
    """Counts by state; only what is not well is loud. The rollout that needs eyes stands at the end."""
    if "hosts" not in known.listed:
        return line(" ", Span("asking for the hosts…" if known.connected else "nothing known yet", "dim"))
    counts = Counter(HOST[host.phase] for host in known.hosts.values())
    parts = [Span(f" hosts {len(known.hosts)}")]
    for state in sorted(counts, key=lambda state: -state.rank):
        parts += [Span("  "), Span(f"{state.symbol} {counts[state]} {state.word}", _loudness(state))]
    for rollout in sorted(known.rollouts.values(), key=lambda rollout: ROLLOUT[rollout.status.phase].rank)[
        :1
    ]:
        state = ROLLOUT[rollout.status.phase]
        if state.rank < ROLLOUT["Completed"].rank:
            parts += [Span("  | "), Span(f"{plain(rollout.metadata.name)} {state.word}", _loudness(state))]
    return tuple(parts)


def _connection(known: Known, now: datetime) -> tuple[str, Tone]:
    if known.connected:
        return "+ live", "dim"
    if known.heard_at is None:
        return "! no answer yet", "warn"
    seconds = (now - known.heard_at).total_seconds()
    if seconds < 60:
        seconds -= seconds % _FRESH_STEP_SECONDS
    return f"! AWAY, data {render_duration(seconds)} old", "bad"


def _loudness(state: State) -> Tone:
    return state.tone if state.tone in ("bad", "warn") else ""
