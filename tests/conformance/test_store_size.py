"""A fleet of ten thousand in the store: what is read at a time stays a page. No times are asserted."""

import asyncio
from pathlib import Path

from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.store.base import EVERYTHING, Limits, Selection
from tests.conformance.store_engines import machine, sqlite

HOSTS = 10_000


async def test_ten_thousand_hosts_are_read_page_by_page(tmp_path: Path) -> None:
    async with sqlite(tmp_path, Limits()) as store:
        for start in range(0, HOSTS, 1000):
            created = [
                store.create(
                    MACHINE_INVENTORY,
                    machine(f"host-{index:05}", metadata={"labels": {"line": str(index % 100)}}),
                )
                for index in range(start, start + 1000)
            ]
            await asyncio.gather(*created)

        sizes: list[int] = []
        seen: set[str] = set()
        token = ""
        while not sizes or token:
            page = await store.list(MACHINE_INVENTORY, EVERYTHING, limit=500, continue_token=token)
            assert page.remaining == HOSTS - len(seen) - len(page.items)
            seen |= {document["metadata"]["name"] for document in page.items}
            sizes.append(len(page.items))
            token = page.continue_token
        assert (sizes, len(seen)) == ([500] * 20, HOSTS)

        line = await store.list(MACHINE_INVENTORY, Selection(labels="line=42"), limit=500)
        assert (len(line.items), line.continue_token) == (100, "")
