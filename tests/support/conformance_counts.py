"""Counts the cases of published test suites: ``pytest -m conformance --conformance-json FILE``.

A test that runs one case of a suite is marked ``@pytest.mark.conformance("relabel")``, or stands in a file called
``test_relabel_conformance.py``; one pytest case is one case of the suite, so suites are parametrised rather than
looped over. A case whose id is ``functions.test:12`` belongs to the file ``functions.test`` of its suite. A case that
is judged by something else than the published expectation says so with
``record_property("judged", "functions.test:12: why")``.

The file reads ``{"suites": {"relabel": {"passed": 61, "failed": 0, "skipped": 0}}, "files": {…}, "judged": {…}}``; the
same is printed as a table.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PROPERTY = "conformance"
JUDGED = "judged"
_CASE = re.compile(r"\[([\w.-]+\.\w+):\d+\]$")
OUTCOMES = ("passed", "failed", "skipped")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case."""

    suite: str
    file: str
    outcome: str


class ConformanceCounts:
    """A pytest plugin that writes the counts when the run ends.

    Args:
        output: The file to write, or None to only label the cases (as the processes of xdist do).
    """

    def __init__(self, output: Path | None) -> None:
        self._output = output
        self._outcomes: dict[str, Outcome] = {}
        self._judged: dict[str, set[str]] = {}

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
            before = self._outcomes.get(report.nodeid)
            failed = before is not None and before.outcome == "failed"
            self._outcomes[report.nodeid] = Outcome(suite, _file(report.nodeid), "failed" if failed else outcome)
        for name, value in report.user_properties:
            if name == JUDGED:
                self._judged.setdefault(suite, set()).add(str(value))

    @pytest.hookimpl
    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        if self._output is None:
            return
        outcomes = self._outcomes.values()
        suites = sorted({one.suite for one in outcomes})
        content = {
            "suites": {suite: _counts(one for one in outcomes if one.suite == suite) for suite in suites},
            "files": {suite: _by_file(one for one in outcomes if one.suite == suite) for suite in suites},
            "judged": {suite: sorted(self._judged[suite]) for suite in sorted(self._judged)},
        }
        self._output.parent.mkdir(parents=True, exist_ok=True)
        self._output.write_text(json.dumps(content, indent=2) + "\n")

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table."""
        if self._output is None or not self._output.exists():
            return
        content = json.loads(self._output.read_text())
        terminalreporter.section("conformance")
        terminalreporter.write_line(f"{'':44}" + "".join(f"{name:>9}" for name in OUTCOMES))
        for suite, counts in content["suites"].items():
            terminalreporter.write_line(_row(suite, counts))
            for file, of_file in content["files"][suite].items():
                terminalreporter.write_line(_row(f"  {file}", of_file))
            for why in content["judged"].get(suite, []):
                terminalreporter.write_line(f"  {why}")


def _file(nodeid: str) -> str:
    """Return the file of a suite that a case belongs to, empty where its id names none."""
    found = _CASE.search(nodeid)
    return found[1] if found else ""


def _counts(outcomes: Iterable[Outcome]) -> dict[str, int]:
    found = Counter(one.outcome for one in outcomes)
    return {name: found[name] for name in OUTCOMES}


def _by_file(outcomes: Iterable[Outcome]) -> dict[str, dict[str, int]]:
    every = list(outcomes)
    files = sorted({one.file for one in every} - {""})
    return {file: _counts(one for one in every if one.file == file) for file in files}


def _row(name: str, counts: dict[str, int]) -> str:
    return f"{name:44}" + "".join(f"{counts[outcome]:9}" for outcome in OUTCOMES)
