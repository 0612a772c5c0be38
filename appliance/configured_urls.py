"""The one door through which the appliance reads from the web, and only what an operator configured.

No redirect is followed and no proxy of the environment is asked: both lead where nobody configured anything.
"""

import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from http.client import HTTPException
from typing import IO

from appliance.errors import ApplianceFault

PIECE_BYTES = 64 * 1024
SOCKET_SECONDS = 30.0


class UrlUnreadable(ApplianceFault):
    """The URL did not give what was wanted; the sentence names it."""


def is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def fetch(
    url: str,
    output: IO[bytes],
    *,
    limit: int,
    seconds: float,
    ca_pem: str = "",
    on_read: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Copy what the URL answers; how many bytes. Blocks. Raises UrlUnreadable.

    `ca_pem` is trusted besides the system's authorities; `seconds` is for the whole of it. `on_read` hears
    how many bytes of how many have come (0 if that is not known); what it raises ends the copy.
    """
    if not is_url(url):
        raise UrlUnreadable(f"{url} is neither http nor https")
    context = ssl.create_default_context()
    if ca_pem:
        context.load_verify_locations(cadata=ca_pem)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), _StayHere()
    )
    deadline, done = time.monotonic() + seconds, 0
    try:
        with opener.open(url, timeout=min(seconds, SOCKET_SECONDS)) as response:
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else 0
            if total > limit:
                raise UrlUnreadable(f"{url} has {total} bytes; {limit} are read")
            on_read(0, total)
            while piece := response.read1(PIECE_BYTES):  # what there is: a drip never fills a piece
                done += len(piece)
                if done > limit:
                    raise UrlUnreadable(f"{url} is larger than the {limit} bytes that are read")
                if time.monotonic() > deadline:
                    raise UrlUnreadable(f"{url} took longer than {seconds:g} s")
                output.write(piece)
                on_read(done, total)
            if total and done != total:
                raise UrlUnreadable(f"{url} ended after {done} of {total} bytes")
    except urllib.error.HTTPError as error:
        error.close()
        raise UrlUnreadable(f"{url} answered {error.code} {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise UrlUnreadable(f"{url} cannot be read: {getattr(error, 'reason', error)}") from error
    return done


class _StayHere(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like any other refusal."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None
