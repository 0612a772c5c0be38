"""A store served over HTTP on a free port, and requests to it."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web

from appliance.api.kubernetes import Authorize, Forbidden, Verb, add_kubernetes_routes
from appliance.resources.meta import Document, Kind
from appliance.store.base import Limits
from appliance.store.sqlite import SqliteStore

NAMESPACE = "fleet-default"
MACHINES = f"/apis/elemental.cattle.io/v1beta1/namespaces/{NAMESPACE}/machineinventories"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
RANCHER = "/k8s/clusters/local"
MERGE = "application/merge-patch+json"


@dataclass
class Face:
    """A served store and a client session whose paths are relative to it."""

    store: SqliteStore
    session: aiohttp.ClientSession
    url: str

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
    ) -> Document:
        """The answer's JSON, once its status is as expected."""
        content = (
            {"data": io.BytesIO(body)}
            if isinstance(body, bytes)
            else {"data": body}
            if isinstance(body, str)
            else {"json": body}
            if body is not None
            else {}
        )
        async with self.session.request(method, path, headers=headers, **content) as response:
            document: Document = await response.json(content_type=None)
            assert response.status == status, document
            return document


def allow(_: web.Request, verb: Verb, kind: Kind, namespace: str, name: str) -> None:
    """Everybody may everything."""


def allow_reading(_: web.Request, verb: Verb, kind: Kind, namespace: str, name: str) -> None:
    if verb not in ("get", "list", "watch"):
        raise Forbidden(f"you may not {verb} {kind.plural}")


@asynccontextmanager
async def serve(
    folder: Path, *, authorize: Authorize = allow, limits: Limits | None = None
) -> AsyncIterator[Face]:
    async with SqliteStore.open(folder / "skerry.db", limits=limits) as store:
        app = web.Application()
        for prefix in ("", RANCHER):
            add_kubernetes_routes(app, store, authorize=authorize, prefix=prefix)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession(url) as session:
            try:
                yield Face(store, session, url)
            finally:
                await runner.cleanup()


def machine(name: str, **spec: object) -> Document:
    return {
        "apiVersion": "elemental.cattle.io/v1beta1",
        "kind": "MachineInventory",
        "metadata": {"name": name},
        "spec": {"tpmHash": "ab12", **spec},
    }
