"""Both sides with the same series, asked the same."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from headrace.testing.promql_script_histograms import Histogram
from prometheus_oracle import Oracle
from promql_fuzz import compare, drift
from promql_fuzz.ours import Ours

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from prometheus_oracle import Layout, Series
    from promql_fuzz.cases import Query
    from promql_fuzz.compare import Difference
    from running import Programs


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
        self._filled: Ours | None = None
        self._folder = folder

    def close(self) -> None:
        """End both."""
        self._oracle.stop()
        for ours in (self._ours, self._filled):
            if ours is not None:
                ours.close()

    def ask_stored(self, query: Query) -> dict[str, Any]:
        """Ask ours, histograms having the empty buckets that the peer's chunks have given to them."""
        if not drift.of_histograms(query.text):
            return _answer(self._ours, query)
        if self._filled is None:
            self._filled = Ours(self._folder / "filled", self._as_stored(), delayed=self._delayed)
        return _answer(self._filled, query)

    def _as_stored(self) -> list[Series]:
        times = [time_ms for one in self.series for time_ms, _ in one.points]
        layouts = self._oracle.layouts(min(times), max(times))
        return [
            replace(one, points=_filled(one, layouts.get(tuple(sorted(one.labels.items())), {}))) for one in self.series
        ]

    def ask_peer(self, query: Query) -> dict[str, Any]:
        """Ask the peer."""
        return compare.read(self._oracle.raw(*query.request()), b"")[0]

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


def _filled(series: Series, layouts: Mapping[int, Layout]) -> list[tuple[int, float | Histogram]]:
    return [
        (time_ms, layouts[time_ms].filled(value) if isinstance(value, Histogram) and time_ms in layouts else value)
        for time_ms, value in series.points
    ]


def _answer(ours: Ours, query: Query) -> dict[str, Any]:
    result, answer = ours.ask(query.text, *query.times_ms)
    if result:
        answer["data"]["result"] = json.loads(result)
    return answer
