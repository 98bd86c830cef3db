"""The example plugins, installed from their wheels into an environment of their own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import pytest
import yaml

from fresh_environment import PYTEST, FreshEnvironment, build_wheel, run
from running import HEADRACE as HEADRACE_ALONE

EXAMPLES = Path(__file__).parents[2] / "examples"
HEADRACE = "from headrace.cli.main import main; main()"
PACKAGES = sorted(path.parent.name for path in EXAMPLES.glob("*/pyproject.toml"))


@pytest.fixture(scope="module", params=PACKAGES)
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    """Return the package, a folder with its tests and example alone, and a Python that has its wheel.

    What the package needs is there already; nothing is downloaded.
    """
    package = request.param
    away = tmp_path_factory.mktemp(package)
    source = shutil.copytree(EXAMPLES / package, away / "source", ignore=shutil.ignore_patterns("__pycache__"))
    environment = FreshEnvironment(away / "venv")
    environment.install(build_wheel(source, away / "dist"))
    folder = away / "tried"
    shutil.copytree(source / "tests", folder / "tests")
    shutil.copy(source / "example.yaml", folder)
    shutil.rmtree(source)
    return package, folder, environment.python


def test_its_own_tests_pass(installed: tuple[str, Path, Path]) -> None:
    """With the wheel's code: the source is gone."""
    _, folder, python = installed
    out = run(python, *PYTEST, "-c", "/dev/null", "--rootdir", ".", "tests", cwd=folder)
    assert " passed" in out


def test_the_daemon_finds_it(installed: tuple[str, Path, Path]) -> None:
    """By its entry points, and a configuration that names it is valid."""
    package, folder, python = installed
    found = json.loads(run(python, "-c", HEADRACE, "components", "--json", cwd=folder))
    module = package.replace("-", "_")
    assert {one["name"] for one in found if one["module"].startswith(f"{module}.")} == {
        package.removeprefix("headrace-")
    }
    assert "valid" in run(python, "-c", HEADRACE, "validate", "--config", "example.yaml", cwd=folder)


def test_the_example_fits_the_schema(installed: tuple[str, Path, Path]) -> None:
    """That of an installation with the plugin, and not that of one without it."""
    _, folder, python = installed
    example = yaml.safe_load((folder / "example.yaml").read_text())
    ours = json.loads(run(HEADRACE_ALONE, "schema", cwd=folder))
    theirs = json.loads(run(python, "-c", HEADRACE, "schema", cwd=folder))
    assert not jsonschema.Draft202012Validator(ours).is_valid(example)
    jsonschema.Draft202012Validator(theirs).validate(example)


def test_there_are_two() -> None:
    """A package that is not tried would rot."""
    assert PACKAGES == ["headrace-graphite", "headrace-owners"]
