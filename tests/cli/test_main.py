"""The commands, in this process; `tests/cli/test_daemon.py` starts the program itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from headrace.cli.main import main

ROOT = Path(__file__).parents[2]

CONFIG = """
receivers:
  hostmetrics:
    scrapers: {cpu: }
exporters:
  debug:
  nop/unused:
extensions:
  bearer_token_auth:
    token: ${env:TEST_TOKEN:-s3cret}
service:
  extensions: [bearer_token_auth]
  pipelines:
    metrics:
      receivers: [hostmetrics]
      exporters: [debug]
"""

PLUGIN = """
from headrace.pipeline.component import ProcessorFactory
from headrace.pipeline.config import ComponentConfig

class Config(ComponentConfig):
    team: str

class AddTeam:
    def __init__(self, settings, config):
        self._team = config.team

    def admit(self, series):
        return series.set(team=self._team)

FACTORY = ProcessorFactory(name="add_team", config=Config, create=AddTeam)
"""


def invoke(*args: str) -> Result:
    return CliRunner().invoke(main, list(args))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_configurations_are_valid(file: Path) -> None:
    """Without a warning."""
    result = invoke("validate", "--config", str(file))
    assert result.output == "configuration is valid\n"
    assert result.exit_code == 0


def test_unused_components_are_told(config: Path) -> None:
    """A component that no pipeline names is probably a slip."""
    result = invoke("validate", "--config", str(config))
    assert result.exit_code == 0
    assert f"warning: {config}:7:3: exporters::nop/unused is configured but not used" in result.output


def test_print_config_shows_no_secret(config: Path) -> None:
    """Defaults are filled in; secrets are not shown."""
    result = invoke("print-config", "--config", str(config), "--set", "exporters.debug.verbosity=detailed")
    assert "s3cret" not in result.output
    printed = yaml.safe_load(result.stdout)
    assert printed["exporters"]["debug"]["verbosity"] == "detailed"
    assert printed["extensions"]["bearer_token_auth"]["token"] == "[REDACTED]"
    assert printed["receivers"]["hostmetrics"]["collection_interval"] == "1m"


def test_files_are_laid_over_each_other(config: Path, tmp_path: Path) -> None:
    """Mappings merge, lists are replaced, the last word counts."""
    over = tmp_path / "over.yaml"
    over.write_text(
        "receivers: {hostmetrics: {collection_interval: 7s}}\n"
        "service: {pipelines: {metrics: {exporters: [nop/unused]}}}\n"
    )
    result = invoke("print-config", "--config", str(config), "--config", str(over))
    printed = yaml.safe_load(result.stdout)
    assert printed["receivers"]["hostmetrics"]["collection_interval"] == "7s"
    assert list(printed["receivers"]["hostmetrics"]["scrapers"]) == ["cpu"]
    assert printed["service"]["pipelines"]["metrics"]["exporters"] == ["nop/unused"]


def test_components(tmp_path: Path) -> None:
    """Our own, and those of plugin files."""
    plugin = tmp_path / "add_team.py"
    plugin.write_text(PLUGIN)
    listed = json.loads(invoke("components", "--json", "--plugin", str(plugin)).stdout)
    names = {(one["kind"], one["name"]) for one in listed}
    assert {("receivers", "hostmetrics"), ("exporters", "store"), ("processors", "add_team")} <= names
    assert "hostmetrics" in invoke("components").stdout


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "defines no factory"), ("import nothing_like_this", "does not load: ModuleNotFoundError")],
)
def test_bad_plugins(config: Path, tmp_path: Path, text: str, why: str) -> None:
    """The message names the file and what is wrong."""
    plugin = tmp_path / "bad.py"
    plugin.write_text(text)
    result = invoke("validate", "--config", str(config), "--plugin", str(plugin))
    assert result.exit_code == 2
    assert f"--plugin {plugin}: {why}" in result.output


def test_schema_describes_every_type() -> None:
    """It is JSON, and knows the settings of components."""
    document = json.loads(invoke("schema").stdout)
    sections = document["properties"]["exporters"]["patternProperties"]
    store = next(body for pattern, body in sections.items() if pattern.startswith("^(store"))
    assert "retention" in store["anyOf"][0]["properties"]


def test_set_needs_a_value(config: Path) -> None:
    """A setting without an equals sign is a mistake."""
    result = invoke("validate", "--config", str(config), "--set", "exporters.debug")
    assert "--set exporters.debug: must be key=value" in result.output
    assert result.exit_code == 2


def test_help_names_every_command() -> None:
    """None is forgotten."""
    text = invoke("--help").stdout
    for command in ("run", "serve", "validate", "components", "print-config", "schema", "warmup"):
        assert f"\n  {command} " in text
