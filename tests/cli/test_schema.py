"""The JSON Schema of configurations: what is right fits it, what is plainly wrong does not, and all is explained."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

import parity
from headrace.cli.main import main
from headrace.cli.registry import ComponentRegistry
from headrace.pipeline.config.source import read

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(
    path
    for path in [*(ROOT / "configs").rglob("*.yaml"), *(ROOT / "deploy").glob("*.yaml")]
    if path.parent.name != "bad"
)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SECTIONS = {"receivers", "processors", "exporters", "connectors", "extensions", "service"}
SERVICE = {"pipelines": {"metrics": {"receivers": ["otlp"], "exporters": ["nop"]}}}
_BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    result = CliRunner().invoke(main, ["schema"], catch_exceptions=False)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module")
def validator(schema: dict[str, Any]) -> Any:
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def faults(validator: Any, document: Any) -> list[str]:
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(document)]


@pytest.mark.parametrize("path", CONFIGS, ids=[str(path.relative_to(ROOT)) for path in CONFIGS])
def test_every_example_fits(validator: Any, path: Path) -> None:
    """As it is written, references and all; some of the Collector's are there to be refused."""
    found = faults(validator, read(path.read_text(), str(path)).value)
    assert found == [] or (path.parent.name == "collector" and not loads(path))


def loads(path: Path) -> bool:
    result = CliRunner().invoke(main, ["validate", "--config", str(path)])
    return result.exit_code == 0


def blocks() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield place and content of the blocks of YAML in our pages that are configurations, or parts of one."""
    for page in PAGES:
        text = page.read_text()
        for block in _BLOCK.finditer(text):
            document = read(block[1], str(page)).value
            # Types of components that are written on the page itself are known to nobody else.
            if isinstance(document, dict) and set(document) <= SECTIONS and page.name != "plugins.md":
                line = text.count("\n", 0, block.start()) + 1
                yield f"{page.relative_to(ROOT)}-{line}", document


@pytest.mark.parametrize("document", [pytest.param(found, id=place) for place, found in blocks()])
def test_every_configuration_in_the_pages_fits(schema: dict[str, Any], document: dict[str, Any]) -> None:
    """A part of one too, such as a processor alone."""
    parts = {name: value for name, value in schema.items() if name != "required"}
    service = {name: value for name, value in schema["properties"]["service"].items() if name != "required"}
    parts["properties"] = {**schema["properties"], "service": service}
    assert faults(jsonschema.Draft202012Validator(parts), document) == []


@pytest.mark.parametrize(
    "name", ["unknown-setting", "unknown-section", "unknown-type", "not-a-choice", "no-service", "wrong-type"]
)
def test_what_is_plainly_wrong_does_not_fit(validator: Any, name: str) -> None:
    """So that an editor underlines it."""
    document = read((ROOT / "configs" / "bad" / f"{name}.yaml").read_text(), name).value
    assert faults(validator, document) != []


def test_types_are_known_by_all_their_names(validator: Any) -> None:
    """Old spellings, names behind a slash, and a body that is left out."""
    document = {
        "receivers": {"otlp": None, "otlp/second": {}},
        "exporters": {"otlphttp": {"endpoint": "http://localhost:4318"}, "debug": None},
        "service": {"pipelines": {"metrics": {"receivers": ["otlp"], "exporters": ["debug"]}}},
    }
    assert faults(validator, document) == []
    document["receivers"] = {"otlpx": None}
    assert faults(validator, document) != []


def test_every_setting_is_explained(schema: dict[str, Any]) -> None:
    """By the text under it in the code."""
    bodies = [
        one["anyOf"][0] for kind in schema["properties"].values() for one in kind.get("patternProperties", {}).values()
    ]
    models = [*schema["$defs"].values(), *bodies, schema["properties"]["service"]]
    settings = [(model["title"], name, one) for model in models for name, one in model.get("properties", {}).items()]
    assert len(settings) > 400
    assert [f"{title}.{name}" for title, name, one in settings if not explained(schema, one)] == []


def explained(schema: dict[str, Any], setting: dict[str, Any]) -> bool:
    """Return whether a setting has a text of its own, or that of the part it stands for."""
    part = schema["$defs"].get(setting.get("$ref", "").removeprefix("#/$defs/"), {})
    return bool(setting.get("description") or part.get("description"))


def test_every_supported_option_fits(validator: Any) -> None:
    """All those of the list that the page about parity is made of, in a configuration that loads."""
    listed = yaml.safe_load(parity.OPTIONS.read_text())
    registry = ComponentRegistry()
    wrong, asked = [], 0
    for name, spec in listed["components"].items():
        section, _, type_ = name.partition("/")
        for option in parity.options(spec, listed["blocks"], spec.get("base") or {}):
            if parity.ask(registry, section, type_, option, {}).verdict == "supported":
                asked += 1
                part = {section: {type_: option.settings}, "service": SERVICE}
                wrong += [f"{name}: {option.name}: {fault}" for fault in faults(validator, part)]
    assert asked > 500
    assert wrong == []
