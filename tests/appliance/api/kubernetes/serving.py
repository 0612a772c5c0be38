"""A store served over HTTP on a free port, and requests to it."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web

from appliance.access.accounts import AccountTokens
from appliance.access.evaluator import Evaluator
from appliance.access.rules import AUTHENTICATED, Asked, Caller
from appliance.api.kubernetes import (
    Authorize,
    Forbidden,
    Reviews,
    add_kubernetes_routes,
    answer_with_statuses,
)
from appliance.resources.meta import Document
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


async def allow(_: web.Request, asked: Asked) -> None:
    """Everybody may everything."""


async def allow_reading(_: web.Request, asked: Asked) -> None:
    if asked.verb not in ("get", "list", "watch"):
        raise Forbidden(f"you may not {asked}")


async def nobody(token: str) -> None:
    """No token is known."""


@asynccontextmanager
async def serve(
    folder: Path, *, authorize: Authorize = allow, limits: Limits | None = None
) -> AsyncIterator[Face]:
    async with SqliteStore.open(folder / "skerry.db", limits=limits) as store:
        app = web.Application(middlewares=[answer_with_statuses])
        reviews = Reviews(
            Evaluator(store),
            AccountTokens(store, b"k" * 32),
            caller_of=lambda request: Caller(
                "someone", (request.headers.get("X-Role", "admin"), AUTHENTICATED)
            ),
            identify=nobody,
        )
        for prefix in ("", RANCHER):
            add_kubernetes_routes(
                app, store, authorize=authorize, recheck=authorize, reviews=reviews, prefix=prefix
            )
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
