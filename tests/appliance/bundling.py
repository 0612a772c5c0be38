"""Small signed bundles for tests of the appliance, and their signer."""

from dataclasses import dataclass
from pathlib import Path

from bundles.images.small import build_small_image
from bundles.pack import Source, pack
from bundles.signing import generate_key, parse_private_key


@dataclass(frozen=True)
class Made:
    path: Path
    public_key: str
    digest: str


def make_bundle(
    directory: Path, *, name: str = "spring", version: str = "v1", payload_bytes: int = 64 * 1024
) -> Made:
    """One OS image, `skerry/NAME-os:VERSION`, packed and signed with a new key."""
    private, public = generate_key()
    layout = directory / f"{name}-{version}-layout"
    digest = build_small_image(layout, name=name, version=version, healthy=True, payload_bytes=payload_bytes)
    path = directory / f"{name}-{version}.bundle"
    source = Source(layout=layout, reference=f"skerry/{name}-os:{version}")
    pack([source], path, key=parse_private_key(private), name=name)
    return Made(path, public.decode(), digest)
