"""Text that must not be seen: a token or a password whose representation is stars.

It guards against accidents (a log line, a traceback, a `repr` of the struct that holds it), not against
code that asks for the text.
"""

STARS = "****"


class SecretText:
    """`reveal` is the only way to the text; equality is by the text, so tests and maps work."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return STARS

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(STARS, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretText) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)
