"""The inventory's routes: who may, what is refused, and an appliance whose inventory is damaged."""

import time
from pathlib import Path

import pytest

from appliance.api.client import ApplianceError
from appliance.api.inventory import MAX_LIMIT
from appliance.inventory.table import MAX_BYTES
from tests.appliance.fleet import add_machine, ask, host_token
from tests.appliance.running import PATIENCE, Appliance, running

PREFIX = "/skerry/v1/inventory"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "?limit=0", None, 400),
        ("GET", f"?limit={MAX_LIMIT + 1}", None, 400),
        ("GET", "?limit=many", None, 400),
        ("GET", "?continue=%5B", None, 400),
        ("GET", "?continue=" + "%5B" * 3000, None, 400),
        ("GET", "?state=lost", None, 400),
        ("GET", "?olderThan=-1", None, 400),
        ("GET", "?olderThan=999999999999999", None, 200),
        ("GET", "/search", None, 422),
        ("GET", "/search?q=" + "x" * 300, None, 422),
        ("GET", "/machines/nobody", None, 404),
        ("GET", "/machines/..%2F..%2Fx", None, 404),
        ("GET", "/history?before=x", None, 400),
        ("GET", "/export?format=exe", None, 400),
        ("POST", "/machines/nobody/tag", b'{"assetTag":"x"}', 404),
        ("POST", "/machines/nobody/tag", b'{"assetTag":"x","more":1}', 400),
        ("POST", "/machines/nobody/location", b'{"location":{"site":7}}', 400),
        ("POST", "/conflicts/x/apart", b"{}", 400),
        ("POST", "/conflicts/77/apart", b"{}", 422),
        ("POST", "/import", b"", 422),
        ("POST", "/import?format=json", b"", 422),
        ("POST", "/import", b"\xff\xfe", 422),
        ("POST", "/import", b"x" * (MAX_BYTES + 1), 413),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_bad_request_is_a_problem(
    appliance: Appliance, method: str, path: str, body: bytes | None, status: int
) -> None:
    authorization = f"Bearer {appliance.token}"

    answered, kind, _ = ask(appliance, method, PREFIX + path, authorization=authorization, body=body)

    assert (answered, "json" in kind) == (status, True)


def test_strangers_and_hosts_see_nothing_of_it(appliance: Appliance) -> None:
    machine = add_machine(appliance.client(), "inv-curious")
    for path in ("", "/search?q=inv", "/export", "/machines/inv-curious", "/history"):
        assert ask(appliance, "GET", PREFIX + path)[0] == 401
        token = host_token(appliance, machine)
        assert ask(appliance, "GET", PREFIX + path, authorization=f"Bearer {token}")[0] == 403


def test_a_viewer_reads_and_an_operator_writes_under_their_own_names(appliance: Appliance) -> None:
    client = appliance.client()
    add_machine(client, "inv-roles")
    deadline = time.monotonic() + PATIENCE
    while not client.search_machines("inv-roles").items:
        assert time.monotonic() < deadline, "the inventory did not take the machine in"
        time.sleep(0.05)
    viewer = client.issue_user("inv-val", "viewer", method="token", lifetime_seconds=600).token
    operator = client.issue_user("inv-olga", "operator", method="token", lifetime_seconds=600).token

    assert appliance.remote(token=viewer).machine("inv-roles").entry.name == "inv-roles"
    with pytest.raises(ApplianceError) as refusal:
        appliance.remote(token=viewer).add_note("inv-roles", "hello")
    appliance.remote(token=operator).add_note("inv-roles", "hello", by="somebody else")

    assert refusal.value.reason == "Forbidden"
    assert [note.author for note in client.machine("inv-roles").notes] == ["inv-olga"]


def test_a_damaged_inventory_stops_nothing_else(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "inventory.db").write_bytes(b"nothing of a database" * 1000)

    with running(data) as appliance:
        client = appliance.client()
        assert client.hosts() == []
        with pytest.raises(ApplianceError, match="damaged") as refusal:
            client.search_machines("x")

    assert refusal.value.reason == "InventoryDamaged"
    assert "skerry inventory repair" in refusal.value.hint
