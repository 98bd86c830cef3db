"""``headrace plugin new``: packages whose tests pass and whose example runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from headrace.cli.main import main

ROOT = Path(__file__).parents[2]
KINDS = ("receiver", "processor", "exporter", "extension")


def new(directory: Path, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["plugin", "new", "--directory", str(directory), *arguments])
    return done.exit_code, done.output


@pytest.mark.parametrize("kind", KINDS)
def test_the_tests_of_a_new_package_pass(tmp_path: Path, kind: str) -> None:
    """As they are written, in a process of their own."""
    code, output = new(tmp_path, f"my-{kind}", "--kind", kind)
    assert code == 0, output
    folder = tmp_path / f"my-{kind}"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-p",
        "no:asyncio",
        "-W",
        "error",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_of_a_new_package_is_valid(tmp_path: Path, kind: str) -> None:
    """With the component loaded from its file."""
    new(tmp_path, f"my-{kind}", "--kind", kind)
    folder = tmp_path / f"my-{kind}"
    plugin = str(folder / f"my_{kind}" / "component.py")
    done = CliRunner().invoke(main, ["validate", "--config", str(folder / "example.yaml"), "--plugin", plugin])
    assert done.exit_code == 0, done.output


def test_files_are_named(tmp_path: Path) -> None:
    """Each on a line."""
    _, output = new(tmp_path, "add-team")
    assert [str(Path(line).relative_to(tmp_path)) for line in output.splitlines()] == [
        "add-team/pyproject.toml",
        "add-team/README.md",
        "add-team/example.yaml",
        "add-team/add_team/__init__.py",
        "add-team/add_team/component.py",
        "add-team/tests/test_component.py",
    ]


@pytest.mark.parametrize("name", ["Big", "9", "a b", "-a", "../a", "numpy", "headrace", "a__b"])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    """Nothing is written."""
    code, output = new(tmp_path, "--", name) if name.startswith("-") else new(tmp_path, name)
    assert code == 2, output
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """A folder that is there stays as it is."""
    (tmp_path / "add-team").mkdir()
    code, output = new(tmp_path, "add-team")
    assert (code, "File exists" in output) == (2, True), output
    assert list((tmp_path / "add-team").iterdir()) == []
