"""All rollouts: those that need eyes first. Enter opens one; `p` pauses, `r` resumes."""

from collections.abc import Sequence

from textual.app import ComposeResult

from appliance.resources.rollout import Rollout
from tui import twins
from tui.screens.frame import Action, Frame
from tui.screens.rollout import RolloutScreen, rollout_actions
from tui.states import ROLLOUT
from tui.text import render_since, short_digest
from tui.widgets.lines import Span
from tui.widgets.table import Cells, Column, LineTable

COLUMNS = (
    Column("STATE", 9),
    Column("NAME", 18),
    Column("IMAGE", 13, from_width=100),
    Column("WAVE", 4),
    Column("HOSTS", 9),
    Column("FOR", 4),
    Column("WHY"),
)


class RolloutsScreen(Frame):
    def twin(self) -> str:
        return twins.ROLLOUTS

    def body(self) -> ComposeResult:
        yield LineTable(COLUMNS, self.cells, id="rollouts", jump=self.desk.basic)

    def actions(self) -> Sequence[Action]:
        row = self.query_one(LineTable).row
        rollout = self.desk.known.rollouts.get(row) if row else None
        return rollout_actions(self, rollout) if rollout else ()

    def paint_body(self) -> None:
        rollouts = self.desk.known.rollouts
        rows = sorted(rollouts, key=lambda key: _rank(rollouts[key]))
        said = "No rollouts yet: skerry rollout start NAME --image REFERENCE begins one."
        self.query_one(LineTable).show(rows, empty=said)

    def cells(self, key: str) -> Cells:
        rollout = self.desk.known.rollouts.get(key)
        if rollout is None:
            return [Span("")] * len(COLUMNS)
        status, state = rollout.status, ROLLOUT[rollout.status.phase]
        running = render_since(status.started_at, self.desk.clock()) if not status.finished_at else ""
        return (
            Span(str(state), state.tone),
            Span(rollout.metadata.name),
            Span(short_digest(status.digest) or rollout.spec.managed_os_version_name, "dim"),
            Span(str(status.current_wave + 1)),
            Span(f"{status.updated}/{status.total}" + (f" {status.failed}!" if status.failed else "")),
            Span(running, "dim"),
            Span(status.reason, "warn" if state.tone == "warn" else "dim"),
        )

    def on_line_table_chosen(self, event: LineTable.Chosen) -> None:
        self.app.push_screen(RolloutScreen(self.desk, event.row))

    def on_line_table_moved(self) -> None:
        self.paint()


def _rank(rollout: Rollout) -> tuple[int, str, str]:
    return (
        ROLLOUT[rollout.status.phase].rank,
        rollout.metadata.creation_timestamp or "",
        rollout.metadata.name,
    )
