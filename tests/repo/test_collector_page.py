"""What docs/collector.md and README.md show of commands that need no daemon is what these print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from headrace.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "docs" / "collector.md"]
_ALONE = ("validate", "relabel")


def shown(page: Path) -> Iterator[tuple[str, str]]:
    """Yield each command of a page, with what is shown to come of it."""
    for block in re.findall(r"^```console\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block.replace("\\\n", ""), flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output.rstrip("\n") + "\n"


COMMANDS = [
    pytest.param(command, output, id=f"{page.stem}-{command.split()[1]}-{number}")
    for page in PAGES
    for number, (command, output) in enumerate(shown(page))
    if command.startswith(tuple(f"headrace {name} " for name in _ALONE))
]


@pytest.mark.parametrize(("command", "output"), COMMANDS)
def test_a_command_prints_what_is_shown(command: str, output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a checkout."""
    monkeypatch.chdir(ROOT)
    assert CliRunner().invoke(main, shlex.split(command)[1:]).output == output


def test_there_are_enough() -> None:
    """Both pages show commands that can be tried here."""
    assert len(COMMANDS) >= 4
