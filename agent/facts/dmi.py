"""The few DMI values that the kernel shows one by one, for the `Product`, `BIOS`, `BaseBoard` and `Chassis`
trees.
"""

from collections.abc import Mapping

from agent.facts.reading import read_line
from agent.host import Host

DMI = "/sys/class/dmi/id"

# Our branch and leaf, and the kernel's file.
FILES: Mapping[str, Mapping[str, str]] = {
    "Product": {
        "Family": "product_family",
        "Name": "product_name",
        "SKU": "product_sku",
        "SerialNumber": "product_serial",
        "UUID": "product_uuid",
        "Vendor": "sys_vendor",
        "Version": "product_version",
    },
    "BIOS": {"Date": "bios_date", "Vendor": "bios_vendor", "Version": "bios_version"},
    "BaseBoard": {
        "AssetTag": "board_asset_tag",
        "Product": "board_name",
        "SerialNumber": "board_serial",
        "Vendor": "board_vendor",
        "Version": "board_version",
    },
    "Chassis": {
        "AssetTag": "chassis_asset_tag",
        "SerialNumber": "chassis_serial",
        "Type": "chassis_type",
        "Vendor": "chassis_vendor",
        "Version": "chassis_version",
    },
}

# In the inventory library's words, which are not SMBIOS's or dmidecode's; from 1 on.
CHASSIS_TYPES = (
    "Other", "Unknown", "Desktop", "Low profile desktop", "Pizza box", "Mini tower", "Tower", "Portable",
    "Laptop", "Notebook", "Hand held", "Docking station", "All in one", "Sub notebook", "Space-saving",
    "Lunch box", "Main server chassis", "Expansion chassis", "SubChassis", "Bus Expansion chassis",
    "Peripheral chassis", "RAID chassis", "Rack mount chassis", "Sealed-case PC", "Multi-system chassis",
    "Compact PCI", "Advanced TCA", "Blade", "Blade enclosure", "Tablet", "Convertible", "Detachable",
    "IoT gateway", "Embedded PC", "Mini PC", "Stick PC",
)  # fmt: skip


def read_dmi(host: Host) -> dict[str, dict[str, str]]:
    """The four branches; a value that the kernel does not show is empty."""
    return {
        branch: {leaf: read_line(host, f"{DMI}/{file}") for leaf, file in files.items()}
        for branch, files in FILES.items()
    }


def describe_chassis_type(code: str) -> str:
    """The kind of chassis in words; empty for a number that nobody has defined."""
    number = int(code) if code.isascii() and code.isdigit() and len(code) < 4 else 0
    return CHASSIS_TYPES[number - 1] if 1 <= number <= len(CHASSIS_TYPES) else ""
