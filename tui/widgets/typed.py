"""A one-line input that leaves the Ctrl keys alone: minicom, screen and XON/XOFF own them."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input


class Typed(Input, inherit_bindings=False):
    """No blinking (it would send bytes for ever), no selection on focus, no suggestions."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "cursor_left", show=False),
        Binding("right", "cursor_right", show=False),
        Binding("home", "home", show=False),
        Binding("end", "end", show=False),
        Binding("backspace,ctrl+h", "delete_left", show=False),
        Binding("delete", "delete_right", show=False),
        Binding("enter", "submit", show=False),
    ]

    def __init__(self, *, placeholder: str = "", id: str | None = None, max_length: int = 80) -> None:
        super().__init__(
            placeholder=placeholder, id=id, compact=True, max_length=max_length, select_on_focus=False
        )
        self.cursor_blink = False
