"""Every block of docs/plugins.md runs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from headrace.cli.registry import ComponentRegistry
from headrace.pipeline.errors import ConfigError
from running import HEADRACE, free_port, wait_until

if TYPE_CHECKING:
    from running import Programs

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
BLOCKS = dict(re.findall(r"```\w+\n# ([\w.]+)\n(.*?)```", PAGE.read_text(), re.DOTALL))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in BLOCKS.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_no_block_is_without_a_name() -> None:
    """Each block is a file, so that this test sees it."""
    assert len(BLOCKS) == PAGE.read_text().count("```") // 2
    assert sum(map(bool, BLOCKS["add_team.py"].splitlines())) < 10


def test_the_page_s_own_tests_pass(folder: Path) -> None:
    """Those of the section about testing, by pytest."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            folder,
            folder / "test_add_team.py",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_entry_points_name_our_groups() -> None:
    """The groups are those that the registry reads."""
    (group,) = tomllib.loads(BLOCKS["pyproject.toml"])["project"]["entry-points"]
    assert group == "headrace.processors"


def test_a_processor_from_a_file(programs: Programs, folder: Path) -> None:
    """`--plugin` brings it into the daemon that the page describes, and it changes what passes."""
    reader = f"[{{pull: {{exporter: {{prometheus: {{port: {free_port()}}}}}}}}}]"
    command: list[str | Path] = [HEADRACE, "run", "--config", "add_team.yaml", "--plugin", "add_team.py"]
    command += ["--set", f"service.telemetry.metrics.readers={reader}"]
    daemon = programs.start("headrace", command, cwd=folder)
    daemon.wait_log('system.cpu.load_average.15m{team="lake"}', 60)
    assert daemon.stop() == 0


def test_receiver_processors_and_exporter_together(programs: Programs, folder: Path) -> None:
    """Points go from the dice through both processors into the file, changed on their way."""
    text = BLOCKS["add_team.py"].replace('"load" in', '"dice" in')
    (folder / "add_team.py").write_text(text)
    port = free_port()
    (folder / "all.yaml").write_text(
        "receivers: {dice: {interval: 50ms}}\n"
        "processors: {add_team: , no_future: }\n"
        "exporters: {append_file: {path: out/rows.txt}}\n"
        "service:\n"
        "  pipelines: {metrics: {receivers: [dice], processors: [add_team, no_future], exporters: [append_file]}}\n"
        f"  telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{port: {port}}}}}}}}}]}}}}\n"
    )
    command: list[str | Path] = [HEADRACE, "run", "--config", "all.yaml"]
    for name in ("add_team", "no_future", "dice", "append_file"):
        command += ["--plugin", f"{name}.py"]
    daemon = programs.start("headrace", command, cwd=folder)
    out = folder / "out" / "rows.txt"
    daemon.wait_until(lambda: out.exists() and len(out.read_text().splitlines()) >= 3, "three rows")
    lines = out.read_text().splitlines()
    assert all(re.fullmatch(r'dice\{job="table", team="lake"\} [1-6]\.0', line) for line in lines[:3]), lines[:3]
    with urllib.request.urlopen(f"http://localhost:{port}/metrics", timeout=10) as answer:
        assert 'otelcol_receiver_accepted_metric_points_total{receiver="dice"' in answer.read().decode()
    wait_until(lambda: daemon.process.poll() is None, "still running")
    assert daemon.stop() == 0


def test_a_kind_of_discovery_from_a_package(programs: Programs, folder: Path) -> None:
    """What a package's metadata names finds targets for the job that the page shows."""
    metadata = folder / "rack-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: rack\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[headrace.discoveries]\nrack = rack_discovery:FACTORY\n")
    reader = f"[{{pull: {{exporter: {{prometheus: {{port: {free_port()}}}}}}}}}]"
    command: list[str | Path] = [HEADRACE, "run", "--config", "rack.yaml"]
    command += ["--set", f"service.telemetry.metrics.readers={reader}"]
    daemon = programs.start("headrace", command, cwd=folder, env={"PYTHONPATH": str(folder)})
    daemon.wait_log('up{instance="127.0.0.1:9100", job="racks", rack_size="1"}', 120)
    assert daemon.stop() == 0


def test_a_kind_of_discovery_is_no_plugin_file(folder: Path) -> None:
    """It is said how it is offered."""
    with pytest.raises(ConfigError, match=r"entry point in the group headrace\.discoveries"):
        ComponentRegistry([str(folder / "rack_discovery.py")])


def test_every_block_of_python_loads(folder: Path) -> None:
    """And defines a factory."""
    other = ("test_add_team.py", "rack_discovery.py")
    files = [str(folder / name) for name in BLOCKS if name.endswith(".py") and name not in other]
    registry = ComponentRegistry(files)
    assert registry.find("receivers", "dice")
    assert registry.find("exporters", "append_file")
    assert registry.find("processors", "no_future")
