"""mDNS on a host: say that we are here, and find the appliance. The only file that imports zeroconf.

What is said is read by anybody on the link: no serial beyond its tail, no token. What is found is only
an address to try; the CA that came with the medium decides whether to believe it.
"""

import logging
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import ifaddr
import msgspec
from zeroconf import Error, IPVersion, ServiceBrowser, ServiceInfo, ServiceListener, Zeroconf

from agent.errors import Denied
from agent.host import Host
from agent.pairing import read_fingerprint
from agent.pairing_listener import Show, listen
from agent.protocol.client_config import Registration
from agent.protocol.discovery import (
    CURRENT_TXT_VERSION,
    MAX_TXT_PAIR_BYTES,
    NODE_SERVICE,
    REGISTRATION_SERVICE,
    TXT_FINGERPRINT,
    TXT_ID,
    TXT_MODEL,
    TXT_PAIRING,
    TXT_PATH,
    TXT_SERIAL_TAIL,
    TXT_SOFTWARE,
    TXT_STATE,
    TXT_VERSION,
    HostState,
    render_link_id,
)

log = logging.getLogger("agent")

# Made by container runtimes and k3s; their addresses mean nothing on the floor.
VIRTUAL_INTERFACES = ("cni", "flannel", "veth", "docker", "br-", "kube-ipvs")
FOLLOW_SECONDS = 2.0
DISCARD_PORT = 9  # the service offers nothing to connect to


@dataclass(frozen=True, slots=True)
class FoundAppliance:
    """Where an appliance says that it takes registrations."""

    name: str
    address: str
    port: int
    path: str
    fingerprint: str = ""


def describe_host(host: Host, *, state: HostState, version: str) -> dict[str, str]:
    """Return the TXT record of this host."""
    serial = host.read_text("/sys/class/dmi/id/product_serial")
    identity = host.read_text("/sys/class/dmi/id/product_uuid") or serial or socket.gethostname()
    texts = {
        TXT_VERSION: CURRENT_TXT_VERSION,
        TXT_ID: render_link_id(identity),
        TXT_STATE: state,
        TXT_SOFTWARE: version,
        TXT_MODEL: host.read_text("/sys/class/dmi/id/product_name"),
        TXT_SERIAL_TAIL: serial[-4:],
    }
    room = MAX_TXT_PAIR_BYTES - 10
    return {key: value.encode()[:room].decode(errors="ignore") for key, value in texts.items() if value}


@contextmanager
def announce(
    name: str,
    texts: Mapping[str, str],
    *,
    addresses: Sequence[str],
    interfaces: Sequence[str] = (),
    port: int = DISCARD_PORT,
) -> Iterator[None]:
    """Announce this host while the body runs. mDNS that cannot be used is logged, never fatal."""
    if not addresses:
        log.info("mDNS: %s has no address to announce", name)
        yield
        return
    try:
        zeroconf = Zeroconf(interfaces=list(interfaces or addresses), ip_version=IPVersion.V4Only)
    except (OSError, Error) as error:
        log.info("mDNS: cannot announce: %s", error)
        yield
        return
    try:
        info = ServiceInfo(
            NODE_SERVICE,
            f"{name}.{NODE_SERVICE}",
            port=port,
            addresses=[socket.inet_aton(address) for address in addresses],
            properties=dict(texts),
            server=f"{name}.local.",
        )
        # Probing for the name takes over a second (RFC 6762 section 8.1); nothing waits for it.
        speaking = threading.Thread(target=_speak, args=(zeroconf, info), name="mdns", daemon=True)
        speaking.start()
        yield
        speaking.join()
    finally:
        with suppress(OSError, Error):
            zeroconf.close()


def _speak(zeroconf: Zeroconf, info: ServiceInfo) -> None:
    try:
        zeroconf.register_service(info, allow_name_change=True)
    except (OSError, Error) as error:
        log.info("mDNS: cannot announce %s: %s", info.name, error)


