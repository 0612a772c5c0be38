"""Tell the boot loader what to start: the environment block on the ESP, and grub.cfg with its ladder.

The block decides, in one sector: try `ab_next` while `ab_try` lasts, else `ab_good`, else recovery
(host-os.md 2.11). Upstream's names (`passive_snaps`, `default_fallback`, `active_snap`, labels) are kept too.
`active_snap` is empty whenever the `active` link may point elsewhere, so that an initrd which follows the
link can never start a candidate that is not armed.
"""

from collections.abc import Sequence
from pathlib import Path

from agent.durable import make_directories, write_durably
from agent.errors import StateInvalid
from agent.grubenv import read_variables, write_variables
from agent.host import Host
from agent.layers import find_inside
from agent.layout import LABELS
from agent.slots import TRIES, BootChoice

ENVIRONMENT = "grub_oem_env"
EFI_DIRECTORIES = ("EFI/BOOT", "EFI/ELEMENTAL")
CONFIGURATION = "EFI/BOOT/grub.cfg"

# Where distributions keep signed shim and GRUB, best first (upstream searches the same places).
EFI_BINARIES = {
    "bootx64.efi": (
        "usr/lib/elemental/bootloader/shim.efi",
        "usr/lib/shim/shimx64.efi.signed",
        "usr/share/efi/x86_64/shim.efi",
    ),
    "grubx64.efi": (
        "usr/lib/elemental/bootloader/grub.efi",
        "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
        "usr/share/grub2/x86_64-efi/grub.efi",
    ),
    "mmx64.efi": ("usr/lib/shim/mmx64.efi.signed", "usr/share/efi/x86_64/MokManager.efi"),
}

# GRUB has no arithmetic, hence the ladder; `eval` is missing from signed builds, hence none.
LADDER = """\
set pick=""
if   [ "$ab_try" = "3" ]; then set ab_try=2; set pick=$ab_next
elif [ "$ab_try" = "2" ]; then set ab_try=1; set pick=$ab_next
elif [ "$ab_try" = "1" ]; then set ab_try=0; set pick=$ab_next
fi
if [ -n "$pick" ]; then save_env --file ($esp)/grub_oem_env ab_try; else set pick=$ab_good; fi
if [ -z "$pick" ]; then set pick=recovery; fi
"""

_GRUB_CFG = """\
# Written by skerry-agent. The ladder tries a new snapshot three times, then returns to the last good one.
set timeout=5
search --no-floppy --set=esp --label {efi}
load_env --file ($esp)/grub_oem_env
search --no-floppy --set=oem --label "${{oem_label}}"
if [ -f ($oem)/grubenv ]; then load_env --file ($oem)/grubenv; fi
load_env --file ($esp)/grub_oem_env

if [ -n "$next_entry" ]; then
  set default="$next_entry"
  set next_entry=""
  save_env --file ($oem)/grubenv next_entry
  set pick=$ab_good
else
{ladder}
  if [ "$pick" = "recovery" ]; then set default=recovery; else set default=active; fi
fi
if [ -f ($esp)/grubcustom/custom.cfg ]; then source ($esp)/grubcustom/custom.cfg; fi

function boot_snapshot {{
  set snapshot=$1
  if [ "$snapshot" = "$active_snap" ]; then set mode=active; else set mode=passive; fi
  search --no-floppy --set=state --label "${{state_label}}"
  set img=/.snapshots/$snapshot/snapshot.img
  set snapshotter=loopdevice
  set root_subpath=""
  loopback loop0 ($state)$img
  set root=loop0
  if [ -f ($root)/etc/elemental/bootargs.cfg ]; then
    source ($root)/etc/elemental/bootargs.cfg
  else
    source ($root)/etc/cos/bootargs.cfg
  fi
  if [ "$mode" = "active" ]; then set extra="${{extra_active_cmdline}}"
  else set extra="${{extra_passive_cmdline}}"
  fi
  linux ($root)$kernel $kernelcmd elemental.image=$img skerry.snapshot=$snapshot ${{extra_cmdline}} $extra
  initrd ($root)$initramfs
}}

function boot_recovery {{
  search --no-floppy --set=recovery --label "${{recovery_label}}"
  set root=$recovery
  set img=/boot/recovery.img
  set mode=recovery
  set snapshotter=loopdevice
  set root_subpath=""
  set kernel=/boot/kernel
  set initramfs=/boot/initrd
  source ($root)/boot/bootargs.cfg
  linux ($root)/boot/kernel $kernelcmd ${{extra_cmdline}} ${{extra_recovery_cmdline}}
  initrd ($root)/boot/initrd
}}

menuentry "${{default_menu_entry}}" --id active {{ boot_snapshot "$pick" }}
for passive in ${{passive_snaps}}; do
  menuentry "${{default_menu_entry}} (snapshot $passive)" --id "passive$passive" "$passive" {{
    boot_snapshot "$2"
  }}
done
menuentry "${{default_menu_entry}} recovery" --id recovery {{ boot_recovery }}
set fallback="${{default_fallback}}"
"""


