"""Runs one command line: finds the command, maps what it raises to an exit code, prints the complaint.

This is the CLI's one broad handler.
"""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from appliance.cli.exits import Complaint, ExitCode, complain
from appliance.cli.output import talk

if TYPE_CHECKING:
    from typer import TyperException


def run(arguments: Sequence[str]) -> int:
    """Run `skerry` with these arguments and return its exit code."""
    if wants_plain():
        # Read by typer when it is imported: no boxes in help and errors.
        os.environ["TYPER_USE_RICH"] = "0"
    from typer import Abort, TyperException

    from appliance.cli.app import command

    try:
        outcome = command().main(list(arguments), prog_name="skerry", standalone_mode=False)
        sys.stdout.flush()
        return outcome if isinstance(outcome, int) else ExitCode.DONE
    except TyperException as error:
        return _usage_error(error, arguments)
    except (KeyboardInterrupt, Abort):
        return _fail(Complaint("Interrupted", "Interrupted."), arguments)
    except BrokenPipeError:
        # The reader has seen enough; give the interpreter somewhere to flush the rest to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except Exception as error:
        complaint = complain(error)
        if complaint is None:
            import traceback

            traceback.print_exc()
            complaint = Complaint(
                "Internal", f"{type(error).__name__}: {error}", "This is a defect; report it."
            )
        return _fail(complaint, arguments)


def wants_plain() -> bool:
    """Boxes and colours only on a terminal that can show them and was not told otherwise."""
    if os.environ.get("FORCE_COLOR"):
        return False
    return bool(
        os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb" or not sys.stdout.isatty()
    )


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether `-o json` was asked for; looked up by hand, since a usage error leaves nothing parsed."""
    pairs = zip(arguments, [*arguments, ""][1:], strict=True)
    return any(
        one in ("-ojson", "--output=json") or (one in ("-o", "--output") and two == "json")
        for one, two in pairs
    )


def _usage_error(error: "TyperException", arguments: Sequence[str]) -> int:
    """What typer says of a command line it cannot parse; its own classes for that are private."""
    if type(error).__name__ == "NoArgsIsHelpError":
        if error.format_message():  # empty when rich has printed the help already
            print(error.format_message())
        return ExitCode.USAGE
    context = getattr(error, "ctx", None)
    hint = f"{context.command_path} --help" if context is not None else "skerry --help"
    return _fail(Complaint("Usage", error.format_message(), hint), arguments)


def _fail(complaint: Complaint, arguments: Sequence[str]) -> int:
    if wants_json(arguments):
        import json

        talk(json.dumps(complaint.as_json()))
    else:
        talk(f"skerry: {complaint.message}" + (f"\n  {complaint.hint}" if complaint.hint else ""))
    return complaint.code
