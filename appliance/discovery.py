"""mDNS on the appliance: say that we are here, and hear which machines are.

What is heard is a *candidate*: anybody on the link can say anything, so it is bounded, stripped of control
characters, shown with its address, and never becomes inventory. Only a registration proves a machine.
When the port is taken or multicast is filtered the appliance works on; hosts know its address from their
medium.
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import ifaddr
from zeroconf import IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from agent.protocol.discovery import (
    CURRENT_TXT_VERSION,
    MIRROR_SERVICE,
    NODE_SERVICE,
    REGISTRATION_SERVICE,
    TXT_FINGERPRINT,
    TXT_ID,
    TXT_NAMESPACE,
    TXT_PATH,
    TXT_SITE,
    TXT_SOFTWARE,
    TXT_VERSION,
)
from appliance.changes import Changes

log = logging.getLogger(__name__)

MAX_CANDIDATES = 1000
MAX_CANDIDATES_AN_ADDRESS = 64
MAX_TEXT = 80
MAX_DETAILS = 16
LOOKUPS_AT_ONCE = 50
LOOKUP_MILLISECONDS = 3000
RETRY_SECONDS = 30.0

# Made by container runtimes and k3s; their addresses mean nothing on the floor.
VIRTUAL_INTERFACES = ("cni", "flannel", "veth", "docker", "br-", "kube-ipvs")


@dataclass(frozen=True, slots=True)
class Announcement:
    """What we say of ourselves; `addresses` are those we listen on."""

    id: str
    site: str
    version: str
    fingerprint: str
    addresses: tuple[str, ...]
    registration_port: int
    mirror_port: int
    namespace: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A machine that says it is there. Nothing of this is proved."""

    id: str
    name: str
    address: str
    details: Mapping[str, str]
    first_seen: str
    last_seen: str


class Candidates:
    """What was heard, bounded. A full set refuses newcomers: a flood must not push out the real ones."""

    def __init__(
        self, *, limit: int = MAX_CANDIDATES, limit_an_address: int = MAX_CANDIDATES_AN_ADDRESS
    ) -> None:
        self._heard: dict[str, Candidate] = {}
        self._limit = limit
        self._limit_an_address = limit_an_address
        self.changes = Changes()

    def list(self) -> list[Candidate]:
        return sorted(self._heard.values(), key=lambda candidate: (candidate.name, candidate.id))

    def hear(self, service: str, address: str, texts: Mapping[str, str], *, now: datetime) -> bool:
        """Take in one announcement; False when there is no room for it."""
        at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        known = self._heard.get(service)
        if known is None and not self._has_room(address):
            return False
        details = {clean(key): clean(value) for key, value in list(texts.items())[:MAX_DETAILS]}
        name = clean(service.removesuffix(f".{NODE_SERVICE}"))
        candidate = Candidate(details.get(TXT_ID) or name, name, clean(address), details, at, at)
        self._heard[service] = replace(candidate, first_seen=known.first_seen) if known else candidate
        self.changes.tell()
        return True

    def forget(self, service: str) -> None:
        if self._heard.pop(service, None) is not None:
            self.changes.tell()

    def _has_room(self, address: str) -> bool:
        same = sum(candidate.address == address for candidate in self._heard.values())
        return len(self._heard) < self._limit and same < self._limit_an_address


