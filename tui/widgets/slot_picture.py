"""The picture of a host's two slots: which one runs, what is in each, what the next boot will try."""

from collections.abc import Sequence

from agent.protocol.report import Slot, SlotName, SlotState
from appliance.api.contract import HostView
from tui.states import Tone
from tui.text import fit, plain, short_digest
from tui.widgets.lines import Line, Span, line

_WORDS: dict[SlotState, tuple[str, Tone]] = {
    "empty": ("empty", "dim"),
    "candidate": ("? CANDIDATE", "busy"),
    "good": ("+ good", ""),
    "bad": ("! BAD", "bad"),
}
_NAMES: tuple[SlotName, ...] = ("a", "b")


def render_slots(host: HostView, width: int) -> list[Line]:
    """Two boxes side by side, six lines; both are drawn even when the host has said nothing yet."""
    inner = max(16, min(36, (width - 6) // 2 - 2))
    boxes = [_box(_find(host.slots, name), name, host.slot == name, inner) for name in _NAMES]
    return [line(" ", *left, "  ", *right) for left, right in zip(*boxes, strict=True)]


def _box(slot: Slot | None, name: SlotName, booted: bool, inner: int) -> list[Line]:
    state, tone = _WORDS[slot.state] if slot else ("nothing reported", "dim")
    frame: Tone = "strong" if booted else "dim"
    edge = Span("│", frame)
    where = f"─ slot {name.upper()} {'booted ' if booted else ''}"
    rows = [
        Span(f" {state}", tone),
        Span(f" {slot.version if slot else ''}", "strong" if booted else ""),
        Span(f" {short_digest(slot.digest)}" if slot and slot.digest else " -", "dim"),
        Span(f" {_remark(slot, booted)}", "warn" if slot and slot.state == "bad" else "dim"),
    ]
    top = line(Span("┌" + where + "─" * (inner - len(where)) + "┐", frame))
    bottom = line(Span("└" + "─" * inner + "┘", frame))
    return [top, *((edge, Span(fit(plain(row.text), inner), row.tone), edge) for row in rows), bottom]


def _remark(slot: Slot | None, booted: bool) -> str:
    if slot is None or slot.state == "empty":
        return ""
    if slot.reason:
        return slot.reason
    if slot.state == "candidate":
        return "on trial: not confirmed yet" if booted else "tried at the next boot"
    return "<== running now" if booted else f"snapshot {slot.snapshot}" if slot.snapshot else ""


def _find(slots: Sequence[Slot], name: SlotName) -> Slot | None:
    return next((slot for slot in slots if slot.name == name), None)
