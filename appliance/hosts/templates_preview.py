"""What a registration's templates would make of a host, without the host: name, labels, annotations.

Pure, and by the very functions that a registering host meets.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agent.protocol.documents import JSON
from appliance.hosts.records import list_templates
from appliance.hosts.templates import (
    Facts,
    TemplateError,
    is_random,
    render_template,
    sanitise_label,
    sanitise_name,
)
from appliance.hosts.templates_missing import Template, check_template, find_unresolved
from appliance.resources.machine_registration import MachineRegistration


@dataclass(frozen=True, slots=True)
class Preview:
    """One template: `result` is what the machine would get, `problem` a sentence where something is wrong."""

    place: str
    template: str
    result: str = ""
    problem: str = ""


def preview_registration(
    registration: MachineRegistration, facts: Facts, *, labels: Mapping[str, str]
) -> list[Preview]:
    """Every template of the registration, and of the labels that the host sends itself."""
    return [_preview(template, facts) for template in list_templates(registration, labels, is_new=True)]


def preview_text(text: str, facts: Facts) -> Preview:
    """A template that stands nowhere yet, as a label would have it."""
    return _preview(Template("label", text, "the label is left out"), facts)


def read_facts(document: Mapping[str, JSON]) -> tuple[dict[str, JSON], dict[str, str]]:
    """Facts and labels from what `skerry-agent facts --json` printed, or facts alone from a bare tree."""
    sent = ("smbios", "system-data", "annotations", "labels")
    if not any(key in document for key in sent):
        return dict(document), {}
    facts: dict[str, JSON] = {}
    for key in ("smbios", "system-data"):
        tree = document.get(key)
        facts |= tree if isinstance(tree, dict) else {}
    labels = document.get("labels")
    return facts, dict(_strings(labels)) if isinstance(labels, dict) else {}


def _preview(template: Template, facts: Facts) -> Preview:
    for unresolved in find_unresolved([template], facts):
        _, _, problem = str(unresolved).partition(": ")
        return Preview(template.place, template.text, problem=problem)
    try:
        rendered = render_template(template.text, facts)
    except TemplateError as error:  # a random value may be drawn from a choice this time alone
        return Preview(template.place, template.text, problem=str(error))
    complaint = check_template(template.text)
    if template.place == "machineName":
        result = sanitise_name(rendered)
        complaint = complaint or ("" if result else "nothing of it can be used as a host name")
    elif template.place.startswith("annotation "):
        result = rendered
    else:
        result = sanitise_label(rendered)
    if is_random(template.text):
        result += " (drawn anew for each machine)"
    return Preview(template.place, template.text, result, complaint)


def _strings(values: Mapping[str, JSON]) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, str):
            yield key, value
