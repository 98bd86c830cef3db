"""Both sides with the same series, asked the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prometheus_oracle import Oracle
from promql_fuzz import compare
from promql_fuzz.ours import Ours
from promql_fuzz.shake import shaken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from prometheus_oracle import Series
    from promql_fuzz.cases import Query
    from promql_fuzz.compare import Difference
    from running import Programs


_OF_NUMBERS = {"labels", "points", "value", "order"}
"""Kinds of differences that may come from differing numbers."""

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
    """

    query: Query
    theirs: Mapping[str, Any]
    ours: Mapping[str, Any]
    difference: Difference | None
    empty: bool
    delayed: bool


class Pair:
    """A real Prometheus and a store of ours that hold the same.

    Args:
        programs: Starts Prometheus.
        binaries: Where its program is.
        folder: For the data of both.
        series: What they hold.
        delayed: Whether metric names are removed at the end of a query.
    """

    def __init__(
        self, programs: Programs, binaries: Path, folder: Path, series: Sequence[Series], *, delayed: bool
    ) -> None:
        self.series = series
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
        if self._by_chance(answers.query):
            return "the peer's answer depends on the order of a hash table"
        return "it depends on the last digits of library functions" if self._by_digits(answers) else None

    def _by_chance(self, query: Query) -> bool:
        path, form = query.request()
        first, *others = (compare.read(self._oracle.raw(path, form), b"")[0] for _ in range(_TIMES))
        return any(compare.difference(query.text, first, other) is not None for other in others)

    def _by_digits(self, answers: Answers) -> bool:
        """Evaluate again with errors in the last digits: is the peer's answer among the ones that come out?"""
        text = answers.query.text
        if not compare.uses_library(text) or answers.difference is None or answers.difference.kind not in _OF_NUMBERS:
            return False
        spread = 0.0
        for seed in range(_TIMES):
            with shaken(seed):
                result, ours = self._ours.ask(text, *answers.query.times_ms)
            if result:
                ours["data"]["result"] = json.loads(result)
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
        return Answers(query, theirs, ours, difference, len(result) <= 2, self._delayed)
