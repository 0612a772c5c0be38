"""What `--basic` does to every line before it leaves: ASCII only, no colour, no dim text.

Bold, underline and reverse stay; every terminal since the VT100 has them. A character without a twin
becomes as many question marks as it is wide, so columns stay where they are.
"""

from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

_TWINS = str.maketrans(
    {
        **dict.fromkeys("─━═▔▁╌┄▀▄", "-"),
        **dict.fromkeys("│┃║▏▕▎▌▐▊", "|"),
        **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯╔╗╚╝┏┓┗┛", "+"),
        **dict.fromkeys("█▓▉", "#"),
        **dict.fromkeys("░▒·∙", "."),
        "…": "~",
        "→": ">",
        "←": "<",
        "↑": "^",
        "↓": "v",
        "●": "*",
        "•": "*",
        "–": "-",
        "—": "-",
        "’": "'",
        "“": '"',
        "”": '"',
        "\u00a0": " ",
    }
)


class BasicTerminal(LineFilter):
    """A line filter, so that it also holds for every widget that is not ours."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        plain = (
            Segment(render_ascii(text), _attributes(style), control) for text, style, control in segments
        )
        return list(Segment.simplify(plain))  # fewer styles are left, so fewer escape sequences


def render_ascii(text: str) -> str:
    """Same width, ASCII only."""
    if text.isascii():
        return text
    return "".join(
        character if character.isascii() else "?" * cell_len(character)
        for character in text.translate(_TWINS)
    )


@lru_cache(256)
def _attributes(style: Style | None) -> Style | None:
    if style is None:
        return None
    return Style(bold=style.bold or None, underline=style.underline or None, reverse=style.reverse or None)
