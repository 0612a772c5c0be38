"""Small reads of /sys, /proc and /etc that end: a limit each, no waiting for a pipe, absence is nothing.

A driver may still hold a reader in the kernel for as long as it likes. `gather` asks each source on a
thread of its own and goes on without those that do not answer in time: facts never stop a registration.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from agent.host import Host

log = logging.getLogger("agent")

SMALL = 4 * 1024  # a sysfs attribute is at most a page
MAX_TEXT = 256  # of one attribute; a machine with many devices must fit into one message
BUDGET_SECONDS = 2.0

Value = TypeVar("Value")


def read_bytes(host: Host, absolute: str, *, limit: int = SMALL) -> bytes:
    """What the file holds, up to `limit`; empty where there is none."""
    try:
        descriptor = os.open(host.path(absolute), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    parts: list[bytes] = []
    try:
        while limit > 0 and (part := os.read(descriptor, limit)):
            parts.append(part)
            limit -= len(part)
    except OSError:  # what a device cannot say it refuses halfway
        return b"".join(parts)
    finally:
        os.close(descriptor)
    return b"".join(parts)


def read_line(host: Host, absolute: str) -> str:
    """A file's first line, without the spaces and control characters that firmware leaves in it."""
    text = read_bytes(host, absolute).decode(errors="replace").strip()
    return clean(text.partition("\n")[0])[:MAX_TEXT]


def clean(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def read_number(host: Host, absolute: str, *, base: int = 10) -> int | None:
    try:
        return int(read_line(host, absolute), base)
    except ValueError:
        return None


def list_names(host: Host, absolute: str, *, limit: int) -> list[str]:
    """A folder's names in order, as many as may be looked at."""
    try:
        return sorted(os.listdir(host.path(absolute)))[:limit]
    except (OSError, ValueError):
        return []


def gather(
    sources: Mapping[str, Callable[[], Value]], *, seconds: float = BUDGET_SECONDS
) -> dict[str, Value]:
    """Ask all sources at once; those that failed or did not answer within `seconds` are left out."""
    answers: dict[str, Value] = {}

    def ask(name: str, read: Callable[[], Value]) -> None:
        answers[name] = read()

    threads = {
        name: threading.Thread(target=ask, args=(name, read), name=f"facts {name}", daemon=True)
        for name, read in sources.items()
    }
    for thread in threads.values():
        thread.start()
    deadline = time.monotonic() + seconds
    for name, thread in threads.items():
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            log.warning("facts: %s did not answer within %g s and is left out", name, seconds)
    return dict(answers)
