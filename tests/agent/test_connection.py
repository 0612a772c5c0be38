"""The connection file is upstream's, and its token is never shown."""

import json

import pytest
import yaml

from agent.connection import (
    MAX_CONNECTION_BYTES,
    Connection,
    from_config,
    parse_connection,
    render_connection,
)
from agent.errors import ConfigInvalid
from agent.protocol.client_config import Config, Elemental, Registration, SystemAgent
from agent.protocol.secrets import SecretText

CONNECTION = Connection(
    "https://10.0.0.1:8443/k8s/clusters/local", SecretText("skh1.secret"), "fleet-default", "m1", "PEM\n"
)


def test_what_is_written_is_read() -> None:
    assert parse_connection(render_connection(CONNECTION)) == CONNECTION


def test_the_file_is_upstreams() -> None:
    document = json.loads(render_connection(CONNECTION))
    kube_config = yaml.safe_load(document["kubeConfig"])

    assert set(document) == {"kubeConfig", "namespace", "secretName"}
    assert kube_config["current-context"] == kube_config["contexts"][0]["name"]
    assert kube_config["users"][0]["user"]["token"] == "skh1.secret"


def test_the_token_is_not_in_any_text() -> None:
    assert "skh1" not in repr(CONNECTION)
    with pytest.raises(ConfigInvalid) as refused:
        parse_connection(render_connection(CONNECTION).replace(b"clusters", b"clutters"))
    assert "skh1" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"kubeConfig": "[", "namespace": "", "secretName": ""}'])
def test_a_damaged_file_is_refused(content: bytes) -> None:
    with pytest.raises(ConfigInvalid, match="register this host again"):
        _raise_with_hint(content)


def test_an_oversized_file_is_refused() -> None:
    with pytest.raises(ConfigInvalid):
        parse_connection(b" " * (MAX_CONNECTION_BYTES + 1))


def test_it_is_taken_from_what_registration_answered() -> None:
    agent = SystemAgent(
        url="https://h/k8s/clusters/local/", token=SecretText("t"), secret_name="n", secret_namespace="ns"
    )
    config = Config(elemental=Elemental(system_agent=agent, registration=Registration(ca_cert="CA")))

    assert from_config(config) == Connection("https://h/k8s/clusters/local", SecretText("t"), "ns", "n", "CA")
    with pytest.raises(ConfigInvalid, match="system-agent"):
        from_config(Config())


def _raise_with_hint(content: bytes) -> None:
    try:
        parse_connection(content)
    except ConfigInvalid as error:
        raise ConfigInvalid(error.hint) from error
