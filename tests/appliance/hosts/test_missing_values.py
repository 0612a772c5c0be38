"""Values that templates want and a host did not send: found, explained, told on the record, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.protocol.documents import JSON
from appliance.hosts.errors import NotAdmissible
from appliance.hosts.handshake import Machine, Registrant
from appliance.hosts.records import MISSING_VALUES, find_missing, render_inventory, render_update
from appliance.hosts.templates import render_template
from appliance.hosts.templates_missing import (
    MAX_SENTENCES,
    MAX_SUGGESTIONS,
    MAX_UNRESOLVED,
    Names,
    Template,
    check_template,
    describe_unresolved,
    find_unresolved,
    list_names,
)
from appliance.resources.machine_inventory import UNRESOLVED_TEMPLATES, MachineInventory
from appliance.resources.machine_registration import MachineRegistration
from appliance.resources.meta import decode

FACTS: dict[str, JSON] = {
    "System Information": {"Serial Number": "SN-0001", "Product Name": "Edge Box 9000"},
    "Product": {"SerialNumber": "SN-0001", "UUID": "u"},
    "CPU": {"TotalThreads": "8", "Processors": {"0": {"Model": "Xeon"}}},
    "Network": {"NICs": {"eth0": {"MacAddress": "02:fc:00:00:00:01", "PCIAddress": None}}},
}


def registration(
    *,
    name: str = "",
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    refuse: bool = False,
) -> MachineRegistration:
    document = {
        "metadata": {
            "name": "plant",
            "namespace": "fleet-default",
            "annotations": {MISSING_VALUES: "refuse"} if refuse else {},
        },
        "spec": {
            "machineName": name,
            "machineInventoryLabels": labels or {},
            "machineInventoryAnnotations": annotations or {},
        },
    }
    return decode(MachineRegistration, document)


def registrant(facts: dict[str, JSON] | None = None) -> Registrant:
    return Registrant(Machine("tpm", "0" * 64), data=FACTS if facts is None else facts)


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("Product/Serial Number", "Product/SerialNumber"),
        ("CPU/Processor/0/Model", "CPU/Processors/0/Model"),
        ("system information/serial number", "System Information/Serial Number"),
        ("Network/NICs/eth1/MacAddress", "Network/NICs/eth0/MacAddress"),
        ("CPU/TotalThread", "CPU/TotalThreads"),
    ],
)
def test_the_nearest_name_that_was_sent_comes_first(variable: str, nearest: str) -> None:
    assert Names(list_names(FACTS)).find_nearest(variable)[0] == nearest


def test_nothing_near_is_nothing_said() -> None:
    assert Names(list_names(FACTS)).find_nearest("Q/Z") == []


def test_names_are_those_that_have_a_text() -> None:
    assert "Network/NICs/eth0/PCIAddress" not in list_names(FACTS)
    assert "CPU/Processors/0/Model" in list_names(FACTS)


def test_a_sentence_names_template_variable_consequence_and_what_was_sent() -> None:
    (found,) = find_unresolved(
        [Template("label serial", "${Product/Serial Number}", "it is left out")], FACTS
    )

    assert str(found) == (
        "label serial: the host sent no value for ${Product/Serial Number}; it is left out;"
        " it did send ${Product/SerialNumber}, ${System Information/Serial Number}, ${Product/UUID}"
    )


def test_a_host_without_facts_is_told_apart() -> None:
    (found,) = find_unresolved([Template("machineName", "${A/B}", "w")], {})

    assert str(found).endswith("it sent no facts at all (no-smbios?)")


def test_a_template_that_is_wrong_itself_says_why() -> None:
    (found,) = find_unresolved([Template("label x", "${Random/Hex/99}", "w")], FACTS)

    assert "is not one of Random/UUID" in str(found)


def test_many_findings_are_few_sentences() -> None:
    many = [Template(f"label {number}", "${A/B}", "w" * 200) for number in range(1000)]

    found = find_unresolved(many, FACTS)

    assert len(found) == MAX_UNRESOLVED
    assert len(describe_unresolved(found)) == MAX_SENTENCES


trees = st.recursive(
    st.none() | st.text(max_size=3) | st.lists(st.text(max_size=2), max_size=2),
    lambda inner: st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=4), trees), st.text(max_size=12))
def test_any_facts_and_any_variable_are_explained(facts: dict[str, JSON], variable: str) -> None:
    names = list_names(facts)

    assert len(Names(names).find_nearest(variable)) <= MAX_SUGGESTIONS
    for name in names:
        if not name.startswith("Random"):
            assert isinstance(render_template(f"${{{name}}}", facts), str)


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("plain", ""),
        ("${A/B}-${Random/Hex/4}", ""),
        ("${Random/Hex/99}", "Random"),
        ("a ${A/B", "without a }"),
    ],
)
def test_a_template_can_be_checked_without_a_host(template: str, complaint: str) -> None:
    said = check_template(template)

    assert complaint in said
    assert bool(complaint) == bool(said)


def test_the_record_of_a_new_machine_tells_what_it_lacks() -> None:
    document = render_inventory(
        registration(
            name="${Missing/Name}",
            labels={"site": "${System Information/Site}", "serial": "${System Information/Serial Number}"},
            annotations={"rack": "${Rack/Unit}"},
        ),
        registrant(),
    )

    lines = document["metadata"]["annotations"][UNRESOLVED_TEMPLATES].splitlines()
    assert [line.partition(":")[0] for line in lines] == ["machineName", "label site", "annotation rack"]
    assert document["metadata"]["labels"] == {"serial": "SN-0001"}


def test_the_record_of_a_complete_machine_says_nothing() -> None:
    document = render_inventory(registration(labels={"serial": "${Product/UUID}"}), registrant())

    assert UNRESOLVED_TEMPLATES not in document["metadata"]["annotations"]


def test_a_choice_leaves_nothing_missing() -> None:
    choices = registration(
        labels={"serial": "${Chassis Information/Serial Number|Product/SerialNumber|none}"}
    )

    assert find_missing(choices, registrant(), is_new=True) == []
    assert render_inventory(choices, registrant())["metadata"]["labels"] == {"serial": "SN-0001"}


def test_what_was_missing_is_forgotten_once_it_came() -> None:
    wanted = registration(labels={"threads": "${CPU/TotalThreads}"})
    document = render_inventory(wanted, registrant({}))
    machine = decode(MachineInventory, document)

    changes = render_update(wanted, registrant(), machine)

    assert changes["metadata"]["labels"] == {"threads": "8"}
    assert changes["metadata"]["annotations"] == {UNRESOLVED_TEMPLATES: None}
    assert render_update(wanted, registrant({}), machine) == {}


def test_a_registration_can_refuse_a_machine_whose_values_are_missing() -> None:
    strict = registration(labels={"serial": "${Product/Serial Number}"}, refuse=True)

    with pytest.raises(
        NotAdmissible, match=r"label serial: .*did send \$\{Product/SerialNumber\}"
    ) as refused:
        render_inventory(strict, registrant())

    assert "choice" in refused.value.hint
