"""What a registration's texts become for one host: `${A/B/C}`, `${Random/…}`, sanitising, escaping.

Pure. The rules are upstream's (facts: wire-protocol 10.2, 10.3; operator 3.6), with one repaired: the
cut at 58 characters is followed by another strip, so that no result ends in `-` or `.`. It knows nothing
of labels, annotations or machines.
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
    pass


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
    return "${Random" in template


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


def _find_value(path: str, facts: Facts) -> str:
    steps = path.split("/")
    if steps[0] == "Random":
        return _random_value(path, steps[1:])
    value: Facts | JSON = facts
    for step in steps:
        value = value.get(step) if isinstance(value, Mapping) else None
    if not isinstance(value, str):
        raise NotKnown(f"the host sent no value for ${{{path}}}")
    return value


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
