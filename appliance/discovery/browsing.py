"""mDNS on the appliance: say that we are here, and hear which machines are.

What is heard is a *candidate*: anybody on the link can say anything, so it is bounded, stripped of control
characters, shown with its address, and never becomes inventory. Only a registration proves a machine.
When the port is taken or multicast is filtered the appliance works on; hosts know its address from their
medium.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

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
from appliance.discovery.candidates import MAX_CANDIDATES, MAX_TEXT, Candidates, clean
from appliance.discovery.interfaces import choose_interfaces

log = logging.getLogger(__name__)

LOOKUPS_AT_ONCE = 50
LOOKUP_MILLISECONDS = 3000
INTERFACES_SECONDS = 3.0  # how soon a cable that was plugged in or an address that changed is noticed


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
                await asyncio.sleep(INTERFACES_SECONDS)

    async def _run_once(self) -> None:
        """Until our addresses change; then everything is announced anew, with those that we have."""
        interfaces = choose_interfaces(self._announcement.addresses)
        if not interfaces:
            raise OSError("no network interface has an address")
        mdns = AsyncZeroconf(interfaces=interfaces, ip_version=IPVersion.V4Only)
        browser = AsyncServiceBrowser(mdns.zeroconf, NODE_SERVICE, handlers=[self._on_change])
        try:
            for service in render_services(self._announcement, interfaces):
                # The name carries our id, so a clash means a second box with our data: let zeroconf rename.
                await mdns.async_register_service(service, allow_name_change=True)
            await self._wait_for_other_than(interfaces)
            log.info("discovery: our addresses changed; announcing the new ones")
        finally:
            for lookup in self._lookups:
                lookup.cancel()
            await browser.async_cancel()
            with contextlib.suppress(OSError):
                await mdns.async_close()

    async def _wait_for_other_than(self, interfaces: Sequence[str]) -> None:
        # The kernel is asked, for no task of ours could tell.
        while choose_interfaces(self._announcement.addresses) == interfaces:  # noqa: ASYNC110
            await asyncio.sleep(INTERFACES_SECONDS)

    def _on_change(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        if state_change is ServiceStateChange.Removed:
            return  # a goodbye that anybody can send; `probing` finds out who has gone
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
        if not self._candidates.hear(
            name, address, texts, now=self._now(), port=info.port or 0, addresses=addresses
        ):
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
