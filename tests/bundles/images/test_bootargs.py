"""The boot arguments, as GRUB would read them. A shell reads this much of GRUB's language the same way."""

import re
import subprocess

import pytest

from bundles.images.bootargs import render_bootargs


def arguments_for(mode: str) -> list[str]:
    script = re.sub(r"^( *)set ", r"\1", render_bootargs(extra="net.ifnames=0"), flags=re.MULTILINE)
    variables = (
        "state_label=COS_STATE recovery_label=COS_RECOVERY oem_label=COS_OEM img=/.snapshots/7/snapshot.img"
    )
    shown = subprocess.run(
        ["sh", "-c", f'{variables} mode={mode}\n{script}\necho "$kernel $initramfs $kernelcmd"'],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return shown.split()


@pytest.mark.parametrize(
    ("mode", "root", "image"),
    [
        ("active", "COS_STATE", None),
        ("passive", "COS_STATE", "elemental.image=/.snapshots/7/snapshot.img"),
        ("recovery", "COS_RECOVERY", "elemental.image=/boot/recovery.img"),
    ],
)
def test_each_mode_finds_its_root(mode: str, root: str, image: str | None) -> None:
    kernel, initrd, *arguments = arguments_for(mode)

    assert (kernel, initrd) == ("/boot/vmlinuz", "/boot/initrd")
    assert f"root=LABEL={root}" in arguments
    assert [each for each in arguments if each.startswith("elemental.image")] == ([image] if image else [])
    assert {f"elemental.mode={mode}", "elemental.oemlabel=COS_OEM", "panic=5", "net.ifnames=0"} < set(
        arguments
    )


def test_it_uses_nothing_that_a_signed_grub_lacks() -> None:
    assert "eval" not in render_bootargs()
