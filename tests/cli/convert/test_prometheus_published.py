"""``headrace convert prometheus`` on the files of Prometheus' own tests: it takes what Prometheus takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from headrace.cli.main import main
from headrace.cli.registry import ComponentRegistry
from headrace.pipeline.config.load import load_files
from headrace.pipeline.config.substitution import Substitution

PUBLISHED = Path(__file__).parents[3].parent / "shared" / "conformance" / "config"
FILES = sorted(path.name for path in PUBLISHED.glob("*.y*ml"))

# Their names do not say that Prometheus refuses them, and it does.
ALSO_BAD = {
    "config_with_deprecated_am_api_config.yml": "alerting.alertmanagers[0].api_version: must be 'v2', got 'v1'",
    "otlp_allow_utf8.incompatible.yml": "otlp.translation_strategy: NoUTF8EscapingWithSuffixes needs names in UTF-8",
    "otlp_no_translation.incompatible.yml": "otlp.translation_strategy: NoTranslation needs names in UTF-8",
}


def is_bad(name: str) -> bool:
    return ".bad." in name or name in ALSO_BAD


@pytest.mark.conformance("convert")
@pytest.mark.parametrize("name", [name for name in FILES if not is_bad(name)])
def test_what_prometheus_takes_is_converted(name: str) -> None:
    """Into a configuration that loads; the list of what is missing is told and stands above it."""
    result = CliRunner().invoke(main, ["convert", "prometheus", str(PUBLISHED / name)], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    loaded = load_files([f"yaml:{result.stdout}"], ComponentRegistry(), substitution=Substitution({}))
    assert loaded.pipelines
    comments = [line.removeprefix("# ") for line in result.stdout.splitlines() if line.startswith("# ")]
    assert comments == result.stderr.splitlines()


@pytest.mark.conformance("convert")
@pytest.mark.parametrize("name", [name for name in FILES if is_bad(name)])
def test_what_prometheus_refuses_is_refused(name: str) -> None:
    """With the place of each mistake, and no configuration."""
    result = CliRunner().invoke(main, ["convert", "prometheus", str(PUBLISHED / name)], catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (2, "")
    faults = [line for line in result.stderr.splitlines() if not line.startswith("not carried over: ")]
    assert faults
    assert all(line.startswith(f"{PUBLISHED}/") for line in faults), faults
    assert ALSO_BAD.get(name, "") in result.stderr
