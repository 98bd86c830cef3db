"""What selectors yield: the newest samples at each step, and samples to look at through windows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from headrace.store.labels import ColumnarSeries
from headrace.store.promql import window_kernels
from headrace.store.promql.float_histograms import SAMPLE_BYTES
from headrace.store.promql.natives import Mixed, NativeSource
from headrace.store.promql.values import Ranges, Vector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.store.histogram_rows import HistogramSeries
    from headrace.store.labels import LabelTable, QuerySymbols
    from headrace.store.matchers import Matcher
    from headrace.store.promql.ast import MatrixSelector, VectorSelector
    from headrace.store.promql.evaluate import Source
    from headrace.store.promql.evaluation import Evaluation
    from headrace.store.promql.values import Grid
    from headrace.store.runs import SeriesSamples
    from headrace.store.scan import Scan


@runtime_checkable
class ScanSource(Protocol):
    """A source whose samples can be read series by series."""

    def scan(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols) -> Scan:
        """Return the series that fulfil `matchers`, to read their samples later."""


class Selection:
    """Reads samples for one query, each selection once.

    Args:
        source: Where samples come from.
        run: The query.
    """

    def __init__(self, source: Source, run: Evaluation) -> None:
        self.samples = 0
        """Samples that were read."""
        self.source = source
        """Where samples come from."""
        self._run = run
        self._found: dict[tuple[Sequence[Matcher], int, int], ColumnarSeries] = {}
        self._natives: dict[tuple[Sequence[Matcher], int, int], HistogramSeries] = {}
        self._shared: dict[tuple[Sequence[Matcher], int, int], tuple[LabelTable, SeriesSamples]] = {}

    def floats(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> ColumnarSeries:
        """Return samples from `start_ms` to `end_ms`, both included."""
        key = (matchers, start_ms, end_ms)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self.source.select(matchers, start_ms, end_ms, self._run.symbols)
            self._count(len(found.times_ms))
        return found

    def shared(
        self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int
    ) -> tuple[LabelTable, SeriesSamples] | None:
        """Return series with samples that may have their times in common; None where there are histograms as well."""
        if not isinstance(self.source, ScanSource) or self.natives(matchers, start_ms, end_ms) is not None:
            return None
        key = (matchers, start_ms, end_ms)
        found = self._shared.get(key)
        if found is None:
            scan = self.source.scan(matchers, start_ms, end_ms, self._run.symbols)
            samples = scan.read(0, len(scan))
            rows = np.flatnonzero(samples.counts)
            if len(rows) < len(scan):
                samples = samples.take(rows)
            found = self._shared[key] = scan.labels_at(rows), samples
            self._count(int(samples.counts.sum()))
        return found

    def natives(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> HistogramSeries | None:
        """Return native histograms, None where there are none."""
        if not isinstance(self.source, NativeSource):
            return None
        key = (matchers, start_ms, end_ms)
        found = self._natives.get(key)
        if found is None:
            found = self.source.select_histograms(matchers, start_ms, end_ms, self._run.symbols)
            self._natives[key] = found
            self._count(found.histograms.size_bytes // SAMPLE_BYTES if len(found) else 0)
        return found if len(found) else None

    def _count(self, samples: int) -> None:
        self.samples += samples
        self._run.count.hold(samples)
        self._run.limit(self.samples)
        self._run.check()


def newest(run: Evaluation, node: VectorSelector, grid: Grid) -> tuple[Vector, NDArray[np.int64]]:
    """Return the newest samples and, (n, steps) int64, their times; who asks counts them."""
    where, fixed = run.where(node.at, node.offset_ms, grid)
    bounds = (where.start_ms - run.lookback_ms + 1, where.end_ms)
    found = run.selection.floats(node.matchers, *bounds)
    natives = run.selection.natives(node.matchers, *bounds)
    if natives is None:
        labels, line = found.labels, (found.offsets, found.times_ms, found.values)
    else:
        mixed = Mixed(found, natives)
        labels, line = mixed.labels, mixed.line()
    shape = (len(labels), where.size)
    run.limit(len(labels) * grid.size)
    out, there, at = np.zeros(shape), np.zeros(shape, np.bool_), np.zeros(shape, np.int64)
    window_kernels.newest(*line, where.start_ms, where.step_ms, run.lookback_ms, out, there, at)
    if natives is None:
        vector = Vector(labels, out, there)
    else:
        values, numbers, histograms = mixed.picked(out, there)
        vector = Vector(labels, values, numbers, natives=histograms)
    if fixed and grid.size > 1:
        vector, at = vector.repeat(grid.size), np.repeat(at, grid.size, axis=1)
    return vector, at


def windows(run: Evaluation, node: MatrixSelector, grid: Grid) -> Ranges:
    """Return the samples of a range selector."""
    selector = node.selector
    where = run.window_ends(selector.at, selector.offset_ms, grid)
    bounds = (where.start_ms - node.range_ms + 1, where.end_ms)
    found = run.selection.floats(selector.matchers, *bounds)
    natives = run.selection.natives(selector.matchers, *bounds)
    if natives is None:
        return _ranges(found, where, node.range_ms)
    mixed = Mixed(found, natives)
    numbers = ColumnarSeries(mixed.labels, mixed.offsets(), found.times_ms, found.values)
    return replace(_ranges(numbers, where, node.range_ms), natives=mixed.ranges())


def _ranges(found: ColumnarSeries, where: Grid, range_ms: int) -> Ranges:
    """Leave the stale markers out."""
    stale = int(window_kernels.count_stale(found.values))
    if not stale:
        return Ranges(found.labels, found.offsets, found.times_ms, found.values, where, range_ms)
    offsets = np.empty_like(found.offsets)
    times = np.empty(len(found.times_ms) - stale, np.int64)
    values = np.empty(len(times), np.float64)
    window_kernels.drop_stale(found.offsets, found.times_ms, found.values, offsets, times, values)
    return Ranges(found.labels, offsets, times, values, where, range_ms)
