"""Every file of configs/bad gives exactly the message that lies beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from headrace.cli.main import main

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "configs" / "bad").glob("*.yaml"))


def test_there_are_enough() -> None:
    """The collection is not empty by accident."""
    assert len(FILES) >= 20


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_message(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 2, and all mistakes with their places."""
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(main, ["validate", "--config", str(file.relative_to(ROOT))])
    assert result.output == file.with_suffix(".txt").read_text()
    assert result.exit_code == 2
