"""The words for SMBIOS's numbers, as dmidecode prints them, for label templates compare them as text.

Data from the System Management BIOS specification (DSP0134), section numbers beside each table. A number that
is not in its table is `OUT_OF_SPEC`, as dmidecode says it too.
"""

from agent.protocol.documents import JSON

OUT_OF_SPEC = "<OUT OF SPEC>"


def choose_word(words: tuple[str, ...], number: int, *, first: int = 1) -> str:
    return words[number - first] if first <= number < first + len(words) else OUT_OF_SPEC


def list_bits(words: tuple[str, ...], bits: int, *, first: int = 0) -> list[JSON]:
    return [word for index, word in enumerate(words) if bits >> (index + first) & 1]


# 7.1.1, from bit 3 on; bit 3 says that the others mean nothing.
BIOS_CHARACTERISTICS = (
    "BIOS characteristics not supported",
    "ISA is supported",
    "MCA is supported",
    "EISA is supported",
    "PCI is supported",
    "PC Card (PCMCIA) is supported",
    "PNP is supported",
    "APM is supported",
    "BIOS is upgradeable",
    "BIOS shadowing is allowed",
    "VLB is supported",
    "ESCD support is available",
    "Boot from CD is supported",
    "Selectable boot is supported",
    "BIOS ROM is socketed",
    "Boot from PC Card (PCMCIA) is supported",
    "EDD is supported",
    "Japanese floppy for NEC 9800 1.2 MB is supported (int 13h)",
    "Japanese floppy for Toshiba 1.2 MB is supported (int 13h)",
    '5.25"/360 kB floppy services are supported (int 13h)',
    '5.25"/1.2 MB floppy services are supported (int 13h)',
    '3.5"/720 kB floppy services are supported (int 13h)',
    '3.5"/2.88 MB floppy services are supported (int 13h)',
    "Print screen service is supported (int 5h)",
    "8042 keyboard services are supported (int 9h)",
    "Serial services are supported (int 14h)",
    "Printer services are supported (int 17h)",
    "CGA/mono video services are supported (int 10h)",
    "NEC PC-98",
)

# 7.1.2.1 and 7.1.2.2
BIOS_EXTENSION_1 = (
    "ACPI is supported",
    "USB legacy is supported",
    "AGP is supported",
    "I2O boot is supported",
    "LS-120 boot is supported",
    "ATAPI Zip drive boot is supported",
    "IEEE 1394 boot is supported",
    "Smart battery is supported",
)
BIOS_EXTENSION_2 = (
    "BIOS boot specification is supported",
    "Function key-initiated network boot is supported",
    "Targeted content distribution is supported",
    "UEFI is supported",
    "System is a virtual machine",
    "Manufacturing mode is supported",
    "Manufacturing mode is enabled",
)

# 7.2.2, from 0 on
WAKE_UP_TYPES = (
    "Reserved",
    "Other",
    "Unknown",
    "APM Timer",
    "Modem Ring",
    "LAN Remote",
    "Power Switch",
    "PCI PME#",
    "AC Power Restored",
)

# 7.3.1 by bit, 7.3.2 from 1 on
BOARD_FEATURES = (
    "Board is a hosting board",
    "Board requires at least one daughter board",
    "Board is removable",
    "Board is replaceable",
    "Board is hot swappable",
)
BOARD_TYPES = (
    "Unknown",
    "Other",
    "Server Blade",
    "Connectivity Switch",
    "System Management Module",
    "Processor Module",
    "I/O Module",
    "Memory Module",
    "Daughter Board",
    "Motherboard",
    "Processor+Memory Module",
    "Processor+I/O Module",
    "Interconnect Board",
)

# 7.4.1, 7.4.2 and 7.4.3, from 1 on
CHASSIS_TYPES = (
    "Other",
    "Unknown",
    "Desktop",
    "Low Profile Desktop",
    "Pizza Box",
    "Mini Tower",
    "Tower",
    "Portable",
    "Laptop",
    "Notebook",
    "Hand Held",
    "Docking Station",
    "All In One",
    "Sub Notebook",
    "Space-saving",
    "Lunch Box",
    "Main Server Chassis",
    "Expansion Chassis",
    "Sub Chassis",
    "Bus Expansion Chassis",
    "Peripheral Chassis",
    "RAID Chassis",
    "Rack Mount Chassis",
    "Sealed-case PC",
    "Multi-system",
    "CompactPCI",
    "AdvancedTCA",
    "Blade",
    "Blade Enclosing",
    "Tablet",
    "Convertible",
    "Detachable",
    "IoT Gateway",
    "Embedded PC",
    "Mini PC",
    "Stick PC",
)
CHASSIS_STATES = ("Other", "Unknown", "Safe", "Warning", "Critical", "Non-recoverable")
CHASSIS_SECURITY = (
    "Other",
    "Unknown",
    "None",
    "External Interface Locked Out",
    "External Interface Enabled",
)

