"""Listen addresses, and the names that a certificate must carry."""

import pytest

from appliance.addresses import Address, bind, certificate_names, parse_address, public_host
from appliance.errors import ConfigurationError


@pytest.mark.parametrize("text", ["127.0.0.1:8443", "[::1]:0", "0.0.0.0:65535", "box.local:1"])
def test_an_address_is_read_and_written_alike(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text", ["", ":", "8443", "host:", ":8443", "host:http", "host:-1", "host:65536", "host:²"]
)
def test_what_is_no_address_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_address(text)

    assert refused.value.hint


def test_a_taken_port_is_refused_by_name() -> None:
    with bind(Address("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}"):
            bind(Address("127.0.0.1", port))


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.7:0"):
        bind(Address("192.0.2.7", 0))


def test_the_advertised_name_stands_above_the_address() -> None:
    assert public_host(Address("10.0.0.1", 1)) == "10.0.0.1"
    assert public_host(Address("10.0.0.1", 1), advertise_url="https://box.plant:8443") == "box.plant"


def test_a_wildcard_is_never_what_others_are_told() -> None:
    assert public_host(Address("0.0.0.0", 1)) != "0.0.0.0"


def test_a_certificate_names_every_way_in_once() -> None:
    names = certificate_names(
        Address("10.0.0.1", 1), Address("10.0.0.1", 2), advertise_url="https://box.plant:8443"
    )

    assert {"localhost", "127.0.0.1", "::1", "10.0.0.1", "box.plant"} <= set(names)
    assert len(names) == len(set(names))
    assert "0.0.0.0" not in certificate_names(Address("0.0.0.0", 1))
