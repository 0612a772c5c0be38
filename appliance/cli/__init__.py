"""`skerry`: the scripted face of the appliance. `app` lists the commands; each file below is one noun.

Nothing here imports the console, the server or a heavy library at module scope: a script calls this a
hundred times.
"""


def main() -> None:
    """The entry point of the distribution."""
    import sys

    from appliance.cli.run import run

    sys.exit(run(sys.argv[1:]))
