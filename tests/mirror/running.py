"""A mirror that really listens, in a thread of the test's own process, and a plain client for it."""

import asyncio
import http.client
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import uvloop

from mirror.census import take_census
from mirror.guard import Guard
from mirror.limits import DEFAULT_LIMITS, DEFAULT_PATIENCE, Limits, Patience
from mirror.metrics import Metrics
from mirror.oci import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Digest, digest_of
from mirror.oversight import Exchange, Oversight
from mirror.registry import Registry
from mirror.server import Server
from mirror.tls import TlsContext


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        """The first error's code."""
        code: str = self.json["errors"][0]["code"]
        return code


class RunningMirror:
    def __init__(
        self,
        root: Path,
        *,
        limits: Limits = DEFAULT_LIMITS,
        patience: Patience = DEFAULT_PATIENCE,
        tls: TlsContext | None = None,
        guard: Guard | None = None,
        on_answered: Callable[[Exchange], None] = lambda exchange: None,
        new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
    ) -> None:
        self.registry = Registry(root, limits=limits)
        self.port = 0
        self._tls = tls
        self._patience = patience
        self._guard = guard
        self._on_answered = on_answered
        check = partial(self.registry.list_repositories, limit=1)
        self._oversight = Oversight(Metrics(), take_census=partial(take_census, root), check=check)
        self._loop = new_loop()
        self._server: Server
        self._thread = threading.Thread(target=self._loop.run_forever)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        return self._server.connections

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._call(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.registry.close()

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on its own connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def push_blob(self, repository: str, content: bytes) -> Digest:
        digest = digest_of(content)
        answer = self.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", content)
        assert answer.status == 201, answer.body
        return digest

    def push_image(self, repository: str, tag: str, *, payload: bytes = b"layer") -> Digest:
        config = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
        self.push_blob(repository, config)
        self.push_blob(repository, payload)
        manifest = image_manifest(config, payload)
        answer = self.ask(
            "PUT", f"/v2/{repository}/manifests/{tag}", manifest, headers={"Content-Type": OCI_MANIFEST}
        )
        assert answer.status == 201, answer.body
        return digest_of(manifest)

    async def _start(self) -> Server:
        server = Server(
            self.registry,
            patience=self._patience,
            guard=self._guard,
            oversight=self._oversight,
            on_answered=self._on_answered,
        )
        _, self.port = await server.start("127.0.0.1", 0, tls=self._tls)
        return server

    async def _stop(self) -> None:
        """What was told to end needs a turn of the loop to do so."""
        await self._server.stop(grace_seconds=1.0)
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others, timeout=5)

    def _call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


def descriptor(content: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def image_manifest(config: bytes, *layers: bytes, **fields: Any) -> bytes:
    return msgspec.json.encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(config, OCI_CONFIG),
            "layers": [descriptor(layer, OCI_LAYER) for layer in layers],
            **fields,
        }
    )


def wait_until(is_so: Callable[[], bool], *, seconds: float = 20.0) -> None:
    """Come back as soon as it is so; fail where a plain loop would hang."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.005)
