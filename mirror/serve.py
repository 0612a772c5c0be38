"""`skerry-mirror serve`: one registry on one listener, until SIGTERM.

One JSON line on stdout says that it is ready and where; talk goes to stderr.
"""

import argparse
import asyncio
import ctypes
import json
import logging
import signal
import ssl
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1  # prctl(2)


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

    host, port = options.listen
    tls = _tls_context(options.tls_cert, options.tls_key) if options.tls_cert else None
    registry = Registry(options.root)
    try:
        server = Server(registry)
        stopped = _stop_signal()
        address, bound = await server.start(host, port, tls=tls)
        print(json.dumps({"ready": True, "listen": _render_listen(address, bound)}), flush=True)
        await stopped.wait()
        await server.stop()
    finally:
        registry.close()


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


def _tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


def _parse_listen(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not ADDR:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _render_listen(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
