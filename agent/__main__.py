"""`skerry-agent`: the command line. Parses, calls `agent.commands`, prints, turns errors into exit codes."""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agent import commands
from agent.errors import EXIT_REBOOT, AgentError
from agent.host import Host
from agent.journal import KILL_AT, Record, kill_at, no_fault
from agent.protocol.errors import ProtocolError

ROOT_VARIABLE = "SKERRY_AGENT_ROOT"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (the table is in `agent.errors`)."""
    options = make_parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.debug else logging.INFO, format="%(message)s", stream=sys.stderr
    )
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        return _perform(options, stop)
    except (AgentError, ProtocolError) as error:
        print(f"error: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code if isinstance(error, AgentError) else 1
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="skerry-agent", description="What runs on a managed host.")
    parser.add_argument("--root", default=os.environ.get(ROOT_VARIABLE, "/"), metavar="DIR")
    parser.add_argument("--config", default="", metavar="FILE", help="instead of /etc/skerry/agent.toml")
    parser.add_argument("--debug", action="store_true")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    register = commands.add_parser("register", help="register with the appliance and wait for approval")
    register.add_argument("--install", action="store_true", help="install once approved")
    _add_register_flags(register)
    _add_register_flags(
        commands.add_parser("install", help="register, install to disk, arrange the first boot")
    )
    commands.add_parser("run", help="settle this boot, then report and apply plans")
    upgrade = commands.add_parser("upgrade", help="write an image into the other slot and arm it")
    upgrade.add_argument("--image", required=True, metavar="HOST:PORT/REPOSITORY@sha256:…")
    upgrade.add_argument("--correlation-id", default="", metavar="ID")
    upgrade.add_argument("--again", action="store_true", help="also an image that failed here before")
    commands.add_parser("rollback", help="go back to the other good system at the next boot")
    commands.add_parser("settle", help="commit the system that runs, or roll it back")
    commands.add_parser("status", help="print what this host would report, as JSON")
    facts = commands.add_parser(
        "facts", help="print what registering would send, with the template variable of each value"
    )
    facts.add_argument("--json", action="store_true", help="as JSON, for `skerry registration render`")
    facts.add_argument("--config-path", default="", metavar="FILE", help="the registration document")
    facts.add_argument("--registration-url", default="", metavar="URL")
    facts.add_argument("--emulate-tpm", action="store_true")
    facts.add_argument("--label", action="append", default=[], metavar="KEY=VALUE[,…]", type=_parse_labels)
    find = commands.add_parser("find", help="print the appliances that announce themselves, as JSON")
    find.add_argument("--seconds", type=float, default=3.0)
    return parser


def _add_register_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config-path", default="", metavar="FILE", help="the registration document")
    parser.add_argument("--registration-url", default="", metavar="URL")
    parser.add_argument(
        "--registration-ca-cert", default="", metavar="FILE", help="a file, or the PEM itself"
    )
    parser.add_argument(
        "--discover", action="store_true", help="without a registration: show a code and wait to be paired"
    )
    parser.add_argument(
        "--interface", action="append", default=[], metavar="ADDRESS", help="announce only this address"
    )
    parser.add_argument("--emulate-tpm", action="store_true")
    parser.add_argument("--emulated-tpm-seed", type=int, default=1, metavar="N")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE[,…]", type=_parse_labels)
    parser.add_argument("--image", default="", metavar="REFERENCE", help="instead of the registration's")
    parser.add_argument("--overwrite", action="store_true", help="destroy what the chosen disk holds")
    parser.add_argument("--retry-seconds", type=float, default=30.0, help="longest wait between attempts")


def _perform(options: argparse.Namespace, stop: threading.Event) -> int:
    host = Host(Path(options.root).absolute())
    wanted = os.environ.get(KILL_AT, "")
    fault = kill_at(wanted) if wanted else no_fault
    machine = commands.open_machine(host, config_path=options.config, stop=stop, fault=fault)
    match options.command:
        case "register" if not options.install:
            connection = commands.join_appliance(machine, _register_options(options))
            _print({"name": connection.name, "namespace": connection.namespace, "url": connection.url})
        case "register" | "install":
            record = commands.install_host(machine, _register_options(options))
            _print_record(record)
            return _reboot(machine)
        case "run":
            if commands.run_host(machine) == "reboot":
                return _reboot(machine)
        case "upgrade":
            upgraded = commands.upgrade_host(
                machine, options.image, correlation_id=options.correlation_id, again=options.again
            )
            if upgraded is None:
                print("this image runs already; nothing to do")
            else:
                _print_record(upgraded)
        case "rollback":
            _print_record(commands.roll_back_host(machine))
        case "settle":
            settled = commands.settle_host(machine)
            if settled.record is not None:
                _print_record(settled.record)
            else:
                print("nothing to settle")
        case "status":
            _print(commands.read_status(machine))
        case "facts":
            from agent.facts.sent import render_sent

            sent = commands.read_sent(machine, _facts_options(options))
            if options.json:
                _print(sent.as_json())
            else:
                print(render_sent(sent))
        case "find":
            from agent.discovery import find_appliances

            _print(find_appliances(seconds=options.seconds))
    return 0


def _facts_options(options: argparse.Namespace) -> commands.RegisterOptions:
    return commands.RegisterOptions(
        config_path=options.config_path,
        url=options.registration_url,
        emulate_tpm=options.emulate_tpm,
        labels={key: value for labels in options.label for key, value in labels.items()},
    )


def _register_options(options: argparse.Namespace) -> commands.RegisterOptions:
    return commands.RegisterOptions(
        config_path=options.config_path,
        url=options.registration_url,
        ca_cert=options.registration_ca_cert,
        emulate_tpm=options.emulate_tpm,
        seed=options.emulated_tpm_seed,
        labels={key: value for labels in options.label for key, value in labels.items()},
        image=options.image,
        overwrite=options.overwrite,
        discover=options.discover,
        interfaces=options.interface,
        first_delay=min(1.0, options.retry_seconds),
        max_delay=options.retry_seconds,
    )


def _reboot(machine: commands.Machine) -> int:
    if not machine.config.reboot:
        return EXIT_REBOOT
    machine.host.reboot(machine.config.reboot)
    return 0


def _parse_labels(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(key and separator for key, separator, _ in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE[,KEY=VALUE…]")
    return {key: value for key, _, value in pairs}


def _print(value: object) -> None:
    print(msgspec.json.format(msgspec.json.encode(value)).decode())


def _print_record(record: Record) -> None:
    name = record.version or record.digest
    print(f"{record.action} to {name} in slot {record.slot}: {record.outcome or record.phase}")
    if record.reason:
        print(f"reason: {record.reason}")


if __name__ == "__main__":
    sys.exit(main())
