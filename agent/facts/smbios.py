"""What message 2 carries: SMBIOS in dmidecode's words, as upstream's client sends them after parsing its
output.

Upstream runs `dmidecode -t N` for six types and turns the lines into a tree: the title is the key, a later
structure of the same title replaces the earlier one, a line that only opens a list keeps its colon. Here
the tables are read directly, so no program is needed; where the kernel does not show them, its few
attributes in /sys/class/dmi/id stand in. A test holds the words to dmidecode's own.
"""

from agent.facts.reading import read_line
from agent.facts.smbios_processor import describe_processor
from agent.facts.smbios_tables import Smbios, Structure
from agent.facts.smbios_words import (
    BIOS_CHARACTERISTICS,
    BIOS_EXTENSION_1,
    BIOS_EXTENSION_2,
    BOARD_FEATURES,
    BOARD_TYPES,
    CHASSIS_SECURITY,
    CHASSIS_STATES,
    CHASSIS_TYPES,
    OUT_OF_SPEC,
    STRUCTURE_TYPES,
    WAKE_UP_TYPES,
    choose_word,
    list_bits,
)
from agent.host import Host
from agent.protocol.documents import JSON

Record = dict[str, JSON]

DMI = "/sys/class/dmi/id"

# dmidecode's titles and keys for what the kernel shows without the tables.
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


def read_kernel_smbios(host: Host) -> dict[str, JSON]:
    """What stands in for the tables; empty on a machine without SMBIOS."""
    tree: dict[str, JSON] = {}
    for title, names in DMI_NAMES.items():
        record: Record = {
            ours: value for ours, file in names.items() if (value := read_line(host, f"{DMI}/{file}"))
        }
        if record:
            tree[title] = record
    return tree


def describe_smbios(tables: Smbios) -> dict[str, JSON]:
    """Six types in upstream's order, the last structure of each."""
    tree: dict[str, JSON] = {}
    for structure in tables.of_type(0):
        tree["BIOS Information"] = _describe_bios(structure)
    for structure in tables.of_type(1):
        tree["System Information"] = _describe_system(structure, tables.version)
    for structure in tables.of_type(2):
        tree["Base Board Information"] = _describe_board(structure)
    for structure in tables.of_type(3):
        tree["Chassis Information"] = _describe_chassis(structure)
    for structure in tables.of_type(4):
        tree["Processor Information"] = describe_processor(structure, tables.version)
    for structure in tables.of_type(11):
        tree["OEM Strings"] = _describe_oem_strings(structure)
    return tree


def _texts(structure: Structure, **offsets: int) -> Record:
    return {name.replace("_", " "): structure.text(offset).strip() for name, offset in offsets.items()}


def _describe_bios(one: Structure) -> Record:
    """DSP0134, 7.1."""
    record: Record = {}
    if one.length < 0x12:
        return record
    record |= _texts(one, Vendor=4, Version=5, Release_Date=8)
    segment = one.number(6, 2)
    if segment != 0:  # UEFI has no such address
        record["Address"] = f"0x{segment:04X}0"
        size = (0x10000 - segment) << 4
        record["Runtime Size"] = f"{size} bytes" if size & 0x3FF else f"{size >> 10} kB"
    record["ROM Size"] = _describe_rom_size(one)
    bits = one.number(0x0A, 8)
    if bits & 1 << 3:
        characteristics: list[JSON] = [BIOS_CHARACTERISTICS[0]]
    else:
        characteristics = list_bits(BIOS_CHARACTERISTICS, bits, first=3)
    if one.length >= 0x13:
        characteristics += list_bits(BIOS_EXTENSION_1, one.number(0x12))
    if one.length >= 0x14:
        characteristics += list_bits(BIOS_EXTENSION_2, one.number(0x13))
    record["Characteristics:"] = characteristics or ""
    if one.length >= 0x18:
        for name, offset in (("BIOS Revision", 0x14), ("Firmware Revision", 0x16)):
            if one.data[offset] != 0xFF and one.data[offset + 1] != 0xFF:
                record[name] = f"{one.data[offset]}.{one.data[offset + 1]}"
    return record


def _describe_rom_size(one: Structure) -> str:
    code = one.number(9)
    if code != 0xFF:
        kilobytes = (code + 1) << 6
        whole, rest = divmod(kilobytes, 1024)
        return f"{whole} MB" if whole and not rest else f"{kilobytes} kB"
    extended = one.number(0x18, 2) if one.length >= 0x1A else 16
    unit = ("MB", "GB", OUT_OF_SPEC, OUT_OF_SPEC)[extended >> 14]
    return f"{extended & 0x3FFF} {unit}"


