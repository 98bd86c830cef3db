"""Both sides with the same series, asked the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from prometheus_oracle import Oracle
from promql_fuzz import compare
from promql_fuzz.ours import Ours

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from prometheus_oracle import Series
    from promql_fuzz.cases import Query
    from promql_fuzz.compare import Difference
    from running import Programs


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
        self.delayed = delayed
        self.oracle = Oracle(programs, binaries, folder / "prometheus", delayed=delayed)
        self.oracle.write(series)
        self.ours = Ours(folder / "ours", series, delayed=delayed)
        self.empty = False
        """Whether the last answer had no points."""

    def close(self) -> None:
        """End both."""
        self.oracle.stop()
        self.ours.close()

    def difference(self, query: Query) -> Difference | None:
        """Ask both; return how the answers differ."""
        result, ours = self.ours.ask(query.text, *query.times_ms)
        path, form = query.request()
        theirs, same = compare.read(self.oracle.raw(path, form), result)
        if not same and result:
            ours["data"]["result"] = json.loads(result)
        self.empty = len(result) <= 2
        return compare.difference(query.text, theirs, ours, same=same)