class BootLoader:
    """The boot loader of an installed host; its volume `efi` must be mounted."""

    def __init__(self, host: Host) -> None:
        self._efi = host.volume("efi")
        self._environment = self._efi / ENVIRONMENT

    def is_installed(self) -> bool:
        """Say whether a machine would start from this disk: grub.cfg is the last thing an install writes."""
        return (self._efi / CONFIGURATION).exists()

    def choice(self) -> BootChoice:
        """Return what the boot loader will do next."""
        variables = read_variables(self._environment)
        return BootChoice(
            next=_to_number(variables, "ab_next"),
            tries=_to_number(variables, "ab_try"),
            good=_to_number(variables, "ab_good"),
        )

    def write_labels(self, title: str) -> None:
        """Write what GRUB searches by, and the menu's title."""
        labels = {f"{name}_label": LABELS[name] for name in ("state", "recovery", "oem", "persistent")}
        write_variables(self._environment, {**labels, "default_menu_entry": title[:64]})

    def release_active(self) -> None:
        """Stop vouching for the active link, before it moves."""
        write_variables(self._environment, {"active_snap": None})

    def arm(self, candidate: int, *, good: int | None, passives: Sequence[int]) -> None:
        """Try `candidate` on the next boots; the link points at it already."""
        self._write(candidate, passives, next=candidate, tries=TRIES, good=good)

    def commit(self, candidate: int, *, passives: Sequence[int]) -> None:
        """Make `candidate` the good one: one write, after which every boot picks it."""
        self._write(candidate, passives, next=None, tries=None, good=candidate)

    def disarm(self, good: int | None, *, passives: Sequence[int]) -> None:
        """Go back to `good`; the link points at it already."""
        self._write(good, passives, next=None, tries=None, good=good)

    def write_configuration(self) -> None:
        """Write grub.cfg where shim's GRUB looks for it; from here on the disk boots."""
        content = render_configuration().encode()
        for directory in reversed(EFI_DIRECTORIES):
            make_directories(self._efi / directory)
            write_durably(self._efi / directory / "grub.cfg", content)

    def copy_binaries(self, tree: Path) -> list[str]:
        """Copy shim and GRUB out of an image's tree; return which of them it had."""
        copied = []
        for name, places in EFI_BINARIES.items():
            found = (find_inside(tree, place) for place in places)
            source = next((path for path in found if path.is_file()), None)
            if source is None:
                continue
            for directory in EFI_DIRECTORIES:
                make_directories(self._efi / directory)
                write_durably(self._efi / directory / name, source.read_bytes())
            copied.append(name)
        return copied

    def _write(
        self,
        active: int | None,
        passives: Sequence[int],
        *,
        next: int | None,
        tries: int | None,
        good: int | None,
    ) -> None:
        write_variables(
            self._environment,
            {
                "ab_next": _to_text(next),
                "ab_try": _to_text(tries),
                "ab_good": _to_text(good),
                "active_snap": _to_text(active),
                "passive_snaps": " ".join(str(passive) for passive in passives),
                "default_fallback": " ".join(str(entry) for entry in range(len(passives) + 2)),
            },
        )


def render_configuration() -> str:
    ladder = "".join(f"  {line}\n" for line in LADDER.splitlines()).rstrip("\n")
    return _GRUB_CFG.format(efi=LABELS["efi"], ladder=ladder)


def _to_number(variables: dict[str, str], name: str) -> int | None:
    value = variables.get(name, "")
    if not value:
        return None
    if not value.isdigit():
        raise StateInvalid(f"the boot variable {name} is {value!r}, which is not a number")
    return int(value)


def _to_text(value: int | None) -> str | None:
    return None if value is None else str(value)
