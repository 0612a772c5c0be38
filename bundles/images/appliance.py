"""The appliance as a container image: Debian 12's Python, the locked dependencies, ourselves. Connected side.

Three layers, so that another version costs no more than its own files: the root by mmdebstrap, the
dependencies as wheels by the lock's digests, our own packages. The first two are kept in the cache. Nothing
of the machine that builds goes in, no index's name and no build tool. A door to subprocess: uv, hatchling.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from bundles.errors import RecipeFailed
from bundles.graph import LABEL_KIND, LABEL_TITLE, LABEL_VERSION
from bundles.images.debian import RootRecipe, build_root_layer
from bundles.images.layer_cache import READ_BYTES, default_cache, take_layer
from bundles.layout import ImageSettings, create_layout, write_image, write_layer
from bundles.progress import Progress, ProgressEvent, ignore_progress
from bundles.tarball import Entry, directory, file, write_tar
from mirror.oci import Digest

NAME = "skerry/appliance"
KIND = "appliance"
PYTHON = (3, 11)  # Debian 12's
PACKAGES_FOLDER = "usr/local/lib/python3.11/dist-packages"
PLATFORMS = {"x86_64": "amd64", "aarch64": "arm64"}
LOCK = "requirements.lock"
ERROR_LINES = 8
REVISION = 1  # of how the dependencies' layer is made

# Perl is there to set Debian up, never to run; package lists and manuals are for people who log in.
UNNEEDED = (
    "perl", "perl-modules-5.36", "libperl5.36", "libgdbm6", "libgdbm-compat4", "usrmerge",
    "libfile-find-rule-perl", "libnumber-compare-perl", "libtext-glob-perl",
)  # fmt: skip
ROOT = RootRecipe(
    packages=("python3",),
    before=(),
    after=(
        f'chroot "$1" dpkg --purge --force-depends {" ".join(UNNEEDED)} >/dev/null 2>&1',
        'rm -rf "$1"/etc/apt/sources.list* "$1"/var/log/* "$1"/var/cache/debconf/*',
        'rm -rf "$1"/usr/share/doc "$1"/usr/share/man "$1"/usr/share/info "$1"/usr/share/locale',
        'rm -f "$1"/etc/resolv.conf "$1"/etc/hostname "$1"/etc/machine-id "$1"/var/lib/dpkg/*-old',
        'find "$1"/usr -name __pycache__ -prune -exec rm -rf {} +',
        'mkdir -p "$1"/var/lib/skerry "$1"/dev',
    ),
)

# What only an installer reads; it would tell where the build's files lay.
INSTALLERS_OWN = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json")
LEFT_OUT = ("pip",)  # sqlite-utils asks for it, for a command that nobody calls here

PROGRAM = """\
#!/usr/bin/python3
from appliance.cli import main

if __name__ == "__main__":
    main()
