"""The recipe of the appliance's image: what it refuses before it begins. The system tier sees its image."""

from pathlib import Path

import pytest

from bundles.errors import RecipeFailed
from bundles.images.appliance import LOCK, PYTHON, build_appliance_image, check_locked, check_source

SOURCE = Path(__file__).parents[3]


def test_this_checkout_can_be_built_from() -> None:
    check_source(SOURCE, python=PYTHON)


@pytest.mark.parametrize("missing", ["pyproject.toml", LOCK])
def test_a_folder_that_is_no_checkout_is_named(tmp_path: Path, missing: str) -> None:
    for name in {"pyproject.toml", LOCK} - {missing}:
        (tmp_path / name).touch()

    with pytest.raises(RecipeFailed, match=missing) as refusal:
        build_appliance_image(tmp_path / "layout", source=tmp_path)

    assert "--source" in refusal.value.hint
    assert not (tmp_path / "layout").exists()


def test_another_python_than_the_images_is_refused() -> None:
    with pytest.raises(RecipeFailed, match=r"3\.11, this is 3\.13"):
        check_source(SOURCE, python=(3, 13))


def test_what_the_lock_does_not_name_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / LOCK
    lock.write_text("jaraco-text==4.1 \\\n    --hash=sha256:00\n")
    (tmp_path / "jaraco.text-4.1.dist-info").mkdir()
    (tmp_path / "skerry-9.dist-info").mkdir()

    check_locked(tmp_path, lock)

    (tmp_path / "intruder-1.0.dist-info").mkdir()
    with pytest.raises(RecipeFailed, match=r"intruder==1\.0"):
        check_locked(tmp_path, lock)
