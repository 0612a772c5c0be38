"""One Kubernetes API server as the store speaks to it: JSON in, JSON or a StoreError out.

The one door to the official client, which finds the server, proves who we are (kubeconfig, client
certificate, token, exec plugin, or the pod's service account, renewed as they expire) and does TLS. Its
models are not used: documents stay as they are. A request that certainly was not carried out is repeated a
few times; one that may have been is not.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlencode

import aiohttp
import msgspec
import yaml

from appliance.resources.meta import Document
from appliance.store.base import Unavailable
from appliance.store.kubernetes_errors import failure

log = logging.getLogger(__name__)

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Query = Mapping[str, str]

REQUEST_SECONDS = 60.0
CONCURRENT_REQUESTS = 32  # watches not counted; the server has its own queues beyond that
PAUSES = (0.1, 0.5, 2.0)  # before a request is repeated
_MAX_RETRY_AFTER = 5.0
_BUSY = 429


class KubernetesApi:
    """A connection pool to one API server. Use it from one event loop, and close it."""

    def __init__(self, client: Any, *, pauses: Sequence[float] = PAUSES) -> None:
        self._client = client  # kubernetes.aio.client.ApiClient, untyped
        self._pauses = pauses
        self._free = asyncio.Semaphore(CONCURRENT_REQUESTS)

    @classmethod
    async def open(
        cls, kubeconfig: Path | None = None, *, context: str = "", pauses: Sequence[float] = PAUSES
    ) -> Self:
        """Find the server by a kubeconfig, or by what a pod is given. Raises Unavailable."""
        from kubernetes.aio.client import ApiClient, Configuration
        from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

        # The environment's proxies are for others: a kubeconfig names its own.
        configuration = Configuration(client_session_kwargs={"trust_env": False})
        configuration.connection_pool_maxsize = 0  # every watch holds a connection
        try:
            if kubeconfig is None:
                load_incluster_config(configuration)  # type: ignore[no-untyped-call]
            else:
                await load_kube_config(  # type: ignore[no-untyped-call]
                    config_file=str(kubeconfig),
                    context=context or None,
                    client_configuration=configuration,
                    persist_config=False,
                )
            client = ApiClient(configuration)
        except (ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, KeyError) as error:
            where = f"the kubeconfig {kubeconfig}" if kubeconfig else "this pod's service account"
            raise Unavailable(
                f"{where} leads to no Kubernetes server: {error}",
                hint="name a kubeconfig that kubectl can use with --kubeconfig",
            ) from error
        client.user_agent = "skerry"
        return cls(client, pauses=pauses)

    @property
    def url(self) -> str:
        return str(self._client.configuration.host)

    async def close(self) -> None:
        """End every request and watch under way. TLS's polite goodbyes would outlive the loop."""
        session = self._client.rest_client.pool_manager
        if session is not None:
            await session.connector.close(abort_ssl=True)
        await self._client.close()

    async def request(
        self,
        method: Method,
        path: str,
        *,
        query: Query | None = None,
        body: object = None,
        content_type: str = "application/json",
    ) -> Document:
        """One request and its answer. Raises StoreError's children."""
        # Not all at the same moment.
        pauses = [seconds * random.uniform(0.5, 1.5) for seconds in self._pauses]  # noqa: S311 - no secret
        while True:
            try:
                async with self._free:
                    return await self._once(method, path, query or {}, body, content_type)
            except _NotDone as refusal:
                if not pauses:
                    raise refusal.error from refusal.error.__cause__
                await asyncio.sleep(max(pauses.pop(0), min(refusal.again_in, _MAX_RETRY_AFTER)))

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Query, idle_seconds: float
    ) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """The lines of a watch until the server ends it. Raises StoreError's children."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS, sock_read=idle_seconds)
        try:
            response = await self._send("GET", path, query, None, "application/json", timeout)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error
        try:
            if response.status != 200:
                raise failure(response.status, await response.read())
            yield self._lines(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error
        finally:
            if response.connection is not None and response.connection.transport is not None:
                response.connection.transport.abort()
            response.close()

    async def _lines(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        # By hand: aiohttp's own lines are limited in length.
        rest = bytearray()
        async for chunk in response.content.iter_any():
            start = 0
            while (end := chunk.find(b"\n", start)) >= 0:
                rest += chunk[start:end]
                yield bytes(rest)
                rest.clear()
                start = end + 1
            rest += chunk[start:]

    async def _once(
        self, method: Method, path: str, query: Query, body: object, content_type: str
    ) -> Document:
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        try:
            response = await self._send(method, path, query, body, content_type, timeout)
            async with response:
                content = await response.read()
        except aiohttp.ClientConnectorError as error:  # never arrived
            raise _NotDone(self._unreachable(error)) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if method == "GET":
                raise _NotDone(self._unreachable(error)) from error
            raise Unavailable(
                f"the Kubernetes server at {self.url} broke off: {error or type(error).__name__}",
                hint="whether this was written is not known; read again",
            ) from error
        if response.status == _BUSY:
            raise _NotDone(
                Unavailable(f"the Kubernetes server at {self.url} is too busy", hint="try again later"),
                again_in=_seconds(response.headers.get("Retry-After", "")),
            )
        if response.status >= 400:
            raise failure(response.status, content)
        try:
            answer: Document = msgspec.json.decode(content, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise Unavailable(
                f"the server at {self.url} does not answer as Kubernetes does: {error}",
                hint="look at the address in the kubeconfig",
            ) from error
        return answer

    async def _send(
        self,
        method: Method,
        path: str,
        query: Query,
        body: object,
        content_type: str,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        from kubernetes.aio.config import ConfigException

        headers: dict[str, str] = {
            **self._client.default_headers,
            "Accept": "application/json",
            "Content-Type": content_type,
        }
        try:  # may renew a token, by a file or a program
            await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        except ConfigException as error:
            raise Unavailable(
                f"there is no valid token for the Kubernetes server at {self.url}: {error}",
                hint="look at the user in the kubeconfig",
            ) from error
        url = self.url + path + (f"?{urlencode(query)}" if query else "")
        answer = await self._client.rest_client.request(
            method, url, headers=headers, body=body, _request_timeout=timeout
        )
        response: aiohttp.ClientResponse = answer.response
        return response

    def _unreachable(self, error: BaseException) -> Unavailable:
        return Unavailable(
            f"the Kubernetes server at {self.url} does not answer: {error or type(error).__name__}",
            hint="look whether it runs, and at the address in the kubeconfig",
        )


class _NotDone(Exception):
    """A request that had no effect, and may be repeated."""

    def __init__(self, error: Unavailable, *, again_in: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.again_in = again_in


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() else 0.0
