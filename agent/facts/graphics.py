"""Graphics cards: what the kernel's display subsystem lists, named from the machine's own list of PCI ids."""

import re
from dataclasses import dataclass

from agent.facts.reading import list_names, read_bytes, read_line
from agent.host import Host

DRM = "/sys/class/drm"
PCI_IDS = ("/usr/share/hwdata/pci.ids", "/usr/share/misc/pci.ids")
MAX_PCI_IDS_BYTES = 8 * 1024 * 1024
MAX_CARDS = 32

# For an image without the list.
VENDORS = {
    "1002": "Advanced Micro Devices, Inc. [AMD/ATI]",
    "102b": "Matrox Electronics Systems Ltd.",
    "10de": "NVIDIA Corporation",
    "1234": "QEMU",
    "15ad": "VMware",
    "1a03": "ASPEED Technology, Inc.",
    "1af4": "Red Hat, Inc.",
    "1b36": "Red Hat, Inc.",
    "8086": "Intel Corporation",
}


@dataclass(frozen=True, slots=True)
class Card:
    """`address` is the place on the PCI bus; the ids are four hexadecimal digits, or empty."""

    address: str
    driver: str
    vendor: str
    product: str
    vendor_id: str = ""
    product_id: str = ""
    index: int = 0


def read_cards(host: Host) -> list[Card]:
    names = [name for name in list_names(host, DRM, limit=1024) if re.fullmatch(r"card\d{1,4}", name)]
    places = [(name, address) for name in names[:MAX_CARDS] if (address := _find_address(host, name))]
    if not places:
        return []
    ids = _read_pci_ids(host)
    return [_describe(host, name, address, ids) for name, address in places]


def find_pci_names(ids: str, vendor: str, device: str) -> tuple[str, str]:
    """The names of two four-digit numbers in a list of PCI ids; empty where they are not in it."""
    start = re.search(rf"^{vendor}  (.*)$", ids, re.MULTILINE)
    if start is None:
        return "", ""
    following = re.compile(r"^(?!\t|#|$)", re.MULTILINE).search(ids, start.end() + 1)
    section = ids[start.end() : following.start() if following else len(ids)]
    product = re.search(rf"^\t{device}  (.*)$", section, re.MULTILINE)
    return start.group(1).strip(), product.group(1).strip() if product else ""


def _describe(host: Host, name: str, address: str, ids: str) -> Card:
    base = f"{DRM}/{name}/device"
    vendor = read_line(host, f"{base}/vendor").removeprefix("0x").lower()
    device = read_line(host, f"{base}/device").removeprefix("0x").lower()
    names = "", ""
    if re.fullmatch(r"[0-9a-f]{4}", vendor) and re.fullmatch(r"[0-9a-f]{4}", device):
        names = find_pci_names(ids, vendor, device)
    return Card(
        address=address,
        driver=_link_name(host, f"{base}/driver"),
        vendor=names[0] or VENDORS.get(vendor, vendor),
        product=names[1] or (f"Device {device}" if device else ""),
        vendor_id=vendor,
        product_id=device,
        index=int(name.removeprefix("card")),
    )


def _find_address(host: Host, name: str) -> str:
    """The last PCI address on the way to the card; cards of other buses are not counted."""
    parts = re.findall(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", _link(host, f"{DRM}/{name}"))
    return parts[-1] if parts else ""


def _link_name(host: Host, absolute: str) -> str:
    return _link(host, absolute).rpartition("/")[2]


def _link(host: Host, absolute: str) -> str:
    try:
        return str(host.path(absolute).readlink())
    except OSError:
        return ""


def _read_pci_ids(host: Host) -> str:
    for place in PCI_IDS:
        if content := read_bytes(host, place, limit=MAX_PCI_IDS_BYTES):
            return content.decode(errors="replace")
    return ""
