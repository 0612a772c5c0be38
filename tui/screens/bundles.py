"""What was brought across the air gap, and the long jobs of the appliance with their progress."""

from collections.abc import Sequence

from textual.app import ComposeResult

from appliance.api.contract import BundleView, OperationView
from tui import twins
from tui.estimate import render_remaining
from tui.screens.frame import Action, Frame
from tui.session import Command
from tui.states import OPERATION
from tui.text import parse_time, render_age, render_size, short_digest
from tui.widgets.confirm import Choice
from tui.widgets.lines import Line, Span, line, wrap
from tui.widgets.progress import percent, render_bar
from tui.widgets.table import Cells, Column, LineTable

COLUMNS = (
    Column("STATE", 13),
    Column("WHAT", 22),
    Column("PROGRESS", 21),
    Column("WHEN", 5),
    Column("DETAIL"),
)


class BundlesScreen(Frame):
    """One table: operations that run, then what is loaded, then operations that ended."""

    def twin(self) -> str:
        return twins.BUNDLES

    def body(self) -> ComposeResult:
        yield LineTable(COLUMNS, self.cells, id="bundles", jump=self.desk.basic)

    def actions(self) -> Sequence[Action]:
        operation = self.desk.known.operations.get(self.query_one(LineTable).row or "")
        if operation is None or operation.is_final:
            return ()
        return (Action("c", "cancel", lambda: self.desk.act(cancel_of(operation))),)

    def paint_body(self) -> None:
        known = self.desk.known
        operations = sorted(
            known.operations.values(), key=lambda operation: operation.created_at, reverse=True
        )
        bundles = sorted(known.bundles, key=lambda key: known.bundles[key].loaded_at, reverse=True)
        rows = [
            *(operation.id for operation in operations if not operation.is_final),
            *bundles,
            *(operation.id for operation in operations if operation.is_final),
        ]
        said = "No bundles yet: skerry bundle load FILE brings one in."
        self.query_one(LineTable).show(rows, empty=said)

    def cells(self, row: str) -> Cells:
        known = self.desk.known
        if (operation := known.operations.get(row)) is not None:
            return self._operation_cells(operation)
        if (bundle := known.bundles.get(row)) is not None:
            when = render_age(parse_time(bundle.loaded_at), self.desk.clock())
            versions = ", ".join(image.version or image.reference for image in bundle.images)
            images = f"{len(bundle.images)} image{'s' if len(bundle.images) != 1 else ''}"
            return (
                Span("+ loaded"),
                Span(bundle.name),
                Span(images),
                Span(when, "dim"),
                Span(versions, "dim"),
            )
        return [Span("")] * len(COLUMNS)

    def on_line_table_moved(self) -> None:
        self.paint()

    def on_line_table_chosen(self, event: LineTable.Chosen) -> None:
        known = self.desk.known
        if (bundle := known.bundles.get(event.row)) is not None:
            self.app.push_screen(Choice(bundle.name, _describe_bundle(bundle), ()))
        elif (operation := known.operations.get(event.row)) is not None:
            self.app.push_screen(Choice(operation.kind, _describe_operation(operation), ()))

    def _operation_cells(self, operation: OperationView) -> Cells:
        state, progress, now = OPERATION[operation.state], operation.progress, self.desk.clock()
        detail = "" if operation.is_final else f"{progress.phase} {progress.what}".strip()
        detail = operation.error.message if operation.error else detail
        amount = ""
        if not operation.is_final:
            left = render_remaining(self.desk.known.sighting_of(operation), now)
            amount = left or render_size(progress.done) if progress.total else ""
            amount = f"{percent(progress.done, progress.total)} {amount}".strip()
        return (
            Span(str(state), state.tone),
            Span(operation.kind),
            Span(amount, "busy"),
            Span(render_age(parse_time(operation.created_at), now), "dim"),
            Span(detail, state.tone if operation.error else "dim"),
        )


def cancel_of(operation: OperationView) -> Command:
    return Command(
        twins.cancel_operation(operation.id),
        f"{operation.kind} {operation.id} is asked to stop.",
        lambda appliance: appliance.cancel_operation(operation.id),
    )


def _describe_bundle(bundle: BundleView) -> list[Line]:
    lines = [
        line(f"loaded   {bundle.loaded_at}"),
        line(f"created  {bundle.created}  number {bundle.sequence}"),
    ]
    for image in bundle.images[:8]:
        lines.append(line(Span(image.reference, "strong")))
        lines.append(line(f"  {image.version:<12} {short_digest(image.digest)} {image.display_name}"))
    if len(bundle.images) > 8:
        lines.append(line(f"and {len(bundle.images) - 8} more"))
    return lines


def _describe_operation(operation: OperationView) -> list[Line]:
    progress = operation.progress
    lines = [
        line(f"{operation.id}  {operation.state}"),
        line(*render_bar(progress.done, progress.total, 40), f" {percent(progress.done, progress.total)}"),
        line(f"{progress.phase} {progress.what}"),
    ]
    if operation.error:
        lines += wrap(operation.error.message, 66, tone="bad") + wrap(operation.error.hint, 66)
    return lines
