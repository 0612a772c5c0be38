"""The `os-release` of an image: os-release(5), with the keys by which upgrades tell images apart.

Sources: os-release(5) for the quoting; the Elemental upgrade flow for IMAGE_REPO, IMAGE_TAG, IMAGE,
TIMESTAMP and GRUB_ENTRY_NAME.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OsRelease:
    """`image_repository` is where the image is found in the mirror, with no registry host."""

    name: str
    id: str
    version: str
    image_repository: str
    image_tag: str
    timestamp: str = "1970-01-01T00:00:00Z"
    id_like: str = ""


def render_os_release(release: OsRelease) -> str:
    values = {
        "NAME": release.name,
        "PRETTY_NAME": f"{release.name} {release.version}",
        "VERSION": release.version,
        "VERSION_ID": release.version,
        "ID": release.id,
        "ID_LIKE": release.id_like,
        "IMAGE": f"{release.image_repository}:{release.image_tag}",
        "IMAGE_REPO": release.image_repository,
        "IMAGE_TAG": release.image_tag,
        "TIMESTAMP": release.timestamp,
        "GRUB_ENTRY_NAME": release.name,
    }
    return "".join(f"{key}={quote(value)}\n" for key, value in values.items() if value)


def quote(value: str) -> str:
    """Double quotes, with a backslash before what the shell would read."""
    for special in ("\\", '"', "$", "`"):
        value = value.replace(special, "\\" + special)
    return f'"{value}"'
