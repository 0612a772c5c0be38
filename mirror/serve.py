"""`skerry-mirror serve`: one registry on one listener, until SIGTERM.

One JSON line on stdout says that it is ready and where; talk goes to stderr.
"""

import argparse
import asyncio
import ctypes
import datetime
import json
import logging
import os
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mirror.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from mirror.guard import Guard
    from mirror.oversight import Exchange, Oversight
    from mirror.registry import Registry

PR_SET_PDEATHSIG = 1  # prctl(2)
DEFAULT_RATE = 1000.0
SIZE_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def add_serve_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root", type=Path, required=True, metavar="DIR", help="where the registry's data lie"
    )
    parser.add_argument(
        "--listen", type=_parse_listen, required=True, metavar="ADDR:PORT", help="port 0 picks a free one"
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain, PEM")
    parser.add_argument(
        "--tls-key", type=Path, metavar="FILE", help="its key, PEM; the certificate's file if not given"
    )
    parser.add_argument(
        "--htpasswd", type=Path, metavar="FILE", help="users and bcrypt hashes; pushes and deletes need one"
    )
    parser.add_argument(
        "--tokens",
        type=Path,
        metavar="FILE",
        help="SHA-256 of tokens, their users and groups; a token signs in like a password, or as Bearer",
    )
    parser.add_argument(
        "--access", type=Path, metavar="FILE", help="TOML: who may pull, push and delete in which repository"
    )
    parser.add_argument("--read-only", action="store_true", help="refuse pushes and deletes")
    parser.add_argument(
        "--rate-limit",
        type=_parse_rate,
        metavar="N",
        help=f"requests a second from one address, 0 for no limit; {DEFAULT_RATE:.0f} if not given, "
        "and then loopback has none",
    )
    parser.add_argument(
        "--quota",
        type=parse_size,
        default=0,
        metavar="SIZE",
        help="bytes that all blobs together may take, as in 500G; no bound if not given",
    )
    parser.add_argument(
        "--keep-free",
        type=parse_size,
        default=DEFAULT_LIMITS.free_space,
        metavar="SIZE",
        help="bytes of the disk that pushes must leave free; 64M if not given",
    )
    parser.add_argument(
        "--access-log", action="store_true", help="one line of JSON a request on standard error"
    )
    parser.add_argument(
        "--exit-with-parent", action="store_true", help="stop when the process that started it is gone"
    )


def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT. Raises MirrorError or OSError if it cannot start."""
    if options.exit_with_parent:
        _die_with_parent()
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    import uvloop

    uvloop.run(_serve(options))


async def _serve(options: argparse.Namespace) -> None:
    from mirror.registry import Registry
    from mirror.server import Server

    guard = _guard(options)

    host, port = options.listen
    tls = None
    if options.tls_cert:
        from mirror.tls import load_tls

        tls = load_tls(options.tls_cert, options.tls_key)
    limits = replace(DEFAULT_LIMITS, quota=options.quota, free_space=options.keep_free)
    registry = Registry(options.root, limits=limits)
    try:
        server = Server(
            registry,
            guard=guard,
            oversight=_oversight(registry, options.root),
            on_answered=_log_access if options.access_log else _keep_quiet,
        )
        stopped = _stop_signal()
        address, bound = await server.start(host, port, tls=tls)
        print(json.dumps({"ready": True, "listen": _render_listen(address, bound)}), flush=True)
        await stopped.wait()
        await server.stop()
    finally:
        registry.close()


def _guard(options: argparse.Namespace) -> "Guard":
    """What was said of access. Without any of it everybody may do everything, as on a bench."""
    from mirror.access import DEFAULT_RULE, Policy, load_rules
    from mirror.guard import OPEN, Guard
    from mirror.rate import RateLimiter

    policy = OPEN
    passwords = None
    if options.htpasswd is not None:
        from mirror.htpasswd import PasswordFile

        passwords, policy = PasswordFile(options.htpasswd), Policy(otherwise=DEFAULT_RULE)
    tokens = None
    if options.tokens is not None:
        from mirror.tokens import TokenFile

        tokens, policy = TokenFile(options.tokens), Policy(otherwise=DEFAULT_RULE)
    if options.access is not None:
        policy = load_rules(options.access)
    rate = DEFAULT_RATE if options.rate_limit is None else options.rate_limit
    limiter = RateLimiter(rate, spares_loopback=options.rate_limit is None) if rate else None
    return Guard(
        passwords=passwords,
        tokens=tokens,
        policy=policy,
        is_read_only=options.read_only,
        limiter=limiter,
    )


def _oversight(registry: "Registry", root: Path) -> "Oversight":
    from mirror.census import take_census
    from mirror.metrics import Metrics
    from mirror.oversight import Oversight

    check = partial(registry.list_repositories, limit=1)
    count = partial(take_census, root, quota=registry.limits.quota, floor=registry.limits.free_space)
    return Oversight(Metrics(), take_census=count, check=check)


def _log_access(exchange: "Exchange") -> None:
    from mirror.oversight import render_log_line

    os.write(sys.stderr.fileno(), render_log_line(exchange, datetime.datetime.now(datetime.UTC)))


def _keep_quiet(exchange: "Exchange") -> None:
    """Without an access log."""


def _stop_signal() -> asyncio.Event:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    return stopped


def _die_with_parent() -> None:
    """An orphan would keep the port from its successor, so the kernel ends us with whoever started us.

    We are made to be killed at any point. A parent that was gone before this call is not noticed.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def parse_size(text: str) -> int:
    """`500G` and the like, in powers of 1024."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in SIZE_UNITS else (text, "")
    if not (number.isascii() and number.isdigit() and len(number) < 16):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: write bytes, or as in 64M, 500G, 2T")
    return int(number) * SIZE_UNITS.get(unit, 1)


def _parse_rate(text: str) -> float:
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of requests")
    return float(text)


def _parse_listen(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not ADDR:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _render_listen(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
