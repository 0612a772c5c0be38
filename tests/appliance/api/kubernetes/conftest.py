"""The served store that the tests of this folder talk to."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.store.base import Limits
from tests.appliance.api.kubernetes.serving import Face, serve


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with serve(tmp_path, limits=Limits(history=40, watch_buffer=8)) as served:
        yield served
