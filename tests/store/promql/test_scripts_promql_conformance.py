"""Test scripts of PromQL, Prometheus' own where they are at hand, and ours: each evaluation is a case."""

from __future__ import annotations

from functools import cache

import pytest

from headrace.testing.promql_script import Verdict, run_script
from promql_scripts import OWN, SCRIPTS, case_parameters


@cache
def verdicts(script: str) -> dict[int, Verdict]:
    return {verdict.line: verdict for verdict in run_script((SCRIPTS | OWN)[script].read_text())}


@pytest.mark.conformance("promqltest")
@pytest.mark.skipif(not SCRIPTS, reason="no scripts here")
@pytest.mark.parametrize(("script", "line"), case_parameters())
def test_published(script: str, line: int) -> None:
    """An evaluation comes out as the script says, asked in every form."""
    verdict = verdicts(script)[line]
    assert verdict.outcome == "passed", f"{verdict.query}: {verdict.why}"


@pytest.mark.conformance("promql_own")
@pytest.mark.parametrize(("script", "line"), case_parameters(OWN))
def test_own(script: str, line: int) -> None:
    """So does one of our own scripts."""
    verdict = verdicts(script)[line]
    assert verdict.outcome == "passed", f"{verdict.query}: {verdict.why}"
