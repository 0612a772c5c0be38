"""What a registration and a proved host make together: the MachineInventory's name, labels, annotations.

Pure; the rules are upstream's (facts: wire-protocol 10, operator 3.5, 3.6) with its defects D09, D13, D15
and D41 repaired. One rule is ours: nothing that a host sends may land on a key by which a person decides,
such as the approval. What templates wanted and the host did not send is told on the record, from where the
registration's condition comes; a registration may also refuse such a host.
"""

import uuid
from collections.abc import Mapping

from appliance.hosts.errors import NotAdmissible
from appliance.hosts.handshake import Registrant
from appliance.hosts.templates import (
    Facts,
    Malformed,
    NotKnown,
    TemplateError,
    escape_text,
    is_random,
    render_template,
    sanitise_label,
    sanitise_name,
)
from appliance.hosts.templates_missing import Template, Unresolved, describe_unresolved, find_unresolved
from appliance.resources.machine_inventory import (
    APPROVAL,
    APPROVED_BY,
    FINALIZER,
    MACHINE_INVENTORY,
    REGISTERED_WITH,
    RESETTABLE,
    UNRESOLVED_TEMPLATES,
    MachineInventory,
)
from appliance.resources.machine_registration import APPROVAL_POLICY, MachineRegistration
from appliance.resources.meta import Document

DEFAULT_PREFIX = "elemental.cattle.io"
UNMANAGED = "os.unmanaged"
OUR_DOMAIN = "skerry.dev/"

# On a registration: `refuse` turns a new host away whose facts do not fill every template; else it comes in.
MISSING_VALUES = "skerry.dev/missing-values"


def render_inventory(
    registration: MachineRegistration, registrant: Registrant, *, network: Document | None = None
) -> Document:
    """The record of a machine that was never seen before. Raises NotAdmissible.

    `network` is the registration's `spec.config.network` as it was written: a template to copy whole.
    """
    spec: Document = {"network": {"configurator": "none"}}
    if network and network.get("configurator", "none") not in ("", "none"):
        spec["network"] = {"configurator": network["configurator"], "config": network.get("config") or {}}
        spec["ipAddressPools"] = network.get("ipAddresses") or {}
    machine = registrant.machine
    spec["tpmHash" if machine.kind == "tpm" else "machineHash"] = machine.hash
    unresolved = describe_unresolved(check_resolved(registration, registrant))
    annotations = render_annotations(registration, registrant, {})
    if unresolved:
        annotations[UNRESOLVED_TEMPLATES] = unresolved
    if registration.spec.config.elemental.reset.enabled:
        annotations[RESETTABLE] = "true"
    return {
        "apiVersion": MACHINE_INVENTORY.api_version,
        "kind": MACHINE_INVENTORY.kind,
        "metadata": {
            "name": choose_name(registration.spec.machine_name, registrant.data),
            "namespace": registration.metadata.namespace,
            "labels": render_labels(registration, registrant, {}),
            "annotations": annotations | _decide_approval(registration),
            # Its controller's; from the start, so that it need not write for that alone.
            "finalizers": [FINALIZER],
        },
        "spec": spec,
    }


def render_update(
    registration: MachineRegistration, registrant: Registrant, known: MachineInventory
) -> Document:
    """The merge patch for a machine that is known: what changed; empty if nothing did.

    Nothing is removed but what was said of unresolved templates, once all of them have their values.
    """
    labels, annotations = known.metadata.labels, known.metadata.annotations
    unresolved = describe_unresolved(find_missing(registration, registrant, is_new=False))
    changes: dict[str, dict[str, str | None]] = {
        "labels": _changed(render_labels(registration, registrant, labels), labels),
        "annotations": _changed(render_annotations(registration, registrant, annotations), annotations),
    }
    if unresolved != annotations.get(UNRESOLVED_TEMPLATES, ""):
        changes["annotations"][UNRESOLVED_TEMPLATES] = unresolved or None
    changed = {key: value for key, value in changes.items() if value}
    return {"metadata": changed} if changed else {}


def check_resolved(registration: MachineRegistration, registrant: Registrant) -> list[Unresolved]:
    """What a new machine's templates lack. Raises NotAdmissible where the registration refuses that."""
    missing = find_missing(registration, registrant, is_new=True)
    if missing and registration.metadata.annotations.get(MISSING_VALUES) == "refuse":
        raise NotAdmissible(
            f"the registration's templates cannot be filled: {'; '.join(str(one) for one in missing[:3])}",
            hint=f"give the variable a choice, as in ${{A/B|unknown}}, or take {MISSING_VALUES} off",
        )
    return missing


