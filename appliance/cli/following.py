"""Following a long job from the command line: progress on stderr, the outcome as an exit code.

The job belongs to the appliance. Ctrl-C only stops the watching, and says so.
"""

import json
import sys
import time
from typing import TYPE_CHECKING

from appliance.api.contract import OperationView
from appliance.cli.exits import CommandFailed
from appliance.cli.output import Output, print_data, print_lines, talk

if TYPE_CHECKING:
    from appliance.api.client import Client

NEWS_EVERY_SECONDS = 1.0
BAR_WIDTH = 20


def finish(client: "Client", operation: OperationView, output: Output, *, wait: bool) -> OperationView:
    """Follow it to its end if asked to, print it, and raise CommandFailed if it went wrong."""
    if wait and not operation.is_final:
        operation = follow(client, operation.id)
    if output in (Output.JSON, Output.YAML):
        print_data(operation, output)
    elif output is Output.NAME:
        print_lines([f"operation/{operation.id}"])
    else:
        print_lines([f"operation/{operation.id} {operation.kind} {operation.state}"])
    check_outcome(operation)
    return operation


def follow(client: "Client", id: str) -> OperationView:
    """Show progress until the end."""
    teller = _Teller()
    operation = client.operation(id)
    try:
        for operation in client.follow_operation(id):
            teller.show(operation)
    except KeyboardInterrupt:
        teller.end()
        talk(f"It goes on without us: skerry operation follow {id}, or skerry operation cancel {id}.")
        raise
    teller.end()
    return operation


def check_outcome(operation: OperationView) -> None:
    """Raise CommandFailed for an operation that ended badly."""
    if operation.error is not None:
        error = operation.error
        raise CommandFailed(error.reason, f"{operation.kind} failed: {error.message}", hint=error.hint)
    if operation.state == "cancelled":
        raise CommandFailed("Cancelled", f"{operation.kind} was cancelled; nothing was left half done.")


class _Teller:
    """One line that is rewritten on a terminal; JSON lines, at most one a second, elsewhere."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._began = time.monotonic()
        self._phase = ""
        self._told = 0.0
        self._width = 0

    def show(self, operation: OperationView) -> None:
        progress, now = operation.progress, time.monotonic()
        if progress.phase != self._phase:
            self._phase, self._began, self._told = progress.phase, now, 0.0
        if not self._is_terminal:
            if now - self._told >= NEWS_EVERY_SECONDS or operation.is_final:
                self._told = now
                line = {"id": operation.id, "state": operation.state, "phase": progress.phase}
                talk(
                    json.dumps(
                        {**line, "done": progress.done, "total": progress.total, "what": progress.what}
                    )
                )
            return
        bar = render_bar(progress.done, progress.total)
        text = bar + render_progress(operation, seconds=now - self._began)
        sys.stderr.write(f"\r{text.ljust(self._width)}")
        sys.stderr.flush()
        self._width = len(text)

    def end(self) -> None:
        if self._is_terminal and self._width:
            sys.stderr.write("\n")


def render_progress(operation: OperationView, *, seconds: float) -> str:
    """`copying 41 % 38 MB/s, 2 min left`; the estimate is of this phase, from its own speed."""
    progress = operation.progress
    if not progress.total:
        return progress.phase or operation.state
    text = f"{progress.phase} {100 * progress.done // progress.total} %"
    if seconds >= 1 and progress.done:
        speed = progress.done / seconds
        text += f"  {speed / 1e6:.0f} MB/s, {render_left((progress.total - progress.done) / speed)} left"
    return text


def render_bar(done: int, total: int) -> str:
    """`[########............] `, in what every terminal can show; nothing where the end is not known."""
    if not total:
        return ""
    full = min(BAR_WIDTH * done // total, BAR_WIDTH)
    return f"[{'#' * full}{'.' * (BAR_WIDTH - full)}] "


def render_left(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
