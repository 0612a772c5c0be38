"""Whose bundles the appliance loads: public keys as files of one directory, read anew for every load."""

import re
from pathlib import Path

from appliance.errors import InvalidParameters
from appliance.files import PUBLIC, make_private_directory, write_durably
from bundles.signing import PUBLIC_SUFFIX, parse_public_key

KEY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_KEY_BYTES = 16 * 1024


def add_key(directory: Path, name: str, pem: bytes) -> str:
    """Trust a signer from now on; returns the key's id. Raises InvalidParameters, KeyUnusable."""
    if not KEY_NAME.fullmatch(name) or len(pem) > MAX_KEY_BYTES:
        raise InvalidParameters(
            f"A key cannot be called {name[:64]!r}.", hint="Letters, digits, dot, dash and underscore."
        )
    key = parse_public_key(pem, name=name)
    make_private_directory(directory)
    write_durably(directory / f"{name.removesuffix(PUBLIC_SUFFIX)}{PUBLIC_SUFFIX}", key.render(), mode=PUBLIC)
    return key.key_id


def list_keys(directory: Path) -> list[tuple[str, str]]:
    """The names and ids of all trusted keys."""
    paths = sorted(directory.glob(f"*{PUBLIC_SUFFIX}")) if directory.is_dir() else []
    return [(path.stem, parse_public_key(path.read_bytes(), name=str(path)).key_id) for path in paths]
