"""What the boot loader is told, and that grub.cfg's ladder says the same as the rule in Python."""

import itertools
import re
import subprocess
from pathlib import Path

import pytest

from agent.bootloader import LADDER, BootLoader, render_configuration
from agent.errors import StateInvalid
from agent.grubenv import read_variables, write_variables
from agent.host import Host
from agent.slots import BootChoice, choose_boot


@pytest.fixture
def loader(tmp_path: Path) -> BootLoader:
    Host(tmp_path).volume("efi").mkdir(parents=True)
    return BootLoader(Host(tmp_path))


def variables_of(tmp_path: Path) -> dict[str, str]:
    return read_variables(Host(tmp_path).volume("efi") / "grub_oem_env")


def run_ladder(variables: dict[str, str]) -> tuple[str, str]:
    """Run the ladder in a shell: its language differs from GRUB's only in how a variable is set."""
    script = re.sub(r"\bset (\w+)=", r"\1=", LADDER)
    script = re.sub(r"save_env --file \S+ ab_try", "true", script)
    given = "".join(f"{name}='{value}'\n" for name, value in variables.items())
    command = ["sh", "-euc", f'ab_try="" ab_next="" ab_good=""\n{given}{script}\necho "$pick,$ab_try"']
    pick, _, tries = subprocess.run(command, capture_output=True, text=True, check=True).stdout.partition(",")
    return pick, tries.strip()


@pytest.mark.parametrize(
    ("following", "tries", "good"), list(itertools.product([None, 7], [None, 0, 1, 2, 3], [None, 4]))
)
def test_grub_and_the_rule_pick_alike(following: int | None, tries: int | None, good: int | None) -> None:
    values = {"ab_next": following, "ab_try": tries, "ab_good": good}
    picked, after = choose_boot(BootChoice(next=following, tries=tries, good=good))

    pick, left = run_ladder({name: str(value) for name, value in values.items() if value is not None})

    assert pick == ("recovery" if picked is None else str(picked))
    if following is not None:
        assert left == ("" if after.tries is None else str(after.tries))


def test_arming_commits_nothing_and_committing_ends_the_trial(loader: BootLoader, tmp_path: Path) -> None:
    loader.arm(2, good=1, passives=[1])
    assert loader.choice() == BootChoice(next=2, tries=3, good=1)
    assert variables_of(tmp_path)["default_fallback"] == "0 1 2"

    loader.commit(2, passives=[1])
    assert loader.choice() == BootChoice(good=2)
    assert variables_of(tmp_path)["active_snap"] == "2"


def test_disarming_returns_to_the_good_one_and_lists_the_bad_one_last(
    loader: BootLoader, tmp_path: Path
) -> None:
    loader.arm(3, good=2, passives=[2])

    loader.disarm(2, passives=[1, 3])

    assert loader.choice() == BootChoice(good=2)
    assert variables_of(tmp_path)["passive_snaps"] == "1 3"


def test_nobody_vouches_for_the_link_while_it_moves(loader: BootLoader, tmp_path: Path) -> None:
    loader.commit(1, passives=[])

    loader.release_active()

    assert "active_snap" not in variables_of(tmp_path)
    assert loader.choice() == BootChoice(good=1)


def test_labels_are_upstreams_and_fit_beside_the_rest(loader: BootLoader, tmp_path: Path) -> None:
    loader.write_labels("T" * 200)
    loader.arm(1000, good=999, passives=[999, 998, 997])

    variables = variables_of(tmp_path)

    assert variables["state_label"] == "COS_STATE"
    assert variables["persistent_label"] == "COS_PERSISTENT"
    assert len(variables["default_menu_entry"]) == 64


def test_a_variable_that_is_no_number_is_named(loader: BootLoader, tmp_path: Path) -> None:
    write_variables(Host(tmp_path).volume("efi") / "grub_oem_env", {"ab_good": "one"})

    with pytest.raises(StateInvalid, match="ab_good"):
        loader.choice()


def test_a_disk_boots_from_the_moment_grub_cfg_is_there(loader: BootLoader, tmp_path: Path) -> None:
    assert not loader.is_installed()

    loader.write_configuration()

    assert loader.is_installed()
    efi = Host(tmp_path).volume("efi")
    assert (efi / "EFI/BOOT/grub.cfg").read_text() == (efi / "EFI/ELEMENTAL/grub.cfg").read_text()


def test_the_configuration_is_balanced_and_avoids_what_signed_grub_lacks() -> None:
    text = render_configuration()
    words = re.findall(r"\b(?:if|fi|eval|for|done)\b", text)

    assert words.count("if") == words.count("fi")
    assert words.count("for") == words.count("done")
    assert text.count("{") == text.count("}")
    assert "eval" not in words
    assert all(line in text for line in LADDER.splitlines() if line)


def test_efi_binaries_are_taken_from_the_image_under_their_fallback_names(
    loader: BootLoader, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    (tree / "usr/lib/shim").mkdir(parents=True)
    (tree / "usr/lib/shim/shimx64.efi.signed").write_bytes(b"shim")

    assert loader.copy_binaries(tree) == ["bootx64.efi"]
    assert (Host(tmp_path).volume("efi") / "EFI/BOOT/bootx64.efi").read_bytes() == b"shim"