# 7, the types of structures that a chassis may contain
STRUCTURE_TYPES = (
    "BIOS", "System", "Base Board", "Chassis", "Processor", "Memory Controller", "Memory Module", "Cache",
    "Port Connector", "System Slots", "On Board Devices", "OEM Strings", "System Configuration Options",
    "BIOS Language", "Group Associations", "System Event Log", "Physical Memory Array", "Memory Device",
    "32-bit Memory Error", "Memory Array Mapped Address", "Memory Device Mapped Address",
    "Built-in Pointing Device", "Portable Battery", "System Reset", "Hardware Security",
    "System Power Controls", "Voltage Probe", "Cooling Device", "Temperature Probe",
    "Electrical Current Probe", "Out-of-band Remote Access", "Boot Integrity Services", "System Boot",
    "64-bit Memory Error", "Management Device", "Management Device Component",
    "Management Device Threshold Data", "Memory Channel", "IPMI Device", "Power Supply",
    "Additional Information", "Onboard Device", "Management Controller Host Interface", "TPM Device",
    "Processor", "Firmware", "String Property",
)  # fmt: skip

# 7.5.1, from 1 on; 7.5 offset 18h, from 0 on; 7.5.9, from bit 2 on
PROCESSOR_TYPES = (
    "Other",
    "Unknown",
    "Central Processor",
    "Math Processor",
    "DSP Processor",
    "Video Processor",
)
PROCESSOR_STATUS = (
    "Unknown",
    "Enabled",
    "Disabled By User",
    "Disabled By BIOS",
    "Idle",
    OUT_OF_SPEC,
    OUT_OF_SPEC,
    "Other",
)
PROCESSOR_CHARACTERISTICS = (
    "64-bit capable",
    "Multi-Core",
    "Hardware Thread",
    "Execute Protection",
    "Enhanced Virtualization",
    "Power/Performance Control",
)

# 7.5.3.1: the EDX of CPUID 1
PROCESSOR_FLAGS = {
    0: "FPU (Floating-point unit on-chip)",
    1: "VME (Virtual mode extension)",
    2: "DE (Debugging extension)",
    3: "PSE (Page size extension)",
    4: "TSC (Time stamp counter)",
    5: "MSR (Model specific registers)",
    6: "PAE (Physical address extension)",
    7: "MCE (Machine check exception)",
    8: "CX8 (CMPXCHG8 instruction supported)",
    9: "APIC (On-chip APIC hardware supported)",
    11: "SEP (Fast system call)",
    12: "MTRR (Memory type range registers)",
    13: "PGE (Page global enable)",
    14: "MCA (Machine check architecture)",
    15: "CMOV (Conditional move instruction supported)",
    16: "PAT (Page attribute table)",
    17: "PSE-36 (36-bit page size extension)",
    18: "PSN (Processor serial number present and enabled)",
    19: "CLFSH (CLFLUSH instruction supported)",
    21: "DS (Debug store)",
    22: "ACPI (ACPI supported)",
    23: "MMX (MMX technology supported)",
    24: "FXSR (FXSAVE and FXSTOR instructions supported)",
    25: "SSE (Streaming SIMD extensions)",
    26: "SSE2 (Streaming SIMD extensions 2)",
    27: "SS (Self-snoop)",
    28: "HTT (Multi-threading)",
    29: "TM (Thermal monitor supported)",
    31: "PBE (Pending break enabled)",
}