def find_missing(
    registration: MachineRegistration, registrant: Registrant, *, is_new: bool
) -> list[Unresolved]:
    """The templates of name (only a new machine gets one), labels and annotations that have no value."""
    templates = list_templates(registration, registrant.labels, is_new=is_new)
    return find_unresolved([template for template in templates if "${" in template.text], registrant.data)


def list_templates(
    registration: MachineRegistration, sent_labels: Mapping[str, str], *, is_new: bool
) -> list[Template]:
    """Every text that is rendered for a host, by place; the host's own annotations are not."""
    spec = registration.spec
    name = Template("machineName", spec.machine_name, "the machine is named m- and a random UUID")
    labels = {**_prefixed(spec.label_prefix, sent_labels), **spec.machine_inventory_labels}
    return [
        *([name] if is_new and spec.machine_name else ()),
        *(Template(f"label {key}", text, "the label is left out") for key, text in labels.items()),
        *(
            Template(f"annotation {key}", text, "the annotation is left as it is")
            for key, text in spec.machine_inventory_annotations.items()
        ),
    ]


def choose_name(template: str, facts: Facts) -> str:
    """Name a new machine: the rendered and sanitised template, or `m-` and a random UUID."""
    fallback = f"m-{uuid.uuid4()}"
    try:
        rendered = render_template(template, facts) if template else fallback
    except NotKnown:
        rendered = fallback
    except Malformed as error:
        raise NotAdmissible(f"the registration's machineName cannot be rendered: {error}") from error
    name = sanitise_name(rendered)
    if not name:
        raise NotAdmissible(f"nothing of the machine name {rendered!r} can be used as a host name")
    return name


def render_labels(
    registration: MachineRegistration, registrant: Registrant, current: Mapping[str, str]
) -> dict[str, str]:
    """The labels to set; a value that is not known leaves its label out. The registration's own win."""
    templates = {
        **_prefixed(registration.spec.label_prefix, registrant.labels),
        **registration.spec.machine_inventory_labels,
    }
    labels: dict[str, str] = {}
    for key, template in templates.items():
        if is_random(template) and current.get(key):
            continue
        try:
            labels[key] = sanitise_label(render_template(template, registrant.data))
        except TemplateError:
            continue
    return labels


def render_annotations(
    registration: MachineRegistration, registrant: Registrant, current: Mapping[str, str]
) -> dict[str, str]:
    """The annotations to set: the host's own escaped, the registration's rendered. Raises NotAdmissible."""
    sent = _prefixed(registration.spec.label_prefix, registrant.annotations)
    annotations = {key: escape_text(value) for key, value in sent.items()}
    if UNMANAGED in registrant.annotations:
        annotations[f"{DEFAULT_PREFIX}/{UNMANAGED}"] = escape_text(registrant.annotations[UNMANAGED])
    for key, template in registration.spec.machine_inventory_annotations.items():
        if is_random(template) and current.get(key):
            continue
        try:
            annotations[key] = render_template(template, registrant.data)
        except NotKnown:
            if key not in current:
                annotations[key] = template
        except Malformed as error:
            raise NotAdmissible(f"the registration's annotation {key} cannot be rendered: {error}") from error
    annotations[REGISTERED_WITH] = registration.metadata.name
    return annotations


def _prefixed(label_prefix: str, sent: Mapping[str, str]) -> dict[str, str]:
    prefix = {"": f"{DEFAULT_PREFIX}/", "-": ""}.get(label_prefix, f"{label_prefix}/")
    keys = {prefix + escape_text(key): value for key, value in sent.items()}
    return {key: value for key, value in keys.items() if key != RESETTABLE and not key.startswith(OUR_DOMAIN)}


def _decide_approval(registration: MachineRegistration) -> dict[str, str]:
    if registration.metadata.annotations.get(APPROVAL_POLICY) == "automatic":
        return {APPROVAL: "approved", APPROVED_BY: f"registration {registration.metadata.name}"}
    return {APPROVAL: "pending"}


def _changed(wanted: Mapping[str, str], current: Mapping[str, str]) -> dict[str, str | None]:
    return {key: value for key, value in wanted.items() if current.get(key) != value}
