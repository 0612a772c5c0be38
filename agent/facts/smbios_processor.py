"""A processor's SMBIOS structure in dmidecode's words (DSP0134, 7.5)."""

from agent.facts.smbios_tables import Structure
from agent.facts.smbios_words import (
    FAMILIES,
    OUT_OF_SPEC,
    PROCESSOR_CHARACTERISTICS,
    PROCESSOR_FLAGS,
    PROCESSOR_STATUS,
    PROCESSOR_TYPES,
    UPGRADES,
    choose_word,
    list_bits,
)
from agent.protocol.documents import JSON

Record = dict[str, JSON]

FAMILY_IS_ELSEWHERE = 0xFE
CORE_2_OR_K7 = 0xBE  # two makers used the number; the manufacturer tells which
ARM = (0x100, 0x101, 0x118, 0x119)
HAS_SMCCC_ID = 1 << 9  # of the characteristics: the id is a SoC's, not a processor's

# Families whose id is a CPUID signature, Intel's layout or AMD's.
_INTEL = (
    *range(0x0B, 0x16), *range(0x28, 0x30), *range(0xA1, 0xB4), 0xB5, *range(0xB9, 0xC8),
    *range(0xCD, 0xD0), *range(0xD2, 0xDC), *range(0xDD, 0xE1),
)  # fmt: skip
_AMD = (
    *range(0x18, 0x1E), 0x1F, *range(0x38, 0x40), *range(0x46, 0x50), *range(0x66, 0x6C),
    *range(0x83, 0x90), *range(0xB6, 0xB8), *range(0xE4, 0xF0),
)  # fmt: skip
# A family of "Other" or "Unknown" tells by its version string.
_INTEL_VERSIONS = (
    "Pentium III MMX",
    "Intel(R) Core(TM)2",
    "Intel(R) Pentium(R)",
    "Genuine Intel(R) CPU U1400",
)
_AMD_VERSIONS = ("AMD Athlon(TM)", "AMD Opteron(tm)", "Dual-Core AMD Opteron(tm)")


def describe_processor(one: Structure, version: tuple[int, int]) -> Record:
    record: Record = {}
    if one.length < 0x1A:
        return record
    record["Socket Designation"] = one.text(4).strip()
    record["Type"] = choose_word(PROCESSOR_TYPES, one.data[5])
    record["Family"] = _describe_family(one, version)
    record["Manufacturer"] = one.text(7).strip()
    record["ID"] = one.data[8:16].hex(" ").upper()
    record |= _describe_signature(one)
    record["Version"] = one.text(0x10).strip()
    record["Voltage"] = _describe_voltage(one.data[0x11])
    for name, offset in (("External Clock", 0x12), ("Max Speed", 0x14), ("Current Speed", 0x16)):
        speed = one.number(offset, 2)
        record[name] = f"{speed} MHz" if speed else "Unknown"
    status = one.data[0x18]
    record["Status"] = f"Populated, {PROCESSOR_STATUS[status & 7]}" if status & 0x40 else "Unpopulated"
    record["Upgrade"] = UPGRADES.get(one.data[0x19], OUT_OF_SPEC)
    if one.length >= 0x20:
        for level, offset in (("L1", 0x1A), ("L2", 0x1C), ("L3", 0x1E)):
            record[f"{level} Cache Handle"] = _describe_cache(one.number(offset, 2), level, version)
    if one.length >= 0x23:
        for name, offset in (("Serial Number", 0x20), ("Asset Tag", 0x21), ("Part Number", 0x22)):
            record[name] = one.text(offset).strip()
    if one.length >= 0x28:
        record |= _describe_cores(one)
        bits = one.number(0x26, 2) & 0xFC
        record |= (
            {"Characteristics:": list_bits(PROCESSOR_CHARACTERISTICS, bits, first=2)}
            if bits
            else {"Characteristics": "None"}
        )
    return record


def _find_family(one: Structure) -> int:
    number = one.data[6]
    return one.number(0x28, 2) if number == FAMILY_IS_ELSEWHERE and one.length >= 0x2A else number


def _describe_family(one: Structure, version: tuple[int, int]) -> str:
    number = one.data[6]
    if version <= (2, 0) and number == 0x30 and one.text(7).startswith("Intel"):
        return "Pentium Pro"  # one maker's reading of the first version
    if number == CORE_2_OR_K7:
        maker = one.text(7)
        return "Core 2" if maker.startswith("Intel") else "K7" if maker.startswith("AMD") else "Core 2 or K7"
    return FAMILIES.get(_find_family(one), OUT_OF_SPEC)


def _describe_signature(one: Structure) -> Record:
    """What CPUID (or ARM's MIDR) says, where the family is known to put that into its id."""
    family = _find_family(one)
    low = one.number(8, 4)
    stepping, model, base = low & 0xF, low >> 4 & 0xF, low >> 8 & 0xF
    if family == 5:
        text = f"Type {low >> 12 & 0xF}, Family {base}, Major Stepping {model}, Minor Stepping {stepping}"
        return {"Signature": text}
    if family == 6:
        return {"Signature": f"Type {low >> 12 & 3}, Family {base}, Model {model}, Stepping {stepping}"}
    if family in ARM:
        if one.length >= 0x28 and one.number(0x26, 2) & HAS_SMCCC_ID:
            return {}
        text = (
            f"Implementor 0x{low >> 24:02x}, Variant 0x{low >> 20 & 0xF:x}, Architecture {low >> 16 & 0xF}, "
            f"Part 0x{low >> 4 & 0xFFF:03x}, Revision {stepping}"
        )
        return {"Signature": text}
    extended_family, extended_model = low >> 20 & 0xFF, low >> 12 & 0xF0
    version = one.text(0x10) if family in (1, 2) else ""
    if family in _INTEL or version.startswith(_INTEL_VERSIONS):
        text = f"Type {low >> 12 & 3}, Family {extended_family + base}, Model {extended_model + model}"
    elif family in _AMD or version.startswith(_AMD_VERSIONS):
        if base == 0xF:
            base, model = base + extended_family, model | extended_model
        text = f"Family {base}, Model {model}"
    else:
        return {}
    flags: list[JSON] = [name for bit, name in PROCESSOR_FLAGS.items() if one.number(12, 4) >> bit & 1]
    record: Record = {"Signature": f"{text}, Stepping {stepping}"}
    return record | ({"Flags:": flags} if flags else {"Flags": "None"})


def _describe_voltage(code: int) -> str:
    if code & 0x80:
        return f"{(code & 0x7F) / 10:.1f} V"
    known = [text for bit, text in enumerate(("5.0 V", "3.3 V", "2.9 V")) if code >> bit & 1]
    return " ".join(known) or "Unknown"


def _describe_cache(handle: int, level: str, version: tuple[int, int]) -> str:
    if handle != 0xFFFF:
        return f"0x{handle:04X}"
    return "Not Provided" if version >= (2, 3) else f"No {level} Cache"


def _describe_cores(one: Structure) -> Record:
    """Counts of 255 and more stand in words of their own."""
    record: Record = {}
    names = (("Core Count", 0x23, 0x2A), ("Core Enabled", 0x24, 0x2C), ("Thread Count", 0x25, 0x2E))
    for name, offset, wide in names:
        count = one.data[offset]
        if count == 0xFF and one.length >= wide + 2:
            count = one.number(wide, 2)
        if one.data[offset]:
            record[name] = str(count)
    return record
