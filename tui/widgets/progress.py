"""Bars and percentages, the same on every screen."""

from tui.widgets.lines import Line, Span, line


def render_bar(done: int, total: int, width: int) -> Line:
    """`[████....]`; all dots while the total is unknown. ASCII terminals get `#`."""
    inner = max(1, width - 2)
    full = inner * max(0, min(done, total)) // total if total > 0 else 0
    return line("[", Span("█" * full), Span("·" * (inner - full), "dim"), "]")


def percent(done: int, total: int) -> str:
    return f"{100 * max(0, min(done, total)) // total}%" if total > 0 else ""