def _describe_system(one: Structure, version: tuple[int, int]) -> Record:
    """DSP0134, 7.2."""
    record: Record = {}
    if one.length >= 0x08:
        record |= _texts(one, Manufacturer=4, Product_Name=5, Version=6, Serial_Number=7)
    if one.length >= 0x19:
        record["UUID"] = render_uuid(one.data[8:24], version)
        record["Wake-up Type"] = choose_word(WAKE_UP_TYPES, one.data[0x18], first=0)
    if one.length >= 0x1B:
        record |= _texts(one, SKU_Number=0x19, Family=0x1A)
    return record


def render_uuid(data: bytes, version: tuple[int, int]) -> str:
    """Since version 2.6 the first three fields are little-endian (DSP0134, 7.2.1)."""
    if data == b"\xff" * 16:
        return "Not Present"
    if data == bytes(16):
        return "Not Settable"
    fields = (data[:4], data[4:6], data[6:8])
    head = [field[::-1] if version >= (2, 6) else field for field in fields]
    return "-".join(part.hex() for part in (*head, data[8:10], data[10:]))


def _describe_board(one: Structure) -> Record:
    """DSP0134, 7.3."""
    record: Record = {}
    if one.length >= 0x08:
        record |= _texts(one, Manufacturer=4, Product_Name=5, Version=6, Serial_Number=7)
    if one.length >= 0x09:
        record |= _texts(one, Asset_Tag=8)
    if one.length >= 0x0A:
        features = list_bits(BOARD_FEATURES, one.data[9])
        record |= {"Features:": features} if one.data[9] & 0x1F else {"Features": "None"}
    if one.length >= 0x0E:
        record |= _texts(one, Location_In_Chassis=0x0A)
        record["Chassis Handle"] = f"0x{one.number(0x0B, 2):04X}"
        record["Type"] = choose_word(BOARD_TYPES, one.data[0x0D])
    if one.length >= 0x0F and one.length >= 0x0F + one.data[0x0E] * 2:
        count = one.data[0x0E]
        handles: list[JSON] = [f"0x{one.number(0x0F + 2 * index, 2):04X}" for index in range(count)]
        record["Contained Object Handles"] = handles or "0"
    return record


def _describe_chassis(one: Structure) -> Record:
    """DSP0134, 7.4."""
    record: Record = {}
    if one.length < 0x09:
        return record
    record |= _texts(one, Manufacturer=4)
    record["Type"] = choose_word(CHASSIS_TYPES, one.data[5] & 0x7F)
    record["Lock"] = "Present" if one.data[5] & 0x80 else "Not Present"
    record |= _texts(one, Version=6, Serial_Number=7, Asset_Tag=8)
    if one.length >= 0x0D:
        for name, offset in (("Boot-up State", 9), ("Power Supply State", 10), ("Thermal State", 11)):
            record[name] = choose_word(CHASSIS_STATES, one.data[offset])
        record["Security Status"] = choose_word(CHASSIS_SECURITY, one.data[0x0C])
    if one.length >= 0x11:
        record["OEM Information"] = f"0x{one.number(0x0D, 4):08X}"
    if one.length >= 0x13:
        record["Height"] = f"{one.data[0x11]} U" if one.data[0x11] else "Unspecified"
        record["Number Of Power Cords"] = str(one.data[0x12]) if one.data[0x12] else "Unspecified"
    if one.length >= 0x15:
        count, size = one.data[0x13], one.data[0x14]
        if one.length < 0x15 + count * size:
            return record
        elements = [_describe_element(one.data[0x15 + n * size :], size) for n in range(count)]
        record["Contained Elements"] = [text for text in elements if text] or str(count)
        if one.length >= 0x16 + count * size:
            record["SKU Number"] = one.text(0x15 + count * size).strip()
    return record


def _describe_element(data: bytes, size: int) -> str:
    """DSP0134, 7.4.4: a structure's type or a board's, and how many."""
    if size < 3:
        return ""
    number = data[0] & 0x7F
    if data[0] & 0x80:
        name = choose_word(STRUCTURE_TYPES, number, first=0)
    else:
        name = choose_word(BOARD_TYPES, number)
    return f"{name} ({data[1]})" if data[1] == data[2] else f"{name} ({data[1]}-{data[2]})"


def _describe_oem_strings(one: Structure) -> Record:
    count = one.number(4) if one.length >= 5 else 0
    return {f"String {index}": one.string(index).strip() for index in range(1, count + 1)}
