"""The registration document and the configuration, as the real client reads and writes them."""

import json
from itertools import pairwise

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from agent.protocol.client_config import (
    Config,
    DeviceSelector,
    Elemental,
    Install,
    NetworkConfig,
    Registration,
    Reset,
    Snapshotter,
    SystemAgent,
    parse_config,
    parse_registration,
    render_config,
    render_registration,
)
from agent.protocol.documents import JSON
from agent.protocol.errors import Malformed, ProtocolError, TooLarge
from agent.protocol.secrets import SecretText

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

FULL = Config(
    elemental=Elemental(
        install=Install(
            device="/dev/sda",
            device_selector=[DeviceSelector(key="Size", operator="Gt", values=["20Gi"])],
            debug=True,
            reboot=True,
            snapshotter=Snapshotter(type="btrfs", max_snaps=4),
        ),
        reset=Reset(enabled=True, reset_persistent=True, reset_oem=True, reboot=True),
        registration=Registration(url="http://127.0.0.1:18081/x", emulate_tpm=True, emulated_tpm_seed=42),
        system_agent=SystemAgent(
            strict_tls_mode=True,
            url="http://127.0.0.1:18081/k8s/clusters/local",
            token=SecretText("service-account-jwt"),
            secret_name="node-d612",
            secret_namespace="fleet-default",
        ),
    ),
    cloud_config={"users": [{"name": "root", "passwd": "root"}]},
    network=NetworkConfig(
        configurator="nmconnections",
        ip_addresses={"my-ip": "192.0.2.10/24"},
        config={"eth0": {"ipv4": {"address1": "{my-ip}"}}},
    ),
)

# As the real server wrote it.
UPSTREAM = b"""\
elemental:
    install:
        device: /dev/sda
        device-selector:
            - key: Size
              operator: Gt
              values:
                - 20Gi
        debug: true
        reboot: true
        snapshotter:
            type: btrfs
            maxSnaps: 4
    reset:
        enabled: true
        reset-persistent: true
        reset-oem: true
        reboot: true
    registration:
        url: http://127.0.0.1:18081/x
        emulate-tpm: true
        emulated-tpm-seed: 42
    system-agent:
        strictTLSMode: true
        url: http://127.0.0.1:18081/k8s/clusters/local
        token: service-account-jwt
        secret-name: node-d612
        secret-namespace: fleet-default
cloud-config:
    users:
        raw: [91,123,34,110,97,109,101,34,58,34,114,111,111,116,34,44,34,112,97,115,115,119,100,34,58,34,114,
              111,111,116,34,125,93]
        object: null
configurator: nmconnections
ipAddresses:
    my-ip: 192.0.2.10/24
config:
    eth0:
        raw: [123,34,105,112,118,52,34,58,123,34,97,100,100,114,101,115,115,49,34,58,34,123,109,121,45,105,
              112,125,34,125,125]
        object: null
"""


def test_the_registration_document_has_the_six_keys() -> None:
    registration = Registration(
        url="https://host/elemental/registration/tok-abc123",
        ca_cert=PEM,
        emulate_tpm=True,
        emulated_tpm_seed=42,
        no_smbios=True,
        auth="tpm",
    )

    document = yaml.safe_load(render_registration(registration))

    assert document == {
        "elemental": {
            "registration": {
                "url": "https://host/elemental/registration/tok-abc123",
                "ca-cert": PEM,
                "emulate-tpm": True,
                "emulated-tpm-seed": 42,
                "no-smbios": True,
                "auth": "tpm",
            }
        }
    }
    assert parse_registration(render_registration(registration)) == registration


def test_zero_values_are_left_out_of_the_registration_document() -> None:
    assert render_registration(Registration(url="https://host/x")) == (
        b"elemental:\n    registration:\n        url: https://host/x\n"
    )


def test_a_client_file_with_more_in_it_is_read() -> None:
    document = (
        b"elemental:\n  registration: {url: u, labels: {a: b}, ca-cert: null}\n  install: {debug: true}\n"
    )

    assert parse_registration(document) == Registration(url="u", labels={"a": "b"})


