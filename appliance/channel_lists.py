"""Where channels' lists come from: the mirror's images and artifacts, or an URL that the operator configured.

Nothing else is opened: no redirect is followed and no proxy of the environment is asked.
"""

import ssl
import time
import urllib.error
import urllib.request
from email.message import Message
from http.client import HTTPException
from io import BytesIO
from typing import IO

from appliance.controllers.settings import ListUnreadable
from appliance.controllers.version_list import MAX_LIST_BYTES, ListAddress
from appliance.image_files import ImageFiles, ImageUnusable, choose_list_paths
from mirror.registry import Registry

PIECE_BYTES = 64 * 1024


class ChannelLists:
    """`address` is the mirror's own HOST:PORT; `ca_pem` is trusted besides the system's authorities."""

    def __init__(self, registry: Registry, address: str, *, ca_pem: str = "") -> None:
        self._registry = registry
        self._address = address
        self._ca_pem = ca_pem

    def read(self, address: ListAddress) -> bytes:
        """The list's bytes. Blocks. Raises ListUnreadable."""
        if not address.is_image and address.uri.startswith(("http://", "https://")):
            return self._fetch(address)
        if "://" in address.uri and not address.uri.startswith("oci://"):
            raise ListUnreadable(f"{address.uri}: only http, https and oci can be read")
        try:
            return self._read_image(address)
        except ImageUnusable as error:
            raise ListUnreadable(str(error)) from error

    def _read_image(self, address: ListAddress) -> bytes:
        image = ImageFiles(self._registry, address.uri, address=self._address)
        paths = choose_list_paths(
            image.settings(), command=address.command, args=address.args, output_file=address.output_file
        )
        for path in paths:
            content = BytesIO()
            # A blob without a title is the list itself: what an artifact of one file is.
            if image.extract(lambda found, path=path: found in (path, ""), content, limit=MAX_LIST_BYTES):  # type: ignore[misc]
                return content.getvalue()
        raise ListUnreadable(f"{address.uri} holds no list: there is no {' and no '.join(paths)} in it")

    def _fetch(self, address: ListAddress) -> bytes:
        context = ssl.create_default_context()
        if self._ca_pem:
            context.load_verify_locations(cadata=self._ca_pem)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), _StayHere()
        )
        try:
            with opener.open(address.uri, timeout=address.timeout.total_seconds()) as response:
                content = _read_within(response, address.timeout.total_seconds())
        except urllib.error.HTTPError as error:
            error.close()
            raise ListUnreadable(f"{address.uri} answered {error.code} {error.reason}") from error
        except (OSError, HTTPException, ValueError) as error:
            raise ListUnreadable(
                f"{address.uri} cannot be read: {getattr(error, 'reason', error)}"
            ) from error
        if len(content) > MAX_LIST_BYTES:
            raise ListUnreadable(f"{address.uri} is larger than the {MAX_LIST_BYTES} bytes that are read")
        return content


def _read_within(response: IO[bytes], seconds: float) -> bytes:
    """Read a list's worth, or raise TimeoutError: each piece may come in time and all of them too late."""
    deadline = time.monotonic() + seconds
    content = bytearray()
    while len(content) <= MAX_LIST_BYTES and (piece := response.read(PIECE_BYTES)):
        content += piece
        if time.monotonic() > deadline:
            raise TimeoutError(f"it took longer than {seconds:g} s")
    return bytes(content)


class _StayHere(urllib.request.HTTPRedirectHandler):
    """A redirect leads where nobody configured anything, so it is an answer like any other refusal."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None
