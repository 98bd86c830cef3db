"""Drops points by conditions: yes or no for a series as a whole, or computed on the columns of its points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.ottl.columns import Column
from headrace.pipeline.ottl.points import families, ids, points
from headrace.pipeline.verdicts import UNDECIDED, Verdicts

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Settings
    from headrace.pipeline.identity import Series

MAX_COLUMNS = 1000
"""Different conditions on points that one processor keeps: a rule that compares with attributes makes any number."""

Verdict: TypeAlias = "str | Column | None"
"""None to keep a series, the reason to drop it, or the condition on which its points are dropped."""

_KEEP, _FIRST = UNDECIDED + 1, UNDECIDED + 2


class PointFilter:
    """A column processor that asks `decide` once for each new series.

    Args:
        settings: Of the component.
        decide: Answers for a series.
        reason: Why points are dropped on a condition.
    """

    def __init__(self, settings: Settings, decide: Callable[[Series], Verdict], reason: str) -> None:
        self._drops = settings.drops
        self._logger = settings.logger
        self._told_full = False
        self._decide = decide
        self._reason = reason
        self._answers: list[str | Column] = []
        self._numbers: dict[str, int] = {}
        self._verdicts = Verdicts()

    def undecided(self, batch: MetricBatch) -> NDArray[np.int32]:
        """Return the distinct ids of `batch` that have no verdict."""
        verdicts = self._verdicts.of(batch.table)
        found = [ids(batch, family) for family in families(batch)]
        if batch.exemplars is not None:
            found.append(batch.exemplars.series)
        every = np.concatenate(found)
        distinct: NDArray[np.int32] = np.unique(every[verdicts[every] == UNDECIDED])
        return distinct

    def decide(self, batch: MetricBatch, ids: NDArray[np.int32]) -> None:
        """Decide about (n,) int32 `ids`."""
        verdicts = self._verdicts.of(batch.table)
        for one in ids.tolist():
            verdicts[one] = self._number(self._decide(batch.table.series(one)))

    def process(self, batch: MetricBatch) -> MetricBatch:
        """Return `batch` without what the conditions drop; the same object where nothing is dropped."""
        new = self.undecided(batch)
        if len(new):
            self.decide(batch, new)
        verdicts = self._verdicts.of(batch.table)
        out = batch
        for family in families(batch):
            keep = self._kept(batch, family, verdicts)
            if not keep.all():
                out = out.select(keep) if not family else _narrowed(out, family, keep)
        return self._exemplars(out, verdicts)

    def _kept(self, batch: MetricBatch, family: str, verdicts: NDArray[np.int32]) -> NDArray[np.bool_]:
        series = ids(batch, family)
        verdicts = verdicts[series]
        keep: NDArray[np.bool_] = verdicts == _KEEP
        for number in np.unique(verdicts[~keep]).tolist():
            rows = np.flatnonzero(verdicts == number)
            answer = self._answers[number - _FIRST]
            dropped = np.ones(len(rows), np.bool_)
            if isinstance(answer, Column):
                dropped = computed(answer, points(batch, family, rows))
            keep[rows] = ~dropped
            reason = self._reason if isinstance(answer, Column) else answer
            self._count(batch, reason, series[rows[dropped]])
        return keep

    def _count(self, batch: MetricBatch, reason: str, dropped: NDArray[np.int32]) -> None:
        if len(dropped):
            self._drops.add(reason, len(dropped), str(batch.table.series(int(dropped[0]))))

    def _exemplars(self, batch: MetricBatch, verdicts: NDArray[np.int32]) -> MetricBatch:
        """Leave out exemplars of series that are dropped as a whole."""
        exemplars = batch.exemplars
        if exemplars is None:
            return batch
        whole = [_FIRST + i for i, answer in enumerate(self._answers) if isinstance(answer, str)]
        keep = ~np.isin(verdicts[exemplars.series], whole)
        if keep.all():
            return batch
        return batch.with_columns(exemplars=exemplars.select(keep) if keep.any() else None)

    def _number(self, verdict: Verdict) -> int:
        if verdict is None:
            return _KEEP
        key = verdict.key if isinstance(verdict, Column) else f"= {verdict}"
        number = self._numbers.get(key)
        if number is None:
            if len(self._answers) >= MAX_COLUMNS:
                self._told_full = self._told_full or self._tell_full()
                return _KEEP
            number = self._numbers[key] = len(self._answers)
            self._answers.append(verdict)
        return _FIRST + number

    def _tell_full(self) -> bool:
        self._logger.warning("more than %d different conditions on values: further series pass", MAX_COLUMNS)
        return True


def computed(condition: Column, on: Any) -> NDArray[np.bool_]:
    """Return (n,) bool; a condition that has no value holds for no point."""
    try:
        found = condition.run(on)
    except InvalidInput:
        found = False
    return np.array(np.broadcast_to(np.asarray(found, np.bool_), len(on)))


def _narrowed(batch: MetricBatch, family: str, keep: NDArray[np.bool_]) -> MetricBatch:
    rows = getattr(batch, family)
    return batch.with_columns(**{family: rows.select(keep) if keep.any() else None})
