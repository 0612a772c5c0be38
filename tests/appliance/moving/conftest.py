"""A folder as an appliance leaves it."""

import asyncio
from pathlib import Path

import pytest

from appliance.credentials import AdminToken, Authority, HostTokens
from tests.appliance.moving.filling import fill


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An appliance's folder with keys, a registration, a host and what the host owns."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    Authority.load_or_create(folder / "pki")
    HostTokens.load_or_create(folder / "pki" / "host-token.key")
    AdminToken.load_or_create(folder / "admin.token")
    (folder / "mirror").mkdir()
    (folder / "mirror" / "blob").write_bytes(bytes(1000))
    asyncio.run(fill(folder))
    return folder
