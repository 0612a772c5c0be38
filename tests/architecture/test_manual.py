"""The manual pages say what the programs say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.cli.app import command
from appliance.cli.manual import render_manual

MANUAL = Path(__file__).parents[2] / "docs" / "man"


def test_skerrys_page_is_what_the_commands_say_today() -> None:
    assert (MANUAL / "skerry.1").read_text() == render_manual(command()), "run: just man"


@pytest.mark.parametrize(
    ("page", "arguments"),
    [("skerry-agent.8", ["agent", "--help"]), ("skerry-mirror.8", ["mirror", "serve", "--help"])],
)
def test_a_page_names_every_option_and_command_of_its_program(page: str, arguments: list[str]) -> None:
    text = (MANUAL / page).read_text().replace("\\-", "-")

    said = subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, check=True
    ).stdout

    options = set(re.findall(r"--[a-z-]+", said)) - {"--help"}
    commands = set(re.findall(r"^    ([a-z]+) {2,}", said, flags=re.MULTILINE))
    assert [word for word in sorted(options | commands) if word not in text] == []
