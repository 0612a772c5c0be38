"""The manual page skerry(1), rendered from the commands' own help, so that the two cannot differ.

`python -m appliance.cli.manual docs/man` writes it again. The pages of skerry-agent and skerry-mirror are
written by hand; tests hold them to those programs' options.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from typer.core import TyperGroup

from appliance.cli.app import command
from appliance.cli.topics import TOPICS


def render_manual(root: TyperGroup) -> str:
    """Return the page as roff, man(7)."""
    return "\n".join(_lines(root)) + "\n"


def _lines(root: TyperGroup) -> Iterator[str]:
    yield '.TH SKERRY 1 "" "Skerry" "Skerry manual"'
    yield ".SH NAME"
    yield "skerry \\- an offline control plane in a box"
    yield ".SH SYNOPSIS"
    yield ".B skerry"
    yield "[\\-\\-server ADDRESS] COMMAND ..."
    yield ".SH DESCRIPTION"
    yield _escape((root.help or "").strip())
    yield ".SH COMMANDS"
    yield from _commands(root, "skerry")
    for name, (_, text) in TOPICS.items():
        yield f".SH {_escape(name.upper())}"
        yield ".nf"
        yield from (_escape(line) for line in text().strip().splitlines())
        yield ".fi"
    yield ".SH SEE ALSO"
    yield ".BR skerry-agent (8),"
    yield ".BR skerry-mirror (8)"


def _commands(group: TyperGroup, path: str) -> Iterator[str]:
    for name, one in sorted(group.commands.items()):
        full = f"{path} {name}"
        if isinstance(one, TyperGroup):
            yield from _commands(one, full)
            if not one.invoke_without_command:
                continue
        arguments = [each for each in one.params if each.param_type_name == "argument"]
        options = [each for each in one.params if each.param_type_name == "option"]
        context = one.make_context(full, [], resilient_parsing=True)
        words = " ".join(each.make_metavar(context) for each in arguments)
        yield f".SS {_escape(f'{full} {words}'.strip())}"
        yield _escape(" ".join((one.help or "").split()))
        for option in options:
            yield ".TP"
            yield f".B {_escape(', '.join(option.opts + option.secondary_opts))}"
            yield _escape(getattr(option, "help", None) or "")


def _escape(text: str) -> str:
    """Roff reads a leading dot or quote as a request, and a bare hyphen as a soft one."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + escaped if escaped.startswith((".", "'")) else escaped


def main() -> None:
    """Write the page into the folder that the command line names."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "skerry.1").write_text(render_manual(command()))


if __name__ == "__main__":
    main()
