"""Both sides with the same series, asked the same."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from headrace.testing.promql_script_histograms import Histogram
from prometheus_oracle import Oracle
from promql_fuzz import compare, drift
from promql_fuzz.cases import given
from promql_fuzz.older import as_before
from promql_fuzz.ours import Ours
from promql_fuzz.shake import shaken, unscaled_logarithms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from prometheus_oracle import Series
    from promql_fuzz.cases import Query
    from promql_fuzz.compare import Difference
    from running import Programs


_OF_NUMBERS = {"labels", "points", "value", "order"}
"""Kinds of differences that may come from differing numbers."""

_AVERAGE = re.compile(r"\bavg(?=_over_time\b|\b)")

_MARGIN = 4.0
"""So much larger an error may be than those of a few tries."""

_TIMES = 12
"""So often a query is asked again whose answer may depend on chance."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What both sides answer to a query.

    Attributes:
        query: It.
        theirs: The peer's answer.
        ours: Ours.
        difference: How they differ.
        empty: Whether ours has no points.
        delayed: Whether metric names are removed at the end of a query.
        alike: Whether histograms that may share a chunk have the same buckets.
        nan_sums: Whether the sum of some histogram is NaN.
    """

    query: Query
    theirs: Mapping[str, Any]
    ours: Mapping[str, Any]
    difference: Difference | None
    empty: bool
    delayed: bool
    alike: bool
    nan_sums: bool


class Pair:
    """A real Prometheus and a store of ours that hold the same.

    Args:
        programs: Starts Prometheus.
        binaries: Where its program is.
        folder: For the data of both.
        series: What they hold.
        delayed: Whether metric names are removed at the end of a query.
        alike: Whether histograms that may share a chunk have the same buckets; see `layouts`.
    """

    def __init__(
        self,
        programs: Programs,
        binaries: Path,
        folder: Path,
        series: Sequence[Series],
        *,
        delayed: bool,
        alike: bool = False,
    ) -> None:
        self.series = series
        self._alike = alike
        values = (value for one in series for _, value in one.points)
        self._nan_sums = any(isinstance(value, Histogram) and math.isnan(value.sum) for value in values)
        self._delayed = delayed
        self._oracle = Oracle(programs, binaries, folder / "prometheus", delayed=delayed)
        self._oracle.write(series)
        self._ours = Ours(folder / "ours", series, delayed=delayed)

    def close(self) -> None:
        """End both."""
        self._oracle.stop()
        self._ours.close()

    def unsure(self, answers: Answers) -> str | None:
        """Return why a difference says nothing: by chance either side answers so; None where it does say something."""
        if self._by_chance(answers):
            return "the peer's answer depends on chance"
        if self._by_logarithms(answers):
            return "logarithms of the smallest numbers"
        if self._by_digits(answers):
            return "it depends on the last digits of library functions"
        if self._by_older_rules(answers):
            return "rates of histograms do not go below zero any more, other custom bounds are no reset"
        if self._by_averages(answers):
            return "averages of histograms are sums divided by how many there are"
        return "the peer answers as ours where it is asked for each step alone" if self._by_steps(answers) else None

    def _by_chance(self, answers: Answers) -> bool:
        """Ask the peer again: it reuses memory of histograms and goes through hash tables."""
        query, first = answers.query, answers.theirs
        again = (self._ask_peer(query) for _ in range(_TIMES))
        return any(compare.difference(query.text, first, other) is not None for other in again)

    def _by_steps(self, answers: Answers) -> bool:
        """Ask the peer for each step of a range: in subqueries it overwrites histograms that it still needs."""
        query, found = answers.query, answers.difference
        if (
            not query.step_ms
            or found is None
            or found.kind not in _OF_NUMBERS
            or "histogram" not in str(answers.theirs)
        ):
            return False
        rows: dict[str, dict[str, Any]] = {}
        for time_ms in range(query.start_ms, query.end_ms + 1, query.step_ms):
            alone = self._ask_peer(replace(query, start_ms=time_ms, end_ms=time_ms, step_ms=0))
            if alone["status"] == "error" or alone["data"]["resultType"] != "vector":
                return False
            for row in alone["data"]["result"]:
                kept = rows.setdefault(json.dumps(row["metric"], sort_keys=True), {"metric": row["metric"]})
                for kind in ("value", "histogram"):
                    if kind in row:
                        kept.setdefault(f"{kind}s", []).append(row[kind])
        data = answers.theirs["data"] | {"result": [rows[key] for key in rows]}
        found = compare.difference(query.text, {**answers.theirs, "data": data}, answers.ours)
        return found is None or found.kind == "order"

    def _by_older_rules(self, answers: Answers) -> bool:
        if not any(name in answers.query.text for name in ("rate(", "increase(", "resets(")):
            return False
        with as_before():
            ours = self._ask_ours(answers.query)
        found = compare.difference(answers.query.text, answers.theirs, ours)
        return found is None or drift.kind(replace(answers, ours=ours, difference=found)) is not None

    def _by_averages(self, answers: Answers) -> bool:
        """Ask for sums in place of averages: the peer's running means lose what lies across the zero bucket."""
        query, found = answers.query, answers.difference
        if found is None or found.kind not in _OF_NUMBERS or not _AVERAGE.search(query.text):
            return False
        sums = given(_AVERAGE.sub("sum", query.text), *query.times_ms)
        theirs, ours = self._ask_peer(sums), self._ask_ours(sums)
        found = compare.difference(sums.text, theirs, ours)
        summed = replace(answers, query=sums, theirs=theirs, ours=ours, difference=found)
        return found is None or drift.kind(summed) is not None

    def _ask_ours(self, query: Query) -> dict[str, Any]:
        result, ours = self._ours.ask(query.text, *query.times_ms)
        if result:
            ours["data"]["result"] = json.loads(result)
        return ours

    def _ask_peer(self, query: Query) -> dict[str, Any]:
        return compare.read(self._oracle.raw(*query.request()), b"")[0]

    def _by_logarithms(self, answers: Answers) -> bool:
        """Evaluate again with the peer's logarithms of subnormal numbers."""
        if re.search(r"\b(ln|log10)\(", answers.query.text) is None:
            return False
        with unscaled_logarithms():
            ours = self._ask_ours(answers.query)
        found = compare.difference(answers.query.text, answers.theirs, ours, relative=compare.SUMS)
        return found is None or drift.kind(replace(answers, ours=ours, difference=found)) is not None

    def _by_digits(self, answers: Answers) -> bool:
        """Evaluate again with errors in the last digits: is the peer's answer among the ones that come out?"""
        text = answers.query.text
        if not compare.uses_library(text) or answers.difference is None or answers.difference.kind not in _OF_NUMBERS:
            return False
        spread = 0.0
        for seed in range(_TIMES):
            with shaken(seed):
                ours = self._ask_ours(answers.query)
            found = compare.difference(text, answers.theirs, ours, relative=spread)
            if found is None:
                return True
            spread = max(spread, _MARGIN * compare.spread(answers.ours, ours))
        return compare.difference(text, answers.theirs, answers.ours, relative=spread) is None

    def ask(self, query: Query) -> Answers:
        """Ask both."""
        result, ours = self._ours.ask(query.text, *query.times_ms)
        path, form = query.request()
        theirs, same = compare.read(self._oracle.raw(path, form), result)
        if not same and result:
            ours["data"]["result"] = json.loads(result)
        difference = compare.difference(query.text, theirs, ours, same=same)
        if difference is not None and same:
            theirs["data"]["result"] = json.loads(result)
        return Answers(query, theirs, ours, difference, len(result) <= 2, self._delayed, self._alike, self._nan_sums)
