"""The inventory follows a store of either engine: what is declared, reported, changed, deleted."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from appliance.inventory.inventory import Inventory
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.store.base import Store, merge
from tests.appliance.inventory.driving import create, followed, is_known, report, until
from tests.appliance.inventory.factories import LATER


@pytest.fixture
def inventory(tmp_path: Path) -> Iterator[Inventory]:
    with closing(Inventory.open(tmp_path / "inventory")) as opened:
        yield opened


async def test_the_inventory_follows_the_store(roomy: Store, inventory: Inventory) -> None:
    await create(roomy, "inv-before")
    await report(roomy, "inv-before", "10.88.0.1")
    async with followed(inventory, roomy):
        await until(is_known(inventory, "inv-before", addresses=["10.88.0.1"], last_seen=LATER))
        await create(roomy, "inv-after")
        await until(is_known(inventory, "inv-after", state="registered"))

    labels = merge({"metadata": {"labels": {"line": "L9"}}})
    await roomy.patch(MACHINE_INVENTORY, "inv-after", labels, namespace="fleet-default")
    await roomy.delete(MACHINE_INVENTORY, "inv-before", namespace="fleet-default")

    async with followed(inventory, roomy):
        await until(is_known(inventory, "inv-after", labels={"line": "L9"}))
        await until(is_known(inventory, "inv-before", state="removed"))
    assert [event.kind for event in await inventory.history("inv-after")] == ["appeared"]
