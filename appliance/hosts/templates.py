"""What a registration's texts become for one host: `${A/B/C}`, `${Random/…}`, sanitising, escaping.

Pure. The rules are upstream's (facts: wire-protocol 10.2, 10.3; operator 3.6), with one repaired: the cut
at 58 characters is followed by another strip, so that no result ends in `-` or `.`. Ours is the list of
what to take instead, `${A/B|C/D|text}`: the first variable that has a value worth having, else the text. A
choice without a slash is text, for no variable is named without one. Upstream's parser takes the whole for
one variable's name, finds no such value and skips the label, so a registration moved there loses a label
and never gets a wrong one; and a fact whose own name has a `|` is found first, so nothing that upstream
resolves is read differently here.

It knows nothing of labels, annotations or machines.
"""

import html
import re
import secrets
import uuid
from collections.abc import Mapping
from typing import TypeAlias

from agent.protocol.documents import JSON

Facts: TypeAlias = Mapping[str, JSON]

MAX_SANITISED = 58
MAX_RENDERED = 16 * 1024  # far above any real label; a template must not multiply a large fact for ever
MAX_RANDOM_INT = 2**63 - 1  # upstream's int64

# What firmware and clients write where nobody filled in a value: a choice goes on past these. A variable
# alone is taken at its word, as upstream does.
PLACEHOLDERS = frozenset(
    (
        *("", "unknown", "none", "n/a", "na", "null", "default", "default string", "not specified"),
        *(
            "not present",
            "not settable",
            "not available",
            "not applicable",
            "no asset tag",
            "no asset information",
        ),
        *(
            "to be filled by o.e.m.",
            "to be filled by oem",
            "o.e.m.",
            "oem",
            "invalid",
            "<bad index>",
            "empty",
        ),
        *("system serial number", "system product name", "system manufacturer", "system version", "sku"),
        *(
            "base board serial number",
            "chassis serial number",
            "serial number",
            "asset tag",
            "0123456789",
        ),
        *(
            "00000000",
            "123456789",
            "1234567890",
            "xxxxxxxx",
            "........",
            "00000000-0000-0000-0000-000000000000",
        ),
        *("ffffffff-ffff-ffff-ffff-ffffffffffff", "03000200-0400-0500-0006-000700080009"),
    )
)

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_NOT_IN_NAMES = re.compile(r"[^0-9A-Za-z.]")
_NOT_IN_LABELS = re.compile(r"[^0-9A-Za-z._]")
_DASHES = re.compile(r"-{2,}")
_ENDS = re.compile(r"^[^0-9A-Za-z]+|[^0-9A-Za-z]+$")


class TemplateError(ValueError):
    """A template cannot be rendered; the message names the variable.

    TemplateError
    ├── NotKnown      the host did not send that value
    └── Malformed     a Random variable makes no sense
    """


class NotKnown(TemplateError):
    """`variable` is what stands between the braces."""

    def __init__(self, variable: str) -> None:
        super().__init__(f"the host sent no value for ${{{variable}}}")
        self.variable = variable


class Malformed(TemplateError):
    pass


def render_template(template: str, facts: Facts) -> str:
    """Replace every `${…}` by its value. Raises NotKnown and Malformed; `${` without `}` stays as it is."""
    parts: list[str] = []
    length, end = 0, 0
    for match in _VARIABLE.finditer(template):
        parts += template[end : match.start()], _find_value(match.group(1), facts)
        length += len(parts[-1]) + len(parts[-2])
        end = match.end()
        if length > MAX_RENDERED:
            break
    if length + len(template) - end > MAX_RENDERED:
        raise Malformed(f"the template {template[:60]!r} grows beyond {MAX_RENDERED} characters")
    return "".join(parts) + template[end:]


def is_random(template: str) -> bool:
    """Say whether rendering the template again would give another value."""
    variables = (match.group(1) for match in _VARIABLE.finditer(template))
    return any(choice.startswith("Random") for variable in variables for choice in variable.split("|"))


def sanitise_name(text: str) -> str:
    """Make a host name of any text; empty if nothing usable is left."""
    return _sanitise(text, _NOT_IN_NAMES).lower()


def sanitise_label(text: str) -> str:
    """Make a label value of any text."""
    return _sanitise(text, _NOT_IN_LABELS)


def escape_text(text: str) -> str:
    """What a client sent as a key or an annotation: newlines removed, then HTML-escaped as Go does it."""
    one_line = text.replace("\n", "").replace("\r", "")
    return html.escape(one_line).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")


def _sanitise(text: str, unwanted: re.Pattern[str]) -> str:
    squeezed = _DASHES.sub("-", unwanted.sub("-", text))
    return _ENDS.sub("", _ENDS.sub("", squeezed)[:MAX_SANITISED])


def _find_value(variable: str, facts: Facts) -> str:
    value = _look_up(variable, facts)
    if value is not None:
        return value
    choices = variable.split("|")
    if len(choices) == 1:
        raise NotKnown(variable)
    for place, choice in enumerate(choices):
        if place and "/" not in choice:
            return choice
        value = _look_up(choice, facts)
        if value is not None and value.strip().lower() not in PLACEHOLDERS:
            return value
    raise NotKnown(variable)


def _look_up(path: str, facts: Facts) -> str | None:
    """The text at a path, or None."""
    steps = path.split("/")
    if steps[0] == "Random" and "|" not in path:
        return _random_value(path, steps[1:])
    value: Facts | JSON = facts
    for step in steps:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else None


def _random_value(path: str, steps: list[str]) -> str:
    match steps:
        case ["UUID"]:
            return str(uuid.uuid4())
        case ["Hex", text] if _is_number(text) and 1 <= int(text) <= 32:
            return secrets.token_hex(16)[: int(text)]
        case ["Int", text] if _is_number(text) and 1 <= int(text) <= MAX_RANDOM_INT:
            return str(secrets.randbelow(int(text)))
        case _:
            raise Malformed(f"${{{path}}} is not one of Random/UUID, Random/Hex/1-32, Random/Int/MAX")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20
