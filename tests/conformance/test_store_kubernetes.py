"""What only a store over a server can meet: it ends watches, restarts, forgets, refuses or is not there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path

import pytest

from appliance.resources.core import SECRET
from appliance.resources.crds import custom_kinds
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.meta import Kind
from appliance.resources.system_upgrade_plan import SYSTEM_UPGRADE_PLAN
from appliance.store.base import Gone, Invalid, NotFound, Selection, Unavailable, merge
from appliance.store.kubernetes import KubernetesStore
from appliance.store.kubernetes_watch import WatchSettings
from tests.conformance.store_engines import (
    LIMITS,
    NAMESPACE,
    delete,
    fill,
    get,
    kubernetes,
    machine,
    names,
    next_event,
    patch,
)
from tests.kube_cluster import KubeCluster, find_conditions, start_api_server
from tests.kube_programs import build_kube_programs

pytestmark = pytest.mark.interop

IMPATIENT = WatchSettings(seconds=1.0, idle_seconds=20.0, first_pause=0.05, longest_pause=0.2, patience=0.5)


@pytest.fixture
async def hosted(kube_cluster: KubeCluster) -> AsyncIterator[KubernetesStore]:
    async with kubernetes(kube_cluster, LIMITS) as store:
        yield store


@pytest.mark.parametrize("kind", custom_kinds(), ids=str)
def test_a_real_server_accepts_every_definition(kube_cluster: KubeCluster, kind: Kind) -> None:
    conditions = find_conditions(kube_cluster, f"{kind.plural}.{kind.group}")

    assert conditions == {"NamesAccepted": "True", "Established": "True"}  # and no NonStructuralSchema


async def test_what_is_served_is_discovered(hosted: KubernetesStore) -> None:
    assert await hosted.has_kind(MACHINE_INVENTORY)
    assert await hosted.has_kind(SECRET)
    assert not await hosted.has_kind(SYSTEM_UPGRADE_PLAN)


async def test_no_name_is_not_every_name(hosted: KubernetesStore) -> None:
    await fill(hosted, 2)

    for name in ("", ".", ".."):
        with pytest.raises(NotFound):
            await delete(hosted, name)
    with pytest.raises(NotFound):
        await hosted.delete(MACHINE_INVENTORY, "press-0", namespace="")
    assert await names(hosted) == ["press-0", "press-1"]


async def test_a_refusal_does_not_spell_out_a_secret(hosted: KubernetesStore) -> None:
    await hosted.create(
        SECRET, {"metadata": {"name": "s", "namespace": NAMESPACE}, "stringData": {"a": "hunter2"}}
    )

    with pytest.raises(Invalid) as refused:
        await hosted.patch(SECRET, "s", merge({"data": {"plan": "{}"}}), namespace=NAMESPACE)

    assert "aHVudGVyMg" not in str(refused.value)


async def test_a_watch_outlives_its_connections(kube_cluster: KubeCluster) -> None:
    async with kubernetes(kube_cluster, LIMITS, watching=IMPATIENT) as store:
        await store.create(MACHINE_INVENTORY, machine())
        async with aclosing(store.watch(MACHINE_INVENTORY)) as events:
            assert [(await anext(events)).type, (await anext(events)).type] == ["ADDED", "BOOKMARK"]
            seen = []
            for turn in range(3):  # longer than the server keeps one
                await patch(store, {"spec": {"machineHash": str(turn)}})
                seen.append((await next_event(events)).document["spec"]["machineHash"])
                await asyncio.sleep(IMPATIENT.seconds)

    assert seen == ["0", "1", "2"]


async def test_the_server_says_how_far_a_quiet_watch_has_come(kube_cluster: KubeCluster) -> None:
    watching = WatchSettings(seconds=4.0)
    async with kubernetes(kube_cluster, LIMITS, watching=watching) as store:
        nothing = Selection(namespace=NAMESPACE, labels="no=such")
        async with aclosing(store.watch(MACHINE_INVENTORY, nothing)) as events:
            first = int((await anext(events)).document["metadata"]["resourceVersion"])
            await store.create(MACHINE_INVENTORY, machine())

            bookmark = await anext(events)
            assert bookmark.type == "BOOKMARK"
            assert int(bookmark.document["metadata"]["resourceVersion"]) > first


async def test_over_a_restart_of_the_server_a_watcher_misses_nothing_or_is_told(
    kube_cluster: KubeCluster, hosted: KubernetesStore
) -> None:
    seen: set[str] = set()

    async def follow() -> None:
        while "press-3" not in seen:
            with suppress(Gone):  # a server that starts anew knows no changes of before
                async with aclosing(hosted.watch(MACHINE_INVENTORY)) as events:
                    while "press-3" not in seen:
                        seen.add((await next_event(events)).document["metadata"]["name"])

    await hosted.create(MACHINE_INVENTORY, machine("press-1"))
    async with asyncio.timeout(120):
        following = asyncio.create_task(follow())
        await hosted.create(MACHINE_INVENTORY, machine("press-2"))
        await asyncio.to_thread(kube_cluster.stop, "kube-apiserver")
        await asyncio.to_thread(start_api_server, kube_cluster, build_kube_programs())
        await hosted.create(MACHINE_INVENTORY, machine("press-3"))
        await following

    assert seen == {"press-1", "press-2", "press-3"}


async def test_a_watch_from_before_what_is_kept_is_gone(hosted: KubernetesStore) -> None:
    with pytest.raises(Gone):
        await anext(hosted.watch(MACHINE_INVENTORY, since="1"))


async def test_a_server_that_is_not_there_is_unavailable(kube_cluster: KubeCluster, tmp_path: Path) -> None:
    kubeconfig = kube_cluster.write_kubeconfig(tmp_path / "admin", user="admin", group="system:masters")
    kubeconfig.write_text(kubeconfig.read_text().replace(kube_cluster.url, "https://127.0.0.1:1"))

    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 does not answer"):
        await KubernetesStore.open(kubeconfig)


@pytest.mark.parametrize("content", ["", "{}", "[", "clusters: 3", "apiVersion: v1\nkind: Config\nusers: []"])
async def test_a_kubeconfig_that_leads_nowhere_is_said(tmp_path: Path, content: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)

    with pytest.raises(Unavailable, match="kubeconfig"):
        await KubernetesStore.open(path)


async def test_who_may_not_is_told_which_account_lacks_what(
    kube_cluster: KubeCluster, tmp_path: Path
) -> None:
    kubeconfig = kube_cluster.write_kubeconfig(tmp_path / "nobody", user="nobody")
    async with await KubernetesStore.open(kubeconfig) as store:
        with pytest.raises(Unavailable, match='User "nobody" cannot get') as refused:
            await get(store)

    assert "account" in refused.value.hint
