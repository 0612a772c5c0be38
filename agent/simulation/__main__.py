"""`python -m agent.simulation`: one simulated machine, from its live medium on, until SIGTERM."""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from agent.simulation.machine import Machine, MachineOptions


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one machine; 0 when it was switched off."""
    options = make_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    import agent.register

    if options.discovery:
        import agent.discovery  # noqa: F401
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    machine = MachineOptions(
        directory=options.dir.absolute(),
        name=options.name,
        registration_url=options.registration_url,
        ca_file=str(options.ca_cert.absolute()) if options.ca_cert else "",
        seed=options.seed,
        labels=dict(label.split("=", 1) for label in options.label),
        fast=options.speed == "fast",
        discovery=options.discovery,
        interfaces=tuple(options.interface),
    )
    Machine(machine, stop=stop).run()
    return 0


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m agent.simulation",
        description="A machine that is only a directory: firmware, disk and the real agent.",
    )
    parser.add_argument("--dir", type=Path, required=True, help="where the machine lives")
    parser.add_argument("--name", required=True)
    parser.add_argument("--registration-url", default="", metavar="URL")
    parser.add_argument("--interface", action="append", default=[], metavar="ADDRESS")
    parser.add_argument("--ca-cert", "--ca-file", type=Path, metavar="FILE")
    parser.add_argument("--seed", type=int, required=True, metavar="N", help="of the emulated TPM")
    parser.add_argument("--speed", choices=("fast", "real"), default="real")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--no-discovery", dest="discovery", action="store_false")
    return parser


if __name__ == "__main__":
    sys.exit(main())
