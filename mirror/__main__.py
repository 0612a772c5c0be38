"""`skerry-mirror`: the registry's own command line. Each command's options and work are in a file of its own.

Exit status 0 when done (after SIGTERM or SIGINT when serving), 1 when it cannot, 2 for wrong usage.
"""

import argparse
import sys
from collections.abc import Sequence

from mirror.errors import MirrorError
from mirror.serve import add_serve_options, serve


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        serve(options)
    except (MirrorError, OSError) as error:
        hint = f"\nhint: {error.hint}" if isinstance(error, MirrorError) and error.hint else ""
        print(f"skerry-mirror cannot serve {options.root}: {error}{hint}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skerry-mirror", description="An OCI registry for where there is no internet."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_serve_options(commands.add_parser("serve", help="serve a folder as an OCI registry"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