# 7.5.2, and 7.5.5 for the sockets
FAMILIES = {
    0x1: "Other", 0x2: "Unknown", 0x3: "8086", 0x4: "80286", 0x5: "80386", 0x6: "80486", 0x7: "8087",
    0x8: "80287", 0x9: "80387", 0xa: "80487", 0xb: "Pentium", 0xc: "Pentium Pro", 0xd: "Pentium II",
    0xe: "Pentium MMX", 0xf: "Celeron", 0x10: "Pentium II Xeon", 0x11: "Pentium III", 0x12: "M1",
    0x13: "M2", 0x14: "Celeron M", 0x15: "Pentium 4 HT", 0x18: "Duron", 0x19: "K5", 0x1a: "K6",
    0x1b: "K6-2", 0x1c: "K6-3", 0x1d: "Athlon", 0x1e: "AMD29000", 0x1f: "K6-2+", 0x20: "Power PC",
    0x21: "Power PC 601", 0x22: "Power PC 603", 0x23: "Power PC 603+", 0x24: "Power PC 604",
    0x25: "Power PC 620", 0x26: "Power PC x704", 0x27: "Power PC 750", 0x28: "Core Duo",
    0x29: "Core Duo Mobile", 0x2a: "Core Solo Mobile", 0x2b: "Atom", 0x2c: "Core M", 0x2d: "Core m3",
    0x2e: "Core m5", 0x2f: "Core m7", 0x30: "Alpha", 0x31: "Alpha 21064", 0x32: "Alpha 21066",
    0x33: "Alpha 21164", 0x34: "Alpha 21164PC", 0x35: "Alpha 21164a", 0x36: "Alpha 21264",
    0x37: "Alpha 21364", 0x38: "Turion II Ultra Dual-Core Mobile M", 0x39: "Turion II Dual-Core Mobile M",
    0x3a: "Athlon II Dual-Core M", 0x3b: "Opteron 6100", 0x3c: "Opteron 4100", 0x3d: "Opteron 6200",
    0x3e: "Opteron 4200", 0x3f: "FX", 0x40: "MIPS", 0x41: "MIPS R4000", 0x42: "MIPS R4200",
    0x43: "MIPS R4400", 0x44: "MIPS R4600", 0x45: "MIPS R10000", 0x46: "C-Series", 0x47: "E-Series",
    0x48: "A-Series", 0x49: "G-Series", 0x4a: "Z-Series", 0x4b: "R-Series", 0x4c: "Opteron 4300",
    0x4d: "Opteron 6300", 0x4e: "Opteron 3300", 0x4f: "FirePro", 0x50: "SPARC", 0x51: "SuperSPARC",
    0x52: "MicroSPARC II", 0x53: "MicroSPARC IIep", 0x54: "UltraSPARC", 0x55: "UltraSPARC II",
    0x56: "UltraSPARC IIi", 0x57: "UltraSPARC III", 0x58: "UltraSPARC IIIi", 0x60: "68040", 0x61: "68xxx",
    0x62: "68000", 0x63: "68010", 0x64: "68020", 0x65: "68030", 0x66: "Athlon X4", 0x67: "Opteron X1000",
    0x68: "Opteron X2000", 0x69: "Opteron A-Series", 0x6a: "Opteron X3000", 0x6b: "Zen", 0x70: "Hobbit",
    0x78: "Crusoe TM5000", 0x79: "Crusoe TM3000", 0x7a: "Efficeon TM8000", 0x80: "Weitek", 0x82: "Itanium",
    0x83: "Athlon 64", 0x84: "Opteron", 0x85: "Sempron", 0x86: "Turion 64", 0x87: "Dual-Core Opteron",
    0x88: "Athlon 64 X2", 0x89: "Turion 64 X2", 0x8a: "Quad-Core Opteron", 0x8b: "Third-Generation Opteron",
    0x8c: "Phenom FX", 0x8d: "Phenom X4", 0x8e: "Phenom X2", 0x8f: "Athlon X2", 0x90: "PA-RISC",
    0x91: "PA-RISC 8500", 0x92: "PA-RISC 8000", 0x93: "PA-RISC 7300LC", 0x94: "PA-RISC 7200",
    0x95: "PA-RISC 7100LC", 0x96: "PA-RISC 7100", 0xa0: "V30", 0xa1: "Quad-Core Xeon 3200",
    0xa2: "Dual-Core Xeon 3000", 0xa3: "Quad-Core Xeon 5300", 0xa4: "Dual-Core Xeon 5100",
    0xa5: "Dual-Core Xeon 5000", 0xa6: "Dual-Core Xeon LV", 0xa7: "Dual-Core Xeon ULV",
    0xa8: "Dual-Core Xeon 7100", 0xa9: "Quad-Core Xeon 5400", 0xaa: "Quad-Core Xeon",
    0xab: "Dual-Core Xeon 5200", 0xac: "Dual-Core Xeon 7200", 0xad: "Quad-Core Xeon 7300",
    0xae: "Quad-Core Xeon 7400", 0xaf: "Multi-Core Xeon 7400", 0xb0: "Pentium III Xeon",
    0xb1: "Pentium III Speedstep", 0xb2: "Pentium 4", 0xb3: "Xeon", 0xb4: "AS400", 0xb5: "Xeon MP",
    0xb6: "Athlon XP", 0xb7: "Athlon MP", 0xb8: "Itanium 2", 0xb9: "Pentium M", 0xba: "Celeron D",
    0xbb: "Pentium D", 0xbc: "Pentium EE", 0xbd: "Core Solo", 0xbe: "Core 2", 0xbf: "Core 2 Duo",
    0xc0: "Core 2 Solo", 0xc1: "Core 2 Extreme", 0xc2: "Core 2 Quad", 0xc3: "Core 2 Extreme Mobile",
    0xc4: "Core 2 Duo Mobile", 0xc5: "Core 2 Solo Mobile", 0xc6: "Core i7", 0xc7: "Dual-Core Celeron",
    0xc8: "IBM390", 0xc9: "G4", 0xca: "G5", 0xcb: "ESA/390 G6", 0xcc: "z/Architecture", 0xcd: "Core i5",
    0xce: "Core i3", 0xcf: "Core i9", 0xd2: "C7-M", 0xd3: "C7-D", 0xd4: "C7", 0xd5: "Eden",
    0xd6: "Multi-Core Xeon", 0xd7: "Dual-Core Xeon 3xxx", 0xd8: "Quad-Core Xeon 3xxx", 0xd9: "Nano",
    0xda: "Dual-Core Xeon 5xxx", 0xdb: "Quad-Core Xeon 5xxx", 0xdd: "Dual-Core Xeon 7xxx",
    0xde: "Quad-Core Xeon 7xxx", 0xdf: "Multi-Core Xeon 7xxx", 0xe0: "Multi-Core Xeon 3400",
    0xe4: "Opteron 3000", 0xe5: "Sempron II", 0xe6: "Embedded Opteron Quad-Core",
    0xe7: "Phenom Triple-Core", 0xe8: "Turion Ultra Dual-Core Mobile", 0xe9: "Turion Dual-Core Mobile",
    0xea: "Athlon Dual-Core", 0xeb: "Sempron SI", 0xec: "Phenom II", 0xed: "Athlon II",
    0xee: "Six-Core Opteron", 0xef: "Sempron M", 0xfa: "i860", 0xfb: "i960", 0x100: "ARMv7", 0x101: "ARMv8",
    0x104: "SH-3", 0x105: "SH-4", 0x118: "ARM", 0x119: "StrongARM", 0x12c: "6x86", 0x12d: "MediaGX",
    0x12e: "MII", 0x140: "WinChip", 0x15e: "DSP", 0x1f4: "Video Processor", 0x200: "RV32", 0x201: "RV64",
    0x202: "RV128",
}  # fmt: skip
UPGRADES = {
    0x1: "Other", 0x2: "Unknown", 0x3: "Daughter Board", 0x4: "ZIF Socket", 0x5: "Replaceable Piggy Back",
    0x6: "None", 0x7: "LIF Socket", 0x8: "Slot 1", 0x9: "Slot 2", 0xa: "370-pin Socket", 0xb: "Slot A",
    0xc: "Slot M", 0xd: "Socket 423", 0xe: "Socket A (Socket 462)", 0xf: "Socket 478", 0x10: "Socket 754",
    0x11: "Socket 940", 0x12: "Socket 939", 0x13: "Socket mPGA604", 0x14: "Socket LGA771",
    0x15: "Socket LGA775", 0x16: "Socket S1", 0x17: "Socket AM2", 0x18: "Socket F (1207)",
    0x19: "Socket LGA1366", 0x1a: "Socket G34", 0x1b: "Socket AM3", 0x1c: "Socket C32",
    0x1d: "Socket LGA1156", 0x1e: "Socket LGA1567", 0x1f: "Socket PGA988A", 0x20: "Socket BGA1288",
    0x21: "Socket rPGA988B", 0x22: "Socket BGA1023", 0x23: "Socket BGA1224", 0x24: "Socket BGA1155",
    0x25: "Socket LGA1356", 0x26: "Socket LGA2011", 0x27: "Socket FS1", 0x28: "Socket FS2",
    0x29: "Socket FM1", 0x2a: "Socket FM2", 0x2b: "Socket LGA2011-3", 0x2c: "Socket LGA1356-3",
    0x2d: "Socket LGA1150", 0x2e: "Socket BGA1168", 0x2f: "Socket BGA1234", 0x30: "Socket BGA1364",
    0x31: "Socket AM4", 0x32: "Socket LGA1151", 0x33: "Socket BGA1356", 0x34: "Socket BGA1440",
    0x35: "Socket BGA1515", 0x36: "Socket LGA3647-1", 0x37: "Socket SP3", 0x38: "Socket SP3r2",
    0x39: "Socket LGA2066", 0x3a: "Socket BGA1392", 0x3b: "Socket BGA1510", 0x3c: "Socket BGA1528",
    0x3d: "Socket LGA4189", 0x3e: "Socket LGA1200", 0x3f: "Socket LGA4677",
}  # fmt: skip
