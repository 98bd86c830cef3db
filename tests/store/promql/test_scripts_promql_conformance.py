"""Prometheus' own test scripts, where they are at hand; what is not there yet is named here and nowhere hidden."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.store.promql.evaluate import EvaluatorOptions
from headrace.store.promql.parser import ParserOptions
from headrace.testing.promql_script import run_script

DIRECTORY = Path(__file__).parents[4] / "shared" / "conformance" / "promql"
SCRIPTS = sorted(DIRECTORY.glob("**/*.test")) if DIRECTORY.is_dir() else []

LATER_FILES = {
    "fill-modifier.test": "fill modifiers",
    "limit.test": "native histograms",
    "native_histograms_part1.test": "native histograms",
    "start_timestamps.test": "start timestamps",
    "type_and_unit.test": "type and unit labels",
}
# Prometheus 3.14's own: delayed removal of names.
LATER_CASES = {("functions.test", 1649)}

pytestmark = [pytest.mark.conformance("promql"), pytest.mark.skipif(not SCRIPTS, reason="no conformance scripts here")]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script(script: Path) -> None:
    """Every evaluation of floats comes out as the script says."""
    if script.name in LATER_FILES:
        pytest.skip(f"not there yet: {LATER_FILES[script.name]}")
    options = EvaluatorOptions(parser=ParserOptions(experimental_functions=True, duration_expressions=True))
    verdicts = list(run_script(script.read_text(), options))
    assert verdicts
    failed = [
        f"{script.name}:{v.line}: {v.query}: {v.why}"
        for v in verdicts
        if v.outcome == "failed" and (script.name, v.line) not in LATER_CASES
    ]
    assert not failed, "\n".join(failed)
