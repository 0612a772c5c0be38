"""The boot arguments that an OS image carries for itself, as a GRUB script.

GRUB reads this file out of the image that is about to boot, with `img`, `mode`, `state_label`, `oem_label`,
`recovery_label` and `snapshotter` set, and takes `kernel`, `initramfs` and `kernelcmd` from it. The kernel
and the initrd are therefore always those of the image, at fixed names.
"""

BOOTARGS_PATH = "etc/elemental/bootargs.cfg"
KERNEL_PATH = "boot/vmlinuz"
INITRD_PATH = "boot/initrd"
CONSOLES = "console=tty1 console=ttyS0,115200"


def render_bootargs(*, extra: str = "") -> str:
    """Append `extra` in every mode. No `eval` in it: Debian's signed GRUB has none."""
    common = " ".join(
        filter(
            None, ["elemental.mode=${mode}", "elemental.oemlabel=${oem_label}", "panic=5", CONSOLES, extra]
        )
    )
    fsck = "fsck.mode=force fsck.repair=yes"
    return f"""\
set kernel=/{KERNEL_PATH}
set initramfs=/{INITRD_PATH}
if [ "${{mode}}" = "recovery" ]; then
  set kernelcmd="root=LABEL=${{recovery_label}} elemental.image=/boot/recovery.img {common}"
elif [ "${{mode}}" = "passive" ]; then
  set kernelcmd="root=LABEL=${{state_label}} elemental.image=${{img}} {fsck} {common}"
else
  set kernelcmd="root=LABEL=${{state_label}} {fsck} {common}"
fi
"""
