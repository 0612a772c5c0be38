"""What a host says on the link: enough to be found, nothing that must stay private."""

from pathlib import Path

import pytest
from zeroconf import Zeroconf

from agent.discovery import announce, describe_host
from agent.host import Host
from agent.protocol.discovery import MAX_TXT_RECORD_BYTES


def make_host(root: Path, **dmi: str) -> Host:
    directory = root / "sys/class/dmi/id"
    directory.mkdir(parents=True)
    for name, value in dmi.items():
        (directory / name).write_text(value + "\n")
    return Host(root)


def test_a_host_tells_its_state_but_no_full_serial_and_no_uuid(tmp_path: Path) -> None:
    host = make_host(
        tmp_path,
        product_serial="VERYSECRET1234",
        product_uuid="0f0e0d0c-1111-2222-3333-444455556666",
        product_name="Box 5",
    )

    texts = describe_host(host, state="ready", version="v1")

    assert (texts["st"], texts["ver"], texts["sn4"], texts["mdl"]) == ("ready", "v1", "1234", "Box 5")
    assert "VERYSECRET" not in str(texts)
    assert "0f0e0d0c" not in str(texts)
    assert len(texts["id"]) == 16


def test_the_id_stays_the_same_and_differs_between_hosts(tmp_path: Path) -> None:
    one = make_host(tmp_path / "1", product_uuid="a")
    other = make_host(tmp_path / "2", product_uuid="b")

    assert (
        describe_host(one, state="live", version="")["id"]
        == describe_host(one, state="ready", version="2")["id"]
    )
    assert describe_host(one, state="live", version="") != describe_host(other, state="live", version="")


def test_long_values_fit_a_record(tmp_path: Path) -> None:
    host = make_host(tmp_path, product_name="ü" * 1000)

    texts = describe_host(host, state="live", version="v" * 1000)

    assert all(len(f"{key}={value}".encode()) <= 255 for key, value in texts.items())
    assert sum(len(f"{key}={value}".encode()) + 1 for key, value in texts.items()) < MAX_TXT_RECORD_BYTES


def test_a_host_without_an_address_announces_nothing_and_works_on() -> None:
    worked = False

    with announce("m1", {}, addresses=[]):
        worked = True

    assert worked


def test_an_announced_host_is_found(tmp_path: Path) -> None:
    """Over the loopback interface; a link where multicast is filtered would have nothing to show."""
    texts = {"txtvers": "1", "st": "ready"}
    try:
        finder = Zeroconf(interfaces=["127.0.0.1"])
    except OSError as error:
        pytest.fail(f"no multicast on loopback here: {error}")
    try:
        with announce("test-host", texts, addresses=["127.0.0.1"]):
            found = finder.get_service_info(
                "_skerry-node._tcp.local.", "test-host._skerry-node._tcp.local.", timeout=10_000
            )
    finally:
        finder.close()

    assert found is not None
    assert found.decoded_properties["st"] == "ready"
