"""The network interfaces but loopback: MAC, link, bus and IP addresses, in the order of their names."""

import ipaddress
import os
from dataclasses import dataclass, field

from agent.facts.addresses import Addresses, read_addresses
from agent.facts.link_modes import Link, ask_link
from agent.facts.reading import list_names, read_line, read_number
from agent.host import Host

NET = "/sys/class/net"
MAX_NICS = 256
NOT_INTERFACES = ("lo", "bonding_masters")


@dataclass(frozen=True, slots=True)
class Nic:
    """`speed` and `duplex` are ethtool's words (`1000Mb/s`, `Full`), empty while there is no link."""

    name: str
    mac: str
    is_virtual: bool
    speed: str = ""
    duplex: str = ""
    pci_address: str | None = None
    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()
    link: Link = field(default_factory=Link)


def read_nics(host: Host) -> list[Nic]:
    addresses = read_addresses(host)
    names = [name for name in list_names(host, NET, limit=4096) if name not in NOT_INTERFACES]
    return [_describe(host, name, addresses) for name in names[:MAX_NICS]]


def _describe(host: Host, name: str, addresses: Addresses) -> Nic:
    base = f"{NET}/{name}"
    place = os.path.realpath(host.path(base))
    own = [ipaddress.ip_address(address) for address in addresses.get(name, ())]
    speed = read_number(host, f"{base}/speed")
    duplex = read_line(host, f"{base}/duplex")
    return Nic(
        name=name,
        mac=read_line(host, f"{base}/address"),
        is_virtual="/devices/virtual/net/" in place,
        speed=f"{speed}Mb/s" if speed is not None and speed > 0 else "",
        duplex=duplex.capitalize() if duplex in ("full", "half") else "",
        pci_address=_find_pci_address(place),
        ipv4=tuple(str(address) for address in own if address.version == 4),
        ipv6=tuple(str(address) for address in own if address.version == 6),
        link=ask_link(host, name),
    )


def _find_pci_address(place: str) -> str | None:
    """The device behind the interface, if it is on the PCI bus itself (virtio's is one step further)."""
    device = os.path.realpath(f"{place}/device")
    bus = os.path.realpath(f"{device}/subsystem")
    return os.path.basename(device) if bus.endswith("/bus/pci") else None
