"""mDNS on a host: say that we are here, and find the appliance. The only file that imports zeroconf.

What is said is read by anybody on the link: no serial beyond its tail, no token. What is found is only
an address to try; the CA that came with the medium decides whether to believe it.
"""

import logging
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import ifaddr
from zeroconf import Error, IPVersion, ServiceBrowser, ServiceInfo, ServiceListener, Zeroconf

from agent.host import Host
from agent.protocol.discovery import (
    CURRENT_TXT_VERSION,
    MAX_TXT_PAIR_BYTES,
    NODE_SERVICE,
    REGISTRATION_SERVICE,
    TXT_FINGERPRINT,
    TXT_ID,
    TXT_MODEL,
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


def find_own_addresses() -> list[str]:
    """The IPv4 addresses of real interfaces; loopback and what containers make means nothing to others."""
    return sorted(
        str(address.ip)
        for adapter in ifaddr.get_adapters()
        if adapter.nice_name != "lo" and not adapter.nice_name.startswith(VIRTUAL_INTERFACES)
        for address in adapter.ips
        if address.is_IPv4
    )


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
