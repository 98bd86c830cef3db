"""A plugin from its first command to the running daemon, with Headrace from its wheel and not from the checkout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fresh_environment import PYTEST, FreshEnvironment, build_wheel, run
from running import free_port

if TYPE_CHECKING:
    from running import Programs

ROOT = Path(__file__).parents[2]
KINDS = ("receiver", "processor", "exporter", "extension")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> FreshEnvironment:
    """An environment with the wheel of Headrace."""
    away = tmp_path_factory.mktemp("newcomer")
    made = FreshEnvironment(away / "venv")
    made.install(build_wheel(ROOT, away / "dist"))
    found = run(made.python, "-c", "import headrace; print(headrace.__file__)", cwd=away)
    assert Path(found.strip()).is_relative_to(made.packages)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_runs(environment: FreshEnvironment, programs: Programs, tmp_path: Path, kind: str) -> None:
    """Made, tested, installed and found by its entry point, the daemon starts with its example."""
    headrace, name = environment.program("headrace"), f"their-{kind}"
    run(headrace, "plugin", "new", name, "--kind", kind, cwd=tmp_path)
    folder = tmp_path / name
    assert " passed" in run(environment.python, *PYTEST, cwd=folder)
    environment.install(build_wheel(folder, tmp_path / "dist"))
    found = json.loads(run(headrace, "components", "--json", cwd=tmp_path))
    assert f"their_{kind}.component" in {one["module"] for one in found}
    reader = f"[{{pull: {{exporter: {{prometheus: {{port: {free_port()}}}}}}}}}]"
    example: list[str | Path] = ["--config", "example.yaml", "--set", f"service.telemetry.metrics.readers={reader}"]
    daemon = programs.start("headrace", [headrace, "run", *example], cwd=folder)
    daemon.wait_log("headrace: ready in", 120)
    assert daemon.stop() == 0


def test_what_its_page_says_to_install_is_named(environment: FreshEnvironment, tmp_path: Path) -> None:
    """By an extra, which pip of any age knows: groups of dependencies came with pip 25.1."""
    run(environment.program("headrace"), "plugin", "new", "their-extra", cwd=tmp_path)
    folder = tmp_path / "their-extra"
    assert "pip install -e '.[dev]'" in (folder / "README.md").read_text()
    environment.install(build_wheel(folder, tmp_path / "dist"))
    script = "from importlib.metadata import metadata; print(metadata('their-extra').get_all('Provides-Extra'))"
    assert run(environment.python, "-c", script, cwd=tmp_path) == "['dev']\n"
