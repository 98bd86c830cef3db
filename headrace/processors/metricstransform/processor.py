"""The processor: transforms one after the other."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from headrace.kernels.growth import grown
from headrace.pipeline.batch import HistogramColumns
from headrace.pipeline.component import ProcessorFactory
from headrace.pipeline.native_histograms import NativeHistograms
from headrace.pipeline.streams.rows import joined_histograms
from headrace.pipeline.streams.slots import NEW, OTHER
from headrace.pipeline.streams.tables import OfTable
from headrace.pipeline.streams.warm import warm_up
from headrace.processors.metricstransform import columns, merge
from headrace.processors.metricstransform.config import Action, MetricsTransformConfig
from headrace.processors.metricstransform.identity import Matcher, applied, stages

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Settings
    from headrace.pipeline.counters import Drops
    from headrace.pipeline.identity import Series
    from headrace.pipeline.series import SeriesTable
    from headrace.processors.metricstransform.config import Transform

R = TypeVar("R", HistogramColumns, NativeHistograms)

_DROPPED = -3


class MetricsTransform:
    """Changes batches; what depends on identity is decided once for each series."""

    def __init__(self, settings: Settings, config: MetricsTransformConfig) -> None:
        self._drops = settings.drops
        self._transforms = [_Step(one) for one in config.transforms]
        self._views: weakref.WeakKeyDictionary[SeriesTable, list[_Memo]] = weakref.WeakKeyDictionary()

    def undecided(self, batch: MetricBatch) -> NDArray[np.int32]:
        """Return the ids that nobody has decided about."""
        first = self._memos(batch.table)[0]
        beside = [rows.series for rows in (batch.histograms, batch.native, batch.exemplars) if rows is not None]
        ids = np.concatenate([batch.series, *beside])
        return np.unique(ids[first.targets[0][ids] == NEW])

    def decide(self, batch: MetricBatch, ids: NDArray[np.int32]) -> None:
        """Decide what becomes of some series in all transforms."""
        memos = self._memos(batch.table)
        front = ids
        for memo in memos:
            memo.fit()
            front = memo.walk(front)

    def process(self, batch: MetricBatch) -> MetricBatch:
        """Return the batch as the transforms have it."""
        ids = self.undecided(batch)
        if len(ids):
            self.decide(batch, ids)
        memos = self._memos(batch.table)
        for memo in memos:
            batch = _Run(memo, self._drops).apply(batch)
        return batch

    def _memos(self, table: SeriesTable) -> list[_Memo]:
        memos = self._views.get(table)
        if memos is None:
            memos = self._views[table] = [_Memo(table, step) for step in self._transforms]
        for memo in memos:
            memo.fit()
        return memos


class _Step:
    """A transform, compiled."""

    def __init__(self, transform: Transform) -> None:
        self.matcher = Matcher(transform)
        self.stages = stages(transform)
        self.inserts = transform.action is Action.INSERT

    def target(self, number: int, series: Series) -> Series | None:
        """Return what stage `number` makes of a series."""
        if number == 0:
            series = self.matcher.renamed(series)
            if not series.name:
                return None
        return applied(self.stages[number].operations, series)


class _Memo(OfTable):
    """What a transform makes of the series of one table.

    Attributes:
        targets: For each stage, ids by id: NEW for undecided, OTHER where the transform is not about the series,
            below that where it drops its points.
    """

    def __init__(self, table: SeriesTable, step: _Step) -> None:
        self.step = step
        super().__init__(table)
        self.targets = [np.full(1024, NEW, np.int32) for _ in step.stages]
        table.register(self)

    def fit(self) -> None:
        """Make room for all ids of the table."""
        self.targets = [grown(one, self.table.capacity, NEW) for one in self.targets]

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Forget what is known of freed series, and what leads to one."""
        gone = np.zeros(max(self.table.capacity, len(self.targets[0])), np.bool_)
        gone[ids] = True
        for target in self.targets:
            target[gone[: len(target)] | (target >= 0) & gone[np.maximum(target, 0)]] = NEW

    def walk(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Decide about series; return those that the transform passes on."""
        others = self.target(0, ids) == OTHER
        stay = ids if self.step.inserts else ids[others]
        made = ids[~others]
        for number in range(len(self.targets)):
            made = self.target(number, made)
            made = np.unique(made[made >= 0])
        return np.unique(np.concatenate([stay, made]))

    def target(self, number: int, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return what stage `number` makes of series, (n,) int32; see `targets`, never NEW."""
        found = self.targets[number][ids]
        new = found == NEW
        if not new.any():
            return found
        for one in np.unique(ids[new]).tolist():
            self._decide(number, one)
        return self.targets[number][ids]

    def _decide(self, number: int, series_id: int) -> None:
        series = self.table.series(series_id)
        if number == 0 and not self.step.matcher.matches(series):
            self.targets[0][series_id] = OTHER
            return
        target = self.step.target(number, series)
        if target is series:
            made = series_id
        else:
            made = _DROPPED if target is None else max(_DROPPED, int(self.table.intern([target])[0]))
        self.fit()
        self.targets[number][series_id] = made if made >= 0 else _DROPPED


class _Run:
    """One transform of one batch."""

    def __init__(self, memo: _Memo, drops: Drops) -> None:
        self._memo = memo
        self._step = memo.step
        self._drops = drops

    def apply(self, batch: MetricBatch) -> MetricBatch:
        """Return the batch as the transform has it; the same where it is about none of it."""
        rows = (batch, batch.histograms, batch.native, batch.exemplars)
        if all(part is None or (self._memo.target(0, part.series) == OTHER).all() for part in rows):
            return batch
        out = self._numbers(batch)
        out = out.with_columns(
            histograms=self._histograms(batch),
            native=self._native(batch),
            exemplars=self._exemplars(batch),
        )
        for part in (out, out.histograms, out.native, out.exemplars):
            if part is not None:
                batch.table.touch(part.series)
        return out

    def _numbers(self, batch: MetricBatch) -> MetricBatch:
        ours = self._memo.target(0, batch.series) != OTHER
        if not ours.any():
            return batch
        made = batch if ours.all() else batch.select(ours)
        merged = False
        for number, stage in enumerate(self._step.stages):
            made = self._moved(number, made)
            made = columns.changed(stage.operations, made)
            if stage.aggregation is not None:
                made = merge.numbers(made, stage.aggregation)
                merged = True
        if self._step.inserts:
            return _joined(batch, made)
        if merged or len(made.series) < int(ours.sum()):
            return made if ours.all() else _joined(batch.select(~ours), made)
        return made if ours.all() else _put_back(batch, ours, made)

    def _moved(self, number: int, made: MetricBatch) -> MetricBatch:
        target = self._memo.target(number, made.series)
        gone = target < 0
        if gone.any():
            if not self._step.inserts:
                self._drops.count("delete_label_value", made, gone)
            made = made.select(~gone)
            target = target[~gone]
        return made.with_columns(series=target)

    def _histograms(self, batch: MetricBatch) -> HistogramColumns | None:
        rows = batch.histograms
        if rows is None:
            return None
        ours = self._memo.target(0, rows.series) != OTHER
        if not ours.any():
            return rows
        made = rows if ours.all() else rows.select(ours)
        for number, stage in enumerate(self._step.stages):
            made = self._moved_rows(number, made, batch)
            factor = columns.factor_of(stage.operations)
            if factor != 1:
                made = self._without(made, ~columns.can_scale(made, factor), "histogram_not_scaled", batch)
                made = columns.scaled_histograms(made, factor)
            if stage.aggregation is not None and len(made):
                made = merge.histograms(made, batch)
        return joined_histograms([part for part in (self._staying(rows, ours), made) if len(part)])

    def _native(self, batch: MetricBatch) -> NativeHistograms | None:
        rows = batch.native
        if rows is None:
            return None
        ours = self._memo.target(0, rows.series) != OTHER
        made = rows.select(ours)
        for number, stage in enumerate(self._step.stages):
            made = self._moved_rows(number, made, batch)
            if columns.factor_of(stage.operations) != 1:
                made = self._without(made, np.ones(len(made), np.bool_), "histogram_not_scaled", batch)
            if stage.aggregation is not None:
                made = self._without(made, _repeats(made), "native_histogram_not_aggregated", batch)
        left = [part for part in (self._staying(rows, ours), made) if len(part)]
        return NativeHistograms.joined(left) if left else None

    def _staying(self, rows: R, ours: NDArray[np.bool_]) -> R:
        return rows if self._step.inserts else rows.select(~ours)

    def _moved_rows(self, number: int, rows: R, batch: MetricBatch) -> R:
        target = self._memo.target(number, rows.series)
        gone = target < 0
        rows = self._without(rows, gone, "delete_label_value", batch)
        return replace(rows, series=target[~gone])

    def _without(self, rows: R, gone: NDArray[np.bool_], reason: str, batch: MetricBatch) -> R:
        if not gone.any():
            return rows
        if not self._step.inserts:
            self._drops.add(reason, int(gone.sum()), str(batch.table.series(int(rows.series[gone.argmax()]))))
        return rows.select(~gone)

    def _exemplars(self, batch: MetricBatch) -> Any:
        """Return exemplars under the series that their points have now; a copy of a metric has none."""
        exemplars = batch.exemplars
        if exemplars is None or self._step.inserts:
            return exemplars
        series = exemplars.series.copy()
        ours = self._memo.target(0, series) != OTHER
        for number in range(len(self._memo.targets)):
            rows = np.flatnonzero(ours & (series >= 0))
            series[rows] = self._memo.target(number, series[rows])
        if (series < 0).any():
            exemplars = exemplars.select(series >= 0)
            series = series[series >= 0]
        return replace(exemplars, series=series.astype(np.int32)) if len(series) else None


def _repeats(rows: NativeHistograms) -> NDArray[np.bool_]:
    """Return which rows have the series and time of one before."""
    keys = np.stack([rows.series.astype(np.int64), rows.time_ms], axis=1)
    firsts = np.unique(keys, axis=0, return_index=True)[1]
    repeats = np.ones(len(rows), np.bool_)
    repeats[firsts] = False
    return repeats


_NUMBERS = ("series", "time_ns", "value", "flags", "start_ns")


def _joined(first: MetricBatch, second: MetricBatch) -> MetricBatch:
    """Return the number points of both, and what else the first has."""
    found: dict[str, Any] = {name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in _NUMBERS}
    if first.integers is not None and second.integers is not None:
        found["integers"] = np.concatenate([first.integers, second.integers])
    return first.with_columns(**found)


def _put_back(batch: MetricBatch, rows: NDArray[np.bool_], made: MetricBatch) -> MetricBatch:
    """Return the batch with some of its number points replaced."""
    found: dict[str, Any] = {}
    for name in (*_NUMBERS, "integers"):
        column = getattr(batch, name)
        if column is not None:
            found[name] = column.copy()
            found[name][rows] = getattr(made, name)
    return batch.with_columns(**found)


FACTORY = ProcessorFactory(
    name="metricstransform",
    config=MetricsTransformConfig,
    create=MetricsTransform,
    aliases=("metrics_transform",),
    warm_up=warm_up,
)
