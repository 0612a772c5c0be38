"""What registering would send of this host, and which template variable each value answers to: for people.

Pure. The messages themselves are made in `agent.register`; this is the same data, laid open before it goes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from agent.facts.host_facts import NO_FACTS, Facts
from agent.protocol.documents import JSON

A_LIST = "(a list, which templates cannot use)"


@dataclass(frozen=True, slots=True)
class Sent:
    """`has_facts` is false where the registration says no-smbios, which keeps SMBIOS and hardware at home."""

    facts: Facts = NO_FACTS
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    has_facts: bool = True

    def as_json(self) -> dict[str, JSON]:
        """The four messages to a current server; `skerry registration render --facts` reads this."""
        return {
            "smbios": dict(self.facts.smbios),
            "system-data": dict(self.facts.system_data),
            "annotations": dict(self.annotations),
            "labels": dict(self.labels),
        }


def render_sent(sent: Sent) -> str:
    """A section a message, a line a value, the variable first."""
    sections = [
        ("SMBIOS", list(_variables(sent.facts.smbios))),
        ("Hardware", list(_variables(sent.facts.system_data))),
        ("Annotations", list(sent.annotations.items())),
        ("Labels", list(sent.labels.items())),
    ]
    lines: list[str] = []
    for title, pairs in sections:
        if not pairs:
            continue
        width = min(60, max(len(name) for name, _ in pairs))
        lines += [*([""] if lines else []), title, *(f"  {name:{width}}  {value}" for name, value in pairs)]
    if not sent.has_facts:
        lines += ["", "The registration says no-smbios: neither SMBIOS nor hardware is sent."]
    return "\n".join(lines)


def _variables(tree: Mapping[str, JSON], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _variables(value, f"{prefix}{key}/")
        elif isinstance(value, list):
            yield f"{prefix}{key}", A_LIST
        elif value is not None:
            yield f"${{{prefix}{key}}}", str(value)
