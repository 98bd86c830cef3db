"""Counts the cases of published test suites: ``pytest -m conformance --conformance-json FILE``.

A test that runs one case of a suite is marked ``@pytest.mark.conformance("relabel")``, or stands in a file called
``test_relabel_conformance.py``; one pytest case is one case of the suite, so suites are parametrised rather than looped
over. The file reads
``{"suites": {"relabel": {"passed": 61, "failed": 0, "skipped": 0}}}``.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROPERTY = "conformance"
OUTCOMES = ("passed", "failed", "skipped")


class ConformanceCounts:
    """A pytest plugin that writes the counts when the run ends.

    Args:
        output: The file to write, or None to only label the cases (as the processes of xdist do).
    """

    def __init__(self, output: Path | None) -> None:
        self._output = output
        self._outcomes: dict[str, tuple[str, str]] = {}

    @pytest.hookimpl(tryfirst=True)  # before ``-m`` chooses
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Write the suite into the properties of each case: they travel with its reports."""
        for item in items:
            named = item.path.stem.removeprefix("test_").partition("_conformance")
            if named[1] and item.get_closest_marker("conformance") is None:
                item.add_marker(pytest.mark.conformance(named[0]))
            mark = item.get_closest_marker("conformance")
            if mark is not None:
                item.user_properties.append((PROPERTY, mark.args[0]))

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the outcome of a case: a failure anywhere, else a skip, else a pass of the test itself."""
        suite = dict(report.user_properties).get(PROPERTY)
        if not isinstance(suite, str):
            return
        # An expected failure is a case that does not pass, whatever pytest calls it.
        outcome = "failed" if hasattr(report, "wasxfail") else report.outcome
        if report.when == "call" or outcome != "passed":
            _, before = self._outcomes.get(report.nodeid, (suite, ""))
            self._outcomes[report.nodeid] = (suite, "failed" if before == "failed" else outcome)

    @pytest.hookimpl
    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        if self._output is None:
            return
        suites = {suite: dict.fromkeys(OUTCOMES, 0) for suite, _ in sorted(self._outcomes.values())}
        for (suite, outcome), count in Counter(self._outcomes.values()).items():
            suites[suite][outcome] = count
        self._output.parent.mkdir(parents=True, exist_ok=True)
        self._output.write_text(json.dumps({"suites": suites}, indent=2) + "\n")