@pytest.mark.parametrize(
    "document",
    [
        b"[]",
        b"elemental: x",
        b"elemental: {registration: []}",
        b"elemental: {registration: {url: [1]}}",
        b"elemental: {registration: {emulated-tpm-seed: many}}",
        b"elemental: {registration: {auth: password}}",
    ],
)
def test_a_registration_document_of_another_shape_is_malformed(document: bytes) -> None:
    with pytest.raises(Malformed):
        parse_registration(document)


def test_an_oversized_registration_document_is_refused() -> None:
    with pytest.raises(TooLarge):
        parse_registration(b"#" * 300_000)


def test_upstreams_configuration_is_read() -> None:
    assert parse_config(UPSTREAM) == FULL


def test_our_configuration_is_upstreams_to_any_yaml_reader() -> None:
    ours = yaml.safe_load(render_config(FULL))
    theirs = yaml.safe_load(UPSTREAM)
    for section in (theirs["cloud-config"]["users"], theirs["config"]["eth0"]):
        del section["object"]  # may be left out

    assert ours == theirs
    assert bytes(ours["cloud-config"]["users"]["raw"]) == b'[{"name":"root","passwd":"root"}]'


def test_an_empty_configuration_is_empty() -> None:
    assert parse_config(render_config(Config())) == Config()
    assert parse_config(b"") == parse_config(b"{}") == Config()


def test_registration_keys_that_the_reply_lacks_keep_their_local_value() -> None:
    local = Registration(url="http://old", ca_cert=PEM, no_smbios=True)

    config = parse_config(b"elemental:\n  registration:\n    url: http://new\n    auth: mac\n", local=local)

    assert config.elemental.registration == Registration(
        url="http://new", ca_cert=PEM, no_smbios=True, auth="mac"
    )


@pytest.mark.parametrize(
    "value",
    [b"[91, 93]", b"text", b"{raw: text}", b"{raw: [256]}", b"{raw: [-1]}", b"{raw: [1.5]}", b"{raw: [91]}"],
)
def test_cloud_config_that_is_not_a_list_of_bytes_of_json_is_malformed(value: bytes) -> None:
    with pytest.raises(Malformed):
        parse_config(b"cloud-config:\n    users: " + value)


def test_the_token_of_a_configuration_does_not_show() -> None:
    assert "service-account-jwt" not in repr(FULL)


json_texts = st.text(st.characters(codec="utf-8"), max_size=12)
json_trees: st.SearchStrategy[JSON] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | json_texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(json_texts, inner, max_size=3),
    max_leaves=8,
)


@example(device="\x85\u2028\ufeff\x7f\uffff", cloud_config={"\x85": "\U0001f600"})
@given(device=json_texts, cloud_config=st.dictionaries(json_texts, json_trees, max_size=3))
def test_any_configuration_is_the_same_by_json_and_by_yaml(
    device: str, cloud_config: dict[str, JSON]
) -> None:
    config = Config(elemental=Elemental(install=Install(device=device)), cloud_config=cloud_config)

    rendered = render_config(config)

    assert parse_config(rendered) == config
    assert yaml.safe_load(rendered) == json.loads(rendered)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_are_our_own_error(payload: bytes) -> None:
    for parse in (parse_config, parse_registration):
        try:
            parse(payload)
        except ProtocolError:
            continue


@given(at=st.integers(0, len(UPSTREAM) - 1), byte=st.integers(0, 255))
def test_a_damaged_configuration_is_read_or_is_our_own_error(at: int, byte: int) -> None:
    try:
        parse_config(UPSTREAM[:at] + bytes([byte]) + UPSTREAM[at + 1 :])
    except ProtocolError:
        return


def test_install_keys_come_in_upstreams_order() -> None:
    rendered = render_config(FULL)
    order = [rendered.index(key) for key in (b'"install"', b'"reset"', b'"registration"', b'"system-agent"')]

    assert all(earlier < later for earlier, later in pairwise(order))
