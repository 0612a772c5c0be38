"""What this host says of itself when it registers: SMBIOS, hardware, operating system.

All of it is read below the host's root, so a simulated host describes itself, not the machine it is
simulated on. Label templates on the appliance read these trees (`${System Information/Serial Number}`),
which is why the names are upstream's to the letter. A thing that cannot be read is left out or is
"unknown"; facts never stop a registration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.errors import CommandFailed
from agent.hardware import read_system_data
from agent.host import Host
from agent.protocol.documents import JSON

SMBIOS_TYPES = (0, 1, 2, 3, 4, 11)  # BIOS, system, base board, chassis, processor, OEM strings
DMI = "/sys/class/dmi/id"

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

# dmidecode's titles and keys for what the kernel shows without it.
DMI_NAMES = {
    "BIOS Information": {
        "Vendor": "bios_vendor",
        "Version": "bios_version",
        "Release Date": "bios_date",
        "BIOS Revision": "bios_release",
    },
    "System Information": {
        "Manufacturer": "sys_vendor",
        "Product Name": "product_name",
        "Version": "product_version",
        "Serial Number": "product_serial",
        "UUID": "product_uuid",
        "SKU Number": "product_sku",
        "Family": "product_family",
    },
    "Base Board Information": {
        "Manufacturer": "board_vendor",
        "Product Name": "board_name",
        "Version": "board_version",
        "Serial Number": "board_serial",
        "Asset Tag": "board_asset_tag",
    },
    "Chassis Information": {
        "Manufacturer": "chassis_vendor",
        "Version": "chassis_version",
        "Serial Number": "chassis_serial",
        "Asset Tag": "chassis_asset_tag",
    },
}


@dataclass(frozen=True, slots=True)
class Facts:
    """The two trees; an empty one is not sent."""

    smbios: Mapping[str, JSON] = field(default_factory=dict)
    system_data: Mapping[str, JSON] = field(default_factory=dict)


NO_FACTS = Facts()


def read_facts(host: Host) -> Facts:
    return Facts(smbios=read_smbios(host), system_data=read_system_data(host))


def read_smbios(host: Host) -> dict[str, JSON]:
    """dmidecode's words where it runs, else the kernel's under dmidecode's names."""
    if host.path("/").resolve() == host.path("/").resolve().parent:  # a simulated host has no dmidecode
        decoded = _run_dmidecode(host)
        if decoded:
            return decoded
    return read_kernel_smbios(host)


def read_kernel_smbios(host: Host) -> dict[str, JSON]:
    tree: dict[str, JSON] = {}
    for title, names in DMI_NAMES.items():
        record: dict[str, JSON] = {
            ours: value for ours, file in names.items() if (value := host.read_text(f"{DMI}/{file}"))
        }
        if record:
            tree[title] = record
    return tree


def parse_dmidecode(text: str) -> dict[str, JSON]:
    """dmidecode's text as a tree, by upstream's rules.

    A `Handle` line opens a record and the next line is its title; tabs give the depth; `key: value`
    becomes text; `key:` alone opens a list and keeps its colon; deeper plain lines are list items. Records
    of one title merge, the last one wins.
    """
    tree: dict[str, JSON] = {}
    record: dict[str, JSON] | None = None
    items: list[JSON] | None = None
    title_follows = False
    for line in text.splitlines():
        content = line.strip()
        if line.startswith("Handle "):
            title_follows, record, items = True, None, None
        elif not content:
            continue
        elif title_follows:
            title_follows = False
            known = tree.setdefault(content, {})
            record = known if isinstance(known, dict) else None
        elif record is None:
            continue
        elif line.startswith("\t\t"):
            if items is not None:
                items.append(content)
        else:
            key, separator, value = content.partition(":")
            items = None
            if separator and value.strip():
                record[key.strip()] = value.strip()
            elif separator:
                items = []
                record[content] = items
    return tree


def read_annotations(host: Host, *, software: str) -> dict[str, str]:
    """The operating system's names and the agent's version; how and from where comes with the connection."""
    release = host.os_release()
    named = {ours: release[theirs] for theirs, ours in OS_RELEASE.items() if release.get(theirs)}
    return {**named, "reg-version": software}


def _run_dmidecode(host: Host) -> dict[str, JSON]:
    tree: dict[str, JSON] = {}
    for number in SMBIOS_TYPES:
        try:
            done = host.run(["dmidecode", "-t", str(number)], timeout=5)
        except CommandFailed:
            return {}
        if done.status == 0:
            tree |= parse_dmidecode(done.output.decode(errors="replace"))
    return tree
