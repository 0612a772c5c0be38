"""What is heard on the network is bounded and cleaned; what is said holds no secret."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeroconf import IPVersion
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from agent.protocol.discovery import (
    MAX_TXT_PAIR_BYTES,
    MAX_TXT_RECORD_BYTES,
    NODE_SERVICE,
    REGISTRATION_SERVICE,
)
from appliance.discovery import (
    MAX_DETAILS,
    MAX_TEXT,
    Announcement,
    Candidates,
    Discovery,
    choose_interfaces,
    clean,
    render_services,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def service(name: str) -> str:
    return f"{name}.{NODE_SERVICE}"


def announcement(id: str = "abc123", site: str = "Plant 3") -> Announcement:
    return Announcement(
        id=id,
        site=site,
        version="0.1.0",
        fingerprint="f" * 64,
        addresses=("127.0.0.1",),
        registration_port=8443,
        mirror_port=5000,
        namespace="fleet-default",
    )


def test_a_machine_is_heard_once_and_its_first_time_is_kept() -> None:
    candidates = Candidates()

    candidates.hear(service("m-1"), "10.0.0.7", {"id": "x1", "st": "live"}, now=NOW)
    candidates.hear(service("m-1"), "10.0.0.8", {"id": "x1", "st": "unreg"}, now=NOW + timedelta(seconds=9))

    (only,) = candidates.list()
    assert (only.id, only.name, only.address, dict(only.details)) == (
        "x1",
        "m-1",
        "10.0.0.8",
        {"id": "x1", "st": "unreg"},
    )
    assert (only.first_seen, only.last_seen) == ("2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z")


def test_a_machine_that_says_goodbye_is_forgotten() -> None:
    candidates = Candidates()
    candidates.hear(service("m-1"), "10.0.0.7", {}, now=NOW)

    candidates.forget(service("m-1"))
    candidates.forget(service("m-2"))

    assert candidates.list() == []


def test_a_flood_does_not_push_out_who_was_there() -> None:
    candidates = Candidates(limit=5, limit_an_address=3)
    candidates.hear(service("real"), "10.0.0.1", {}, now=NOW)

    taken = [candidates.hear(service(f"fake-{n}"), f"10.0.1.{n}", {}, now=NOW) for n in range(50)]

    assert sum(taken) == 4
    assert "real" in [candidate.name for candidate in candidates.list()]
    assert candidates.hear(service("real"), "10.0.0.1", {"st": "live"}, now=NOW)


def test_one_address_has_only_so_many_machines() -> None:
    candidates = Candidates(limit=100, limit_an_address=3)

    taken = [candidates.hear(service(f"m-{n}"), "10.0.0.9", {}, now=NOW) for n in range(10)]

    assert taken == [True] * 3 + [False] * 7


@given(st.text(max_size=600))
def test_no_text_from_the_network_can_drive_a_terminal_or_fill_it(text: str) -> None:
    cleaned = clean(text)

    assert len(cleaned) <= MAX_TEXT
    assert cleaned.isprintable() or all(letter.isprintable() or letter.isspace() for letter in cleaned)
    assert not set(cleaned) & {"\x1b", "\n", "\r", "\x07", "\u202e", "\u2066", "\u200f"}


def test_a_record_with_hundreds_of_keys_is_cut() -> None:
    candidates = Candidates()

    candidates.hear(service("m-1"), "10.0.0.7", {f"key{n}": "v" * 300 for n in range(300)}, now=NOW)

    details = candidates.list()[0].details
    assert len(details) == MAX_DETAILS
    assert all(len(value) <= MAX_TEXT for value in details.values())


def test_our_records_fit_the_rules_and_hold_no_secret() -> None:
    for info in render_services(announcement(site="ü" * 500), ["10.0.0.1"]):
        pairs = [key + b"=" + (value or b"") for key, value in info.properties.items()]
        assert all(len(pair) <= MAX_TXT_PAIR_BYTES for pair in pairs)
        assert sum(len(pair) + 1 for pair in pairs) <= MAX_TXT_RECORD_BYTES
        assert all(len(key) <= 9 for key in info.properties)
        assert info.properties[b"fp"] == b"f" * 16


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [(["127.0.0.1"], ["127.0.0.1"]), (["10.0.0.1", "::1"], ["10.0.0.1"]), (["::1"], [])],
)
def test_mdns_is_spoken_only_where_we_listen(addresses: list[str], expected: list[str]) -> None:
    assert choose_interfaces(addresses) == expected


def test_a_wildcard_means_real_interfaces_and_not_loopback() -> None:
    assert "127.0.0.1" not in choose_interfaces(["0.0.0.0"])


@asynccontextmanager
async def discovering(candidates: Candidates, id: str) -> AsyncIterator[None]:
    task = asyncio.create_task(Discovery(announcement(id), candidates, now=lambda: NOW).run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_on_loopback_the_appliance_is_heard_and_hears_a_machine() -> None:
    candidates = Candidates()
    host = AsyncZeroconf(interfaces=["127.0.0.1"], ip_version=IPVersion.V4Only)
    name = "skerry-test-node"
    node = AsyncServiceInfo(
        NODE_SERVICE,
        f"{name}.{NODE_SERVICE}",
        port=1,
        addresses=[b"\x7f\0\0\1"],
        properties={"txtvers": "1", "id": "n1", "st": "live"},
        server=f"{name}.local.",
    )
    try:
        async with discovering(candidates, "loopback1"), asyncio.timeout(30):
            await host.async_register_service(node)
            while not any(candidate.name == name for candidate in candidates.list()):
                await asyncio.sleep(0.05)
            appliance = AsyncServiceInfo(REGISTRATION_SERVICE, f"skerry-loopback1.{REGISTRATION_SERVICE}")
            while not await appliance.async_request(host.zeroconf, 500):
                pass
    finally:
        await host.async_close()

    found = next(candidate for candidate in candidates.list() if candidate.name == name)
    assert (found.id, found.address, found.details["st"]) == ("n1", "127.0.0.1", "live")
    assert appliance.port == 8443
    assert appliance.decoded_properties["path"] == "/elemental/registration/"


async def test_where_mdns_cannot_be_used_it_is_a_warning_and_not_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nowhere = Discovery(
        Announcement("x", "s", "1", "f" * 64, ("::1",), 1, 2, "n"), Candidates(), now=lambda: NOW
    )
    task = asyncio.create_task(nowhere.run())
    async with asyncio.timeout(30):
        while "mDNS cannot be used" not in caplog.text:
            await asyncio.sleep(0.01)

    assert not task.done()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
