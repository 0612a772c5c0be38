"""Servers that answer as no Kubernetes does, or too busily: the errors are ours, and a watch is patient."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.meta import Document
from appliance.store.base import Gone, Unavailable
from appliance.store.kubernetes import KubernetesStore
from appliance.store.kubernetes_api import KubernetesApi
from appliance.store.kubernetes_watch import WatchSettings

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

QUICK = WatchSettings(first_pause=0.0, longest_pause=0.0, patience=0.2)
EMPTY: Document = {"metadata": {"resourceVersion": "5"}, "items": []}


@asynccontextmanager
async def server(folder: Path, answer: Answer) -> AsyncIterator[KubernetesStore]:
    """A store over a server that gives every request to `answer`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
        "users: [{name: u, user: {token: secret}}]\n"
        f"clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{runner.addresses[0][1]}'}}}}]\n"
    )
    api = await KubernetesApi.open(kubeconfig, pauses=(0.0, 0.0, 0.0))
    try:
        async with KubernetesStore(api, watching=QUICK) as store:
            yield store
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("body", ["<html>", "", "[]", "3", '{"a":', "\x00"])
async def test_an_answer_that_is_no_object_is_unavailable(tmp_path: Path, body: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body)

    async with server(tmp_path, answer) as store:
        with pytest.raises(Unavailable, match="not answer as Kubernetes does"):
            await store.get(MACHINE_INVENTORY, "a", namespace="b")


async def test_a_busy_server_is_asked_again_as_it_says(tmp_path: Path) -> None:
    asked = itertools.count(1)

    async def answer(_: web.Request) -> web.Response:
        if next(asked) < 3:
            return web.Response(status=429, headers={"Retry-After": "0"})
        return web.json_response({"metadata": {"name": "a"}})

    async with server(tmp_path, answer) as store:
        assert (await store.get(MACHINE_INVENTORY, "a", namespace="b"))["metadata"]["name"] == "a"


async def test_a_server_that_stays_busy_is_unavailable(tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "soon"})

    async with server(tmp_path, answer) as store:
        with pytest.raises(Unavailable, match="busy"):
            await store.get(MACHINE_INVENTORY, "a", namespace="b")


async def test_a_write_that_breaks_off_is_not_repeated(tmp_path: Path) -> None:
    methods: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        methods.append(request.method)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    document = {"metadata": {"name": "a", "namespace": "b"}}
    async with server(tmp_path, answer) as store:
        with pytest.raises(Unavailable, match="broke off") as refused:
            await store.create(MACHINE_INVENTORY, document)

    assert methods == ["POST"]
    assert "not known" in refused.value.hint


async def test_the_token_is_sent(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"metadata": {"name": request.headers["Authorization"]}})

    async with server(tmp_path, answer) as store:
        assert (await store.get(MACHINE_INVENTORY, "a", namespace="b"))["metadata"]["name"] == "Bearer secret"


def watched(*connections: bytes) -> Answer:
    """Each connection of a watch gets its lines; those after the last get the last again."""
    given = iter(connections)
    last = [b""]

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response(EMPTY)
        last[0] = next(given, last[0])
        return web.Response(body=last[0])

    return answer


def added(version: int) -> bytes:
    return b'{"type":"ADDED","object":{"metadata":{"name":"n%d","resourceVersion":"%d"}}}\n' % (
        version,
        version,
    )


async def test_a_watch_resumes_from_what_it_saw_last(tmp_path: Path) -> None:
    asked: list[str] = []
    lines = watched(added(6) + added(7), b"", added(8))

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            asked.append(request.query["resourceVersion"])
        return await lines(request)

    async with server(tmp_path, answer) as store, aclosing(store.watch(MACHINE_INVENTORY)) as events:
        seen = [(await anext(events)).document["metadata"]["resourceVersion"] for _ in range(4)]

    assert seen == ["5", "6", "7", "8"]
    assert asked == ["5", "7", "7"]


async def test_a_long_line_that_comes_in_pieces_is_one_event(tmp_path: Path) -> None:
    line = b'{"type":"ADDED","object":{"metadata":{"resourceVersion":"6"},"a":"%s"}}\n' % (b"x" * 6_000_000)

    async with server(tmp_path, watched(line)) as store, aclosing(store.watch(MACHINE_INVENTORY)) as events:
        await anext(events)
        assert len((await anext(events)).document["a"]) == 6_000_000


async def test_a_version_that_is_no_longer_kept_is_gone(tmp_path: Path) -> None:
    line = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}\n'

    async with server(tmp_path, watched(line)) as store, aclosing(store.watch(MACHINE_INVENTORY)) as events:
        await anext(events)
        with pytest.raises(Gone, match="too old"):
            await anext(events)


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense\n",
        b"[]\n",
        b'{"type":"RENAMED","object":{}}\n',
        b'{"type":"ADDED","object":3}\n',
        b'{"type":"ADDED","object":{}}\n',
        b'{"type":"ADDED","object":{"metadata":{"resourceVersion":7}}}\n',
        b'{"type":"ERROR","object":[]}\n',
    ],
)
async def test_events_that_cannot_be_read_end_the_watch_in_the_end(tmp_path: Path, line: bytes) -> None:
    async with server(tmp_path, watched(line)) as store, aclosing(store.watch(MACHINE_INVENTORY)) as events:
        await anext(events)
        with pytest.raises(Unavailable, match="cannot be read"):
            await anext(events)
