"""What this host says of itself when it registers: SMBIOS, hardware, operating system.

All of it is read below the host's root, so a simulated host describes itself, not the machine it is
simulated on. A thing that cannot be read is left out or is "unknown"; facts never stop a registration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.facts.inventory import read_inventory
from agent.facts.smbios import describe_smbios, read_kernel_smbios
from agent.facts.smbios_tables import load_smbios
from agent.facts.system_data import describe_inventory, describe_system
from agent.host import Host
from agent.protocol.documents import JSON

# /etc/os-release's names, and ours for them.
OS_RELEASE = {
    "NAME": "os.name",
    "VERSION": "os.version",
    "VERSION_ID": "os.version-id",
    "ID": "os.id",
    "PRETTY_NAME": "os.pretty-name",
    "IMAGE": "os.image",
    "CPE_NAME": "os.cpe-name",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """SMBIOS (message 2), the hardware tree (11) and the raw inventory (6, servers below version 11).

    An empty one is not sent.
    """

    smbios: Mapping[str, JSON] = field(default_factory=dict)
    system_data: Mapping[str, JSON] = field(default_factory=dict)
    inventory: Mapping[str, JSON] = field(default_factory=dict)


NO_FACTS = Facts()


def read_facts(host: Host) -> Facts:
    tables = load_smbios(host)
    inventory = read_inventory(host, tables)
    return Facts(
        smbios=describe_smbios(tables) if tables is not None else read_kernel_smbios(host),
        system_data=describe_system(inventory),
        inventory=describe_inventory(inventory),
    )


def read_annotations(host: Host, *, software: str, unmanaged: bool = False) -> dict[str, str]:
    """The operating system's names and the agent's version; how and from where comes with the connection.

    `unmanaged` is a host whose operating system is not looked after from here.
    """
    release = host.os_release()
    named = {ours: release[theirs] for theirs, ours in OS_RELEASE.items() if release.get(theirs)}
    return {**named, "reg-version": software, **({"os.unmanaged": "true"} if unmanaged else {})}