class Discovery:
    """Announces and browses until cancelled."""

    def __init__(
        self,
        announcement: Announcement,
        candidates: Candidates,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._announcement = announcement
        self._candidates = candidates
        self._now = now
        self._lookups: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(LOOKUPS_AT_ONCE)

    async def run(self) -> None:
        """Announce and browse; when mDNS cannot be used, say so and try again later."""
        warned = False
        while True:
            try:
                await self._run_once()
            except OSError as error:
                if not warned:
                    log.warning("discovery: mDNS cannot be used (%s); hosts must be told our address", error)
                warned = True
            await asyncio.sleep(RETRY_SECONDS)

    async def _run_once(self) -> None:
        interfaces = choose_interfaces(self._announcement.addresses)
        if not interfaces:
            raise OSError("no network interface has an address")
        mdns = AsyncZeroconf(interfaces=interfaces, ip_version=IPVersion.V4Only)
        browser = AsyncServiceBrowser(mdns.zeroconf, NODE_SERVICE, handlers=[self._on_change])
        try:
            for service in render_services(self._announcement, interfaces):
                # The name carries our id, so a clash means a second box with our data: let zeroconf rename.
                await mdns.async_register_service(service, allow_name_change=True)
            await asyncio.Event().wait()
        finally:
            for lookup in self._lookups:
                lookup.cancel()
            await browser.async_cancel()
            with contextlib.suppress(OSError):
                await mdns.async_close()

    def _on_change(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        if state_change is ServiceStateChange.Removed:
            self._candidates.forget(name)
            return
        if len(self._lookups) >= MAX_CANDIDATES:
            return
        lookup = asyncio.get_running_loop().create_task(self._look_up(zeroconf, service_type, name))
        self._lookups.add(lookup)
        lookup.add_done_callback(self._lookups.discard)

    async def _look_up(self, zeroconf: Zeroconf, service_type: str, name: str) -> None:
        async with self._places:
            info = AsyncServiceInfo(service_type, name)
            found = info.load_from_cache(zeroconf) or await info.async_request(zeroconf, LOOKUP_MILLISECONDS)
        if not found:
            return
        addresses = info.parsed_scoped_addresses()
        texts = {key: value or "" for key, value in info.decoded_properties.items()}
        address = addresses[0] if addresses else ""
        if not self._candidates.hear(name, address, texts, now=self._now()):
            log.warning(
                "discovery: %s from %s is not listed, there are too many already", clean(name), address
            )


def render_services(announcement: Announcement, addresses: Sequence[str]) -> list[AsyncServiceInfo]:
    """The two records that we announce."""
    common = {
        TXT_VERSION: CURRENT_TXT_VERSION,
        TXT_ID: announcement.id,
        TXT_FINGERPRINT: announcement.fingerprint[:16],
    }
    registration = {
        **common,
        TXT_SITE: announcement.site[:MAX_TEXT],
        TXT_SOFTWARE: announcement.version,
        TXT_PATH: "/elemental/registration/",
    }
    mirror = {**common, TXT_NAMESPACE: announcement.namespace}
    return [
        _service(REGISTRATION_SERVICE, announcement, announcement.registration_port, addresses, registration),
        _service(MIRROR_SERVICE, announcement, announcement.mirror_port, addresses, mirror),
    ]


def choose_interfaces(addresses: Sequence[str]) -> list[str]:
    """The IPv4 addresses to speak mDNS on: those we listen on, or all real ones for a wildcard."""
    wanted = [ipaddress.ip_address(address) for address in addresses if _is_address(address)]
    if wanted and not any(address.is_unspecified for address in wanted):
        return [str(address) for address in wanted if address.version == 4]
    return [
        str(address.ip)
        for adapter in ifaddr.get_adapters()
        if not adapter.nice_name.startswith(VIRTUAL_INTERFACES) and adapter.nice_name != "lo"
        for address in adapter.ips
        if address.is_IPv4
    ]


def clean(text: str) -> str:
    """Take out what could drive a terminal or turn its text around, and cap the length."""
    kept = "".join(letter for letter in text[: 4 * MAX_TEXT] if unicodedata.category(letter)[0] != "C")
    return kept[:MAX_TEXT]


def _service(
    type: str, announcement: Announcement, port: int, addresses: Sequence[str], texts: Mapping[str, str]
) -> AsyncServiceInfo:
    name = f"skerry-{announcement.id}"
    return AsyncServiceInfo(
        type,
        f"{name}.{type}",
        port=port,
        addresses=[socket.inet_aton(address) for address in addresses],
        properties=dict(texts),
        server=f"{name}.local.",
    )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
