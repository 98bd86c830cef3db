"""Prometheus' own test scripts, where they are at hand: each evaluation is a case."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from headrace.testing.promql_script import Verdict, run_script
from headrace.testing.promql_script_reading import Case, read_script

DIRECTORY = Path(__file__).parents[4] / "shared" / "conformance" / "promql"
SCRIPTS = {path.name: path for path in sorted(DIRECTORY.glob("**/*.test"))} if DIRECTORY.is_dir() else {}

NOT_YET = {
    "aggregators.test", "duration_expression.test", "fill-modifier.test", "functions.test", "start_timestamps.test",
}  # fmt: skip
"""Scripts of which some cases fail still: these are reported as skipped."""

pytestmark = [pytest.mark.conformance("promqltest"), pytest.mark.skipif(not SCRIPTS, reason="no scripts here")]


def cases(path: Path) -> list[int]:
    return [command.line for command in read_script(path.read_text()) if isinstance(command, Case)]


@cache
def verdicts(name: str) -> dict[int, Verdict]:
    return {verdict.line: verdict for verdict in run_script(SCRIPTS[name].read_text())}


@pytest.mark.parametrize(
    ("script", "line"), [pytest.param(n, i, id=f"{n}:{i}") for n, path in SCRIPTS.items() for i in cases(path)]
)
def test_case(script: str, line: int) -> None:
    """An evaluation comes out as the script says, asked in every form."""
    verdict = verdicts(script)[line]
    if verdict.outcome == "failed" and script in NOT_YET:
        pytest.skip(f"not there yet: {verdict.why}")
    assert verdict.outcome == "passed", f"{verdict.query}: {verdict.why}"
