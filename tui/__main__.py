"""`python -m tui`: the console on the command line."""

import argparse
import sys
from collections.abc import Sequence

from appliance.api.client import ApplianceError
from appliance.errors import ApplianceFault
from tui.app import run


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 2 when the settings are wrong; an appliance that is away is no reason to stop."""
    parser = argparse.ArgumentParser(
        prog="skerry console",
        description="The console of an appliance; arrows, Enter, Esc and digits suffice.",
    )
    parser.add_argument(
        "--server", help="unix:PATH or https://HOST:PORT; else SKERRY_SERVER, the configuration"
    )
    parser.add_argument(
        "--basic", action="store_true", help="ASCII and monochrome; the default on dumb and serial terminals"
    )
    options = parser.parse_args(arguments)
    if not (sys.stdin.isatty() and sys.__stderr__ is not None and sys.__stderr__.isatty()):
        # Textual paints on stderr, so that is what has to be a terminal.
        print(
            "The console needs a terminal. For scripts there is: skerry hosts list -o json", file=sys.stderr
        )
        return 2
    try:
        run(options.server, basic=options.basic)
    except (ApplianceError, ApplianceFault) as error:
        print(f"{error} {error.hint}".strip(), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
