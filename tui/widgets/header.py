"""The two lines at the top of every screen: which appliance, how fresh, and how the fleet is."""

from collections import Counter
from datetime import datetime

from tui.known import Known
from tui.states import HOST, ROLLOUT, State, Tone
from tui.text import fit, plain, render_duration
from tui.widgets.lines import EMPTY, Bar, Line, Span, line, spread

_FRESH_STEP_SECONDS = 5


class Header(Bar):
    """Painted from what is known; still as long as nothing happens."""

    DEFAULT_CSS = "Header { height: 2; }"

    def __init__(self) -> None:
        super().__init__(height=2)

    def show_known(self, known: Known, *, server: str, now: datetime) -> None:
        width = self.app.size.width
        self.show(render_site(known, server=server, now=now, width=width), render_totals(known, width=width))


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


def render_totals(known: Known, *, width: int) -> Line:
    """Counts by state, what needs a person first; the rollout that needs eyes at the right."""
    if "hosts" not in known.listed:
        return line(" ", Span("asking for the hosts…" if known.connected else "nothing known yet", "dim"))
    counts = Counter(HOST[host.phase] for host in known.hosts.values())
    parts = [Span(f" hosts {len(known.hosts)}")]
    for state in sorted(counts, key=lambda state: state.rank):
        parts += [Span("  "), Span(f"{state.symbol} {counts[state]} {state.word}", _loudness(state))]
    return spread(tuple(parts), _render_rollout(known), width)


def _render_rollout(known: Known) -> Line:
    """The most urgent rollout that is not over."""
    rollouts = sorted(known.rollouts.values(), key=lambda rollout: ROLLOUT[rollout.status.phase].rank)
    if not rollouts or rollouts[0].status.phase == "Completed":
        return EMPTY
    state = ROLLOUT[rollouts[0].status.phase]
    name = fit(plain(rollouts[0].metadata.name), 16).rstrip()
    return line("  ", f"{name} ", Span(f"{state} ", _loudness(state)))


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