"""


def build_appliance_image(
    output_layout: Path,
    *,
    source: Path,
    name: str = NAME,
    recipe: RootRecipe = ROOT,
    cache: Path | None = None,
    progress: Progress = ignore_progress,
) -> tuple[str, Digest]:
    """Add the image of the checkout `source` to the layout; return its name and digest.

    Raises RecipeFailed.
    """
    check_source(source)
    layout, cached = create_layout(output_layout), cache or default_cache()
    with TemporaryDirectory(prefix="skerry-image-") as folder:
        wheel = _build_wheel(source, Path(folder), epoch=recipe.epoch)
        version = wheel.name.split("-")[1]
        root = build_root_layer(layout, recipe, cache=cached, progress=progress)
        progress(ProgressEvent("building", 0, 0, "dependencies"))
        dependencies = take_layer(
            layout,
            cached / f"appliance-{_dependencies_key(wheel, source / LOCK, recipe)}",
            lambda work: _dependencies_tar(wheel, source / LOCK, work, epoch=recipe.epoch),
        )
        progress(ProgressEvent("building", 0, 0, version))
        ours = write_layer(layout, _our_tar(wheel, Path(folder), epoch=recipe.epoch))
    labels = {LABEL_KIND: KIND, LABEL_TITLE: f"Skerry appliance {version}", LABEL_VERSION: version}
    settings = ImageSettings(
        labels=labels, architecture=PLATFORMS[os.uname().machine], entrypoint=("/usr/bin/skerry",)
    )
    named = f"{name}:{version}"
    return named, write_image(layout, [root, dependencies, ours], name=named, settings=settings)


def check_source(source: Path, *, python: tuple[int, int] = sys.version_info[:2]) -> None:
    """Raise RecipeFailed unless an image can be made of this folder by this Python."""
    for needed in ("pyproject.toml", LOCK):
        if not (source / needed).is_file():
            raise RecipeFailed(
                f"{source} is no checkout of Skerry: it has no {needed}", hint="name one with --source"
            )
    if python != PYTHON:
        raise RecipeFailed(
            f"the image has Python {PYTHON[0]}.{PYTHON[1]}, this is {python[0]}.{python[1]}",
            hint="make .venv with it: PYTHON=python3.11 .ci/setup",
        )
    if os.uname().machine not in PLATFORMS:
        raise RecipeFailed(
            f"no image can be made on {os.uname().machine}", hint=f"on {' or '.join(PLATFORMS)}"
        )
    if missing := [tool for tool in ("uv", "hatchling") if importlib.util.find_spec(tool) is None]:
        raise RecipeFailed(f"{' and '.join(missing)} are not installed", hint="make .venv: .ci/setup")


def check_locked(target: Path, lock: Path) -> None:
    """Raise RecipeFailed for a package that the lock does not name: where it is silent, uv takes any."""
    locked = {line.split()[0] for line in lock.read_text().splitlines() if line[:1].isalnum()}
    for folder in sorted(target.glob("*.dist-info")):
        name, _, version = folder.name.removesuffix(".dist-info").rpartition("-")
        wanted = f"{name.replace('_', '-').replace('.', '-').lower()}=={version}"
        if wanted not in locked and name != "skerry":
            raise RecipeFailed(f"{wanted} is not in {lock}", hint="lock again: just lock")


def _build_wheel(source: Path, work: Path, *, epoch: int) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(work / "wheel")]
    _run(command, "hatchling", cwd=source, environment={"SOURCE_DATE_EPOCH": str(epoch)})
    (wheel,) = (work / "wheel").glob("*.whl")
    return wheel


def _dependencies_key(wheel: Path, lock: Path, recipe: RootRecipe) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
    wanted = [line for line in text.splitlines() if line.startswith("Requires-Dist:")]
    said = [*wanted, lock.read_text(), os.uname().machine, str(recipe.epoch), str(REVISION)]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]


def _dependencies_tar(wheel: Path, lock: Path, work: Path, *, epoch: int) -> Iterator[bytes]:
    """What the appliance needs besides itself; uv refuses a wheel of another digest than the lock has."""
    target = work / "dependencies"
    _run(
        [
            *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(target)),
            *("--python", sys.executable, "--python-platform", f"{os.uname().machine}-manylinux_2_36"),
            *("--only-binary", ":all:", "--constraints", str(lock), f"{wheel}[appliance]"),
        ],
        "uv",
    )
    check_locked(target, lock)
    own = _files_of(wheel)
    _remove_unneeded(target, is_ours=lambda path: str(path.relative_to(target)) in own)
    return _tar_of(target, work, epoch=epoch)


def _our_tar(wheel: Path, work: Path, *, epoch: int) -> Iterator[bytes]:
    target = work / "ours"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    _remove_unneeded(target)
    return _tar_of(target, work, epoch=epoch, extra=[file("usr/bin/skerry", PROGRAM, mode=0o755)])


def _files_of(wheel: Path) -> frozenset[str]:
    with zipfile.ZipFile(wheel) as archive:
        return frozenset(archive.namelist())


def _remove_unneeded(target: Path, is_ours: Callable[[Path], bool] = lambda path: False) -> None:
    shutil.rmtree(target / "bin", ignore_errors=True)
    for path in sorted(target.rglob("*"), reverse=True):
        relative = path.relative_to(target)
        top, name = relative.parts[0], path.name
        is_left_out = top.removesuffix(".dist-info").partition("-")[0] in LEFT_OUT
        is_installers = top.endswith(".dist-info") and name in INSTALLERS_OWN
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif is_left_out or is_installers or is_ours(path) or name == ".lock":
            path.unlink()


def _tar_of(target: Path, work: Path, *, epoch: int, extra: Sequence[Entry] = ()) -> Iterator[bytes]:
    """The folder as a tar below the image's packages, compiled: its root can be read-only."""
    where = ["-s", str(target), "-p", f"/{PACKAGES_FOLDER}"]
    compile_all = [sys.executable, "-m", "compileall", "-q", *where, "--invalidation-mode", "unchecked-hash"]
    _run([*compile_all, str(target)], "compileall", environment={"PYTHONHASHSEED": "0"})
    tar = work / f"{target.name}.tar"
    with tar.open("wb") as output:
        write_tar(chain(_entries(target), extra), output, time=epoch)
    shutil.rmtree(target)
    with tar.open("rb") as content:
        yield from iter(lambda: content.read(READ_BYTES), b"")


def _entries(target: Path) -> Iterator[Entry]:
    parts = PACKAGES_FOLDER.split("/")
    yield from (directory("/".join(parts[:depth])) for depth in range(1, len(parts) + 1))
    for path in sorted(target.rglob("*")):
        name = f"{PACKAGES_FOLDER}/{path.relative_to(target)}"
        if path.is_dir():
            yield directory(name)
        else:
            mode = 0o755 if path.stat().st_mode & 0o100 and path.suffix != ".py" else 0o644
            yield file(name, path.read_bytes(), mode=mode)


def _run(
    command: Sequence[str], tool: str, *, cwd: Path | None = None, environment: dict[str, str] | None = None
) -> None:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **(environment or {})}, capture_output=True, text=True
    )
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-ERROR_LINES:]
        raise RecipeFailed(
            f"{tool} could not do its part: {' | '.join(last)}",
            hint="the package index must be reachable while the image is built",
        )
