"""The embedded store behind its Kubernetes face and TLS, as one process: the side of ours in `store_peer`.

`python -m benchmarks.store_face FOLDER`: store and `pki/` are in the folder; prints its port when it answers.
"""

import asyncio
import signal
import ssl
import sys
from pathlib import Path

import uvloop
from aiohttp import web

from appliance.access.accounts import AccountTokens
from appliance.access.evaluator import Evaluator
from appliance.access.rules import AUTHENTICATED, Asked, Caller
from appliance.api.kubernetes import Reviews, add_kubernetes_routes, answer_with_statuses
from appliance.credentials import Authority
from appliance.store.sqlite import SqliteStore


async def main(folder: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    certificate = Authority.load_or_create(folder / "pki").keep_server_certificate(
        folder / "pki", ["127.0.0.1"]
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.certificate, certificate.key)
    async with SqliteStore.open(folder / "skerry.db") as store:
        app = web.Application(middlewares=[answer_with_statuses])
        add_kubernetes_routes(app, store, authorize=allow, recheck=allow, reviews=reviews(store))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        print(runner.addresses[0][1], flush=True)
        await stop.wait()
        await runner.cleanup()


async def allow(_: web.Request, asked: Asked) -> None:
    """Everybody may everything."""


async def nobody(token: str) -> None:
    """No token is known."""


def reviews(store: SqliteStore) -> Reviews:
    return Reviews(
        Evaluator(store),
        AccountTokens(store, b"k" * 32),
        caller_of=lambda _: Caller("benchmark", ("admin", AUTHENTICATED)),
        identify=nobody,
    )


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