def pair_here(
    host: Host, *, version: str, interfaces: Sequence[str], stop: threading.Event, show: Show
) -> Registration:
    """Announce a host that belongs to nobody, show its code, return what the appliance that knew it said.

    Announced anew whenever our addresses change: a cable is often plugged in last. Raises Denied when
    stopped.
    """
    texts = {**describe_host(host, state="live", version=version), TXT_PAIRING: "1"}
    # Chance in the name: two machines with one system UUID, as cloned boards have, stay two on the link.
    name = f"new-{texts[TXT_ID][:6]}-{secrets.token_hex(2)}"

    def own() -> list[str]:
        return list(interfaces) or find_own_addresses()

    with listen(texts[TXT_ID], name, show=show, addresses=own) as listening:
        while True:
            addresses = own()

            def is_over(known: Sequence[str] = addresses) -> bool:
                return stop.is_set() or own() != known

            with announce(name, texts, addresses=addresses, port=listening.port):
                paired = listening.wait(is_over)
            if paired is not None:
                return paired.registration
            if stop.is_set():
                raise Denied("waiting for an appliance was stopped before one knew the code")


def find_own_addresses() -> list[str]:
    """The IPv4 addresses of real interfaces; loopback and what containers make means nothing to others."""
    return sorted(
        str(address.ip)
        for adapter in ifaddr.get_adapters()
        if adapter.nice_name != "lo" and not adapter.nice_name.startswith(VIRTUAL_INTERFACES)
        for address in adapter.ips
        if address.is_IPv4
    )


def follow_appliance(registration: Registration, *, seconds: float = FOLLOW_SECONDS) -> Registration:
    """The registration with the address that the appliance of that CA announces now, if it announces one.

    Whoever copies the announcement gains nothing: the CA still decides whom we believe.
    """
    try:
        return point_at(registration, find_appliances(seconds=seconds))
    except (OSError, Error) as error:
        log.info("mDNS: cannot look for the appliance: %s", error)
        return registration


def point_at(registration: Registration, found: Sequence[FoundAppliance]) -> Registration:
    """The registration at the one among those found that announces its CA; unchanged if none does."""
    fingerprint = read_fingerprint(registration.ca_cert)
    url = urlsplit(registration.url)
    for appliance in found:
        if fingerprint and appliance.fingerprint == fingerprint[:16]:
            host = f"[{appliance.address}]" if ":" in appliance.address else appliance.address
            moved = urlunsplit(url._replace(netloc=f"{host}:{appliance.port}"))
            return msgspec.structs.replace(registration, url=moved)
    return registration


def find_appliances(*, seconds: float, interfaces: Sequence[str] = ()) -> list[FoundAppliance]:
    """Browse for a while and return who answered, by name."""
    listener = _Listener()
    zeroconf = (
        Zeroconf(interfaces=list(interfaces), ip_version=IPVersion.V4Only)
        if interfaces
        else Zeroconf(ip_version=IPVersion.V4Only)
    )
    try:
        ServiceBrowser(zeroconf, REGISTRATION_SERVICE, listener)
        time.sleep(seconds)
        return sorted(listener.read(zeroconf), key=lambda found: found.name)
    finally:
        zeroconf.close()


class _Listener(ServiceListener):
    """Collects names; they are looked up when the time is over."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self._names.add(name)

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self._names.add(name)

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self._names.discard(name)

    def read(self, zeroconf: Zeroconf) -> Iterator[FoundAppliance]:
        for name in sorted(self._names):
            info = zeroconf.get_service_info(REGISTRATION_SERVICE, name, timeout=1000)
            if info is None or not info.parsed_addresses():
                continue
            path = info.decoded_properties.get(TXT_PATH) or ""
            short = name.removesuffix(f".{REGISTRATION_SERVICE}")
            fingerprint = info.decoded_properties.get(TXT_FINGERPRINT) or ""
            yield FoundAppliance(short, info.parsed_addresses()[0], info.port or 0, path, fingerprint)
