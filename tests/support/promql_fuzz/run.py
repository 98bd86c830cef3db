"""Run cases by data sets, in several processes, and report what was found."""

from __future__ import annotations

import random
import re
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import peer_programs
from promql_fuzz import cases, data, otherwise
from promql_fuzz.layouts import alike
from promql_fuzz.pair import Answers, Pair
from promql_fuzz.reasons import REASONS
from promql_fuzz.script import written
from promql_fuzz.shrink import smallest, smallest_data
from running import Programs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prometheus_oracle import Series
    from promql_fuzz.cases import Query

SHRUNK = 8
"""So many differences of different looks are made smaller by a process; the others are told as they are."""

SHRINKING_S = 20.0
"""So long the series of a difference are made fewer."""

TOLD = 20
"""So many differences of a data set are told as they are."""

_KNOWN: set[str] = set()
"""Looks of the differences that this process has told."""

_SPECIFIC = re.compile(r"\d+|\b(c_total|g|small|limit|one|lat_bucket|h|hg|hc|mix)\b")


@dataclass(frozen=True, slots=True)
class Job:
    """A data set with its cases.

    Attributes:
        seed: Of the run.
        number: Of the data set; odd ones are asked with names removed at the end of a query.
        cases: How many.
    """

    seed: int
    number: int
    cases: int

    @property
    def delayed(self) -> bool:
        """Whether metric names are removed at the end of a query."""
        return self.number % 2 == 1

    @property
    def alike(self) -> bool:
        """Whether histograms that may share a chunk have the same buckets, so that samples are counted alike."""
        return self.number // 2 % 2 == 1

    @property
    def name(self) -> str:
        """What all that is random begins with."""
        return f"{self.seed}:{self.number}"


@dataclass(slots=True)
class Report:
    """What came of some cases.

    Attributes:
        cases: How many were asked.
        answers: How many had points.
        refused: How many both sides refused.
        drift: How many differ for a known reason, by reason.
        differences: The others by kind.
        found: Some of these, for a person.
        seconds: Time that it took.
    """

    cases: int = 0
    answers: int = 0
    refused: int = 0
    drift: Counter[str] = field(default_factory=Counter)
    differences: Counter[str] = field(default_factory=Counter)
    found: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: Report) -> None:
        """Take another report in."""
        self.cases += other.cases
        self.answers += other.answers
        self.refused += other.refused
        self.drift += other.drift
        self.differences += other.differences
        self.found += other.found
        self.seconds += other.seconds


def run(job: Job) -> Report:
    """Ask the cases of a data set."""
    binaries = peer_programs.directory()
    series = data.make(random.Random(job.name))
    if job.alike:
        series = [replace(one, points=alike(one.points)) for one in series]
    report = Report()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="headrace-fuzz-") as folder, Programs(Path(folder)) as programs:
        hunt = _Hunt(job, programs, binaries, Path(folder))
        pair = hunt.pair(series)
        for i in range(job.cases):
            query = cases.make(f"{job.name}:{i}")
            hunt.judge(pair, query, i, report)
        pair.close()
    report.seconds = time.monotonic() - began
    return report


class _Hunt:
    """Looks at the answers of a data set's cases."""

    def __init__(self, job: Job, programs: Programs, binaries: Path, folder: Path) -> None:
        self._job = job
        self._programs = programs
        self._binaries = binaries
        self._folder = folder
        self._pairs = 0

    def pair(self, series: Sequence[Series]) -> Pair:
        self._pairs += 1
        folder = self._folder / f"pair-{self._pairs}"
        return Pair(self._programs, self._binaries, folder, series, delayed=self._job.delayed, alike=self._job.alike)

    def judge(self, pair: Pair, query: Query, i: int, report: Report) -> None:
        answers = pair.ask(query)
        report.cases += 1
        report.answers += not answers.empty
        report.refused += answers.theirs["status"] == "error" == answers.ours["status"]
        if answers.difference is None:
            return
        reason = otherwise.reason(pair, answers)
        if reason in REASONS:
            report.drift[reason] += 1
            return
        report.differences[answers.difference.kind] += 1
        try:
            self._tell(pair, answers, i, report)
        except Exception:  # noqa: BLE001 -- whatever goes wrong about one difference, the others are still to be found
            report.found.append(self._told(answers, i, traceback.format_exc()))

    def _tell(self, pair: Pair, answers: Answers, i: int, report: Report) -> None:
        if len(_KNOWN) < SHRUNK:
            self._shrink(pair, answers, i, report)
        elif len(report.found) < TOLD:
            report.found.append(self._told(answers, i, ""))

    def _told(self, answers: Answers, i: int, script: str) -> dict[str, Any]:
        """Return what there is to say about a difference."""
        assert answers.difference is not None
        return {
            "case": f"{self._job.name}:{i}",
            "delayed": self._job.delayed,
            "kind": answers.difference.kind,
            "query": answers.query.text,
            "times_ms": answers.query.times_ms,
            "detail": answers.difference.detail,
            "script": script,
        }

    def _shrink(self, pair: Pair, found: Answers, i: int, report: Report) -> None:
        assert found.difference is not None
        kind = found.difference.kind
        small = smallest(found.query, _still(pair, kind))
        signature = _SPECIFIC.sub("#", small.text)
        if signature in _KNOWN:
            return
        _KNOWN.add(signature)
        like = pair.ask(small)
        until = time.monotonic() + SHRINKING_S
        named = [one for one in pair.series if one.labels.get("__name__", "") in small.text]
        first = named if named and self._differs(named, small, kind) else pair.series
        series = smallest_data(first, lambda some: time.monotonic() < until and self._differs(some, small, kind))
        last = self.pair(series)
        answers = last.ask(small)
        last.close()
        shown = like if answers.difference is None else answers
        report.found.append(self._told(shown, i, written(series, small, answers.theirs)))

    def _differs(self, series: Sequence[Series], query: Query, kind: str) -> bool:
        pair = self.pair(series)
        try:
            return _still(pair, kind)(query)
        finally:
            pair.close()


def _still(pair: Pair, kind: str) -> Callable[[Query], bool]:
    """Return a test of whether a query differs in this way, and for no known reason."""

    def still(query: Query) -> bool:
        answers = pair.ask(query)
        differs = answers.difference is not None and answers.difference.kind == kind
        return differs and otherwise.reason(pair, answers) is None

    return still
