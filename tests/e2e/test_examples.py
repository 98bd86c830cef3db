"""The example plugins, installed from their wheels into an environment of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
HEADRACE = "from headrace.cli.main import main; main()"
PACKAGES = sorted(path.parent.name for path in EXAMPLES.glob("*/pyproject.toml"))


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=PACKAGES)
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    """Return the package, a folder with its tests and example alone, and a Python that has its wheel.

    What the package needs is there already; nothing is downloaded.
    """
    package = request.param
    away = tmp_path_factory.mktemp(package)
    source = shutil.copytree(EXAMPLES / package, away / "source", ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", away / "dist", cwd=source)
    run(sys.executable, "-m", "venv", "--without-pip", away / "venv", cwd=away)
    python = away / "venv" / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    beside = sysconfig.get_path("purelib")
    (away / "venv" / "lib" / version / "site-packages" / "beside.pth").write_text(
        f"import site; site.addsitedir({beside!r})\n"
    )
    (wheel,) = (away / "dist").glob("*.whl")
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", "-q")
    run(*pip, wheel, cwd=away)
    folder = away / "tried"
    shutil.copytree(source / "tests", folder / "tests")
    shutil.copy(source / "example.yaml", folder)
    shutil.rmtree(source)
    return package, folder, python


def test_its_own_tests_pass(installed: tuple[str, Path, Path]) -> None:
    """With the wheel's code: the source is gone."""
    _, folder, python = installed
    options = (
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-p",
        "no:asyncio",
        "-W",
        "error",
        "-c",
        "/dev/null",
        "--rootdir",
        ".",
    )
    out = run(python, "-m", "pytest", *options, "tests", cwd=folder)
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


def test_there_are_two() -> None:
    """A package that is not tried would rot."""
    assert PACKAGES == ["headrace-graphite", "headrace-owners"]
