"""Which values a registration's templates wanted and a host did not send, in words that help.

Pure. Upstream skips such a label in silence. Here the operator reads which template, which variable, what
happens without it, and which names near that one the host did send.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from agent.protocol.documents import JSON
from appliance.hosts.templates import (
    Facts,
    Malformed,
    NotKnown,
    TemplateError,
    is_random,
    render_template,
)

MAX_NAMES = 2000  # of a host's facts; a server sends some hundred
MAX_DEPTH = 8
MAX_COMPARED = 200  # spelled letter by letter against the wanted name
MAX_SUGGESTIONS = 3
MAX_UNRESOLVED = 32  # told of one host
MAX_EXPLAINED = 8  # of those, with the names nearby
MAX_SENTENCES = 4096  # characters


@dataclass(frozen=True, slots=True)
class Template:
    """A text of the registration, the place where it stands, and what happens where it cannot be rendered."""

    place: str
    text: str
    without: str


@dataclass(frozen=True, slots=True)
class Unresolved:
    """`nearest` are variables that the host did send; `reason` is set where the template itself is wrong."""

    template: Template
    variable: str
    nearest: Sequence[str] = ()
    has_facts: bool = True
    reason: str = ""

    def __str__(self) -> str:
        if self.reason:
            return f"{self.template.place}: {self.reason}; {self.template.without}"
        sentence = (
            f"{self.template.place}: the host sent no value for ${{{self.variable}}}; {self.template.without}"
        )
        if not self.has_facts:
            return f"{sentence}; it sent no facts at all (no-smbios?)"
        if self.nearest:
            return f"{sentence}; it did send {', '.join(f'${{{name}}}' for name in self.nearest)}"
        return sentence


def find_unresolved(templates: Sequence[Template], facts: Facts) -> list[Unresolved]:
    """Every template that cannot be rendered for a host with these facts, by its first variable at fault."""
    found: list[Unresolved] = []
    names: Names | None = None
    for template in templates:
        try:
            render_template(template.text, facts)
        except NotKnown as error:
            if names is None:
                names = Names(list_names(facts))
            nearest = names.find_nearest(error.variable.split("|")[0]) if len(found) < MAX_EXPLAINED else []
            found.append(Unresolved(template, error.variable, nearest, has_facts=bool(names.names)))
        except TemplateError as error:
            found.append(Unresolved(template, "", reason=str(error)))
        if len(found) == MAX_UNRESOLVED:
            break
    return found


def describe_unresolved(found: Sequence[Unresolved]) -> str:
    """All of it in sentences, one a line."""
    return "\n".join(str(one) for one in found)[:MAX_SENTENCES]


def check_template(text: str) -> str:
    """What is wrong with a template whatever the host sends; empty if nothing is."""
    if "${" in re.sub(r"\$\{[^}]*\}", "", text):
        return "it has a ${ without a }, which stays as it is"
    if not is_random(text):
        return ""
    try:
        render_template(text, {})
    except Malformed as error:
        return str(error)
    except NotKnown:
        return ""
    return ""


def list_names(facts: Facts) -> list[str]:
    """The variables that have a value, in the host's order."""
    names: list[str] = []
    for name in _walk(facts, "", MAX_DEPTH):
        names.append(name)
        if len(names) == MAX_NAMES:
            break
    return names


class Names:
    """The names that a host sent, prepared for being looked through several times."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._squeezed = [_squeeze(name) for name in names]

    def find_nearest(self, variable: str) -> list[str]:
        """A few names: the same but for spelling, then alike by letters, then with a step in common."""
        wanted = _squeeze(variable)
        first, last = wanted.partition("/")[0] + "/", "/" + wanted.rpartition("/")[2]
        pairs = list(zip(self.names, self._squeezed, strict=True))
        same = [name for name, squeezed in pairs if squeezed == wanted]
        kin = [name for name, squeezed in pairs if len(last) > 1 and squeezed.endswith(last)]
        kin += [name for name, squeezed in pairs if len(first) > 1 and squeezed.startswith(first)]
        compared = list(dict.fromkeys([*kin, *self.names]))[:MAX_COMPARED]
        alike = difflib.get_close_matches(variable, compared, n=MAX_SUGGESTIONS, cutoff=0.6)
        return list(dict.fromkeys([*same, *alike, *kin]))[:MAX_SUGGESTIONS]


def _walk(tree: Mapping[str, JSON], prefix: str, depth: int) -> Iterator[str]:
    for key, value in tree.items():
        if "/" in key or "}" in key:  # no template can reach it
            continue
        if isinstance(value, str):
            yield prefix + key
        elif isinstance(value, Mapping) and depth:
            yield from _walk(value, f"{prefix}{key}/", depth - 1)


def _squeeze(text: str) -> str:
    return re.sub(r"[^0-9a-z/]", "", text.lower())
