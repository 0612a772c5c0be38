"""Which of our addresses mDNS is spoken on."""

import ipaddress
from collections.abc import Sequence

import ifaddr

# Made by container runtimes and k3s; their addresses mean nothing on the floor.
VIRTUAL_INTERFACES = ("cni", "flannel", "veth", "docker", "br-", "kube-ipvs")


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


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
