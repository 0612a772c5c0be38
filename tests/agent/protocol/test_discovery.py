"""The mDNS names keep to the rules of RFC 6763 and RFC 6335."""

import re

from agent.protocol import discovery

SERVICES = [discovery.REGISTRATION_SERVICE, discovery.NODE_SERVICE, discovery.MIRROR_SERVICE]
KEYS = [
    value for name, value in vars(discovery).items() if name.startswith("TXT_") and isinstance(value, str)
]


def test_service_names_are_short_and_plain() -> None:
    for service in SERVICES:
        name, transport, domain = service.removesuffix(".").split(".")
        assert re.fullmatch(r"_[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?", name), name
        assert (transport, domain) == ("_tcp", "local")


def test_txt_keys_are_at_most_nine_characters() -> None:
    assert len(KEYS) == len(set(KEYS)) > 5
    assert all(re.fullmatch("[a-z0-9]{1,9}", key) for key in KEYS)


def test_subtypes_belong_to_the_node_service() -> None:
    for subtype in (discovery.UNREGISTERED_SUBTYPE, discovery.FAILED_SUBTYPE):
        assert subtype.partition("._sub.")[2] == discovery.NODE_SERVICE
