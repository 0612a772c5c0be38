"""os-release as a shell reads it."""

import subprocess
from pathlib import Path

import pytest

from bundles.images.release import OsRelease, render_os_release


@pytest.mark.parametrize("name", ["Demo", 'a "b" $c `d` \\e', "$(touch pwned)", "it's; rm -rf /"])
def test_a_shell_gets_back_what_was_meant(tmp_path: Path, name: str) -> None:
    release = OsRelease(name=name, id="demo", version="1", image_repository="os/demo", image_tag="1")
    (tmp_path / "os-release").write_text(render_os_release(release))

    shown = subprocess.run(
        ["sh", "-c", '. ./os-release; printf %s "$NAME|$IMAGE|$GRUB_ENTRY_NAME"'],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert shown == f"{name}|os/demo:1|{name}"
    assert [path.name for path in tmp_path.iterdir()] == ["os-release"]
