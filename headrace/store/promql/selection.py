"""What selectors yield: the newest samples at each step, and samples to look at through windows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

import numpy as np

from headrace.store.codec.histograms import STALE_BITS
from headrace.store.labels import ColumnarSeries
from headrace.store.promql import extended_kernels, window_kernels
from headrace.store.promql.language.ast import At
from headrace.store.promql.natives.columns import Mixed, NativeSource
from headrace.store.promql.natives.float_histograms import SAMPLE_BYTES
from headrace.store.promql.pushdown import parallel
from headrace.store.promql.values import Beyond, Grid, Ranges, Vector
from headrace.store.runs import SeriesSamples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.store.histogram_rows import HistogramSeries
    from headrace.store.labels import LabelTable, QuerySymbols
    from headrace.store.matchers import Matcher
    from headrace.store.promql.evaluate import Source
    from headrace.store.promql.evaluation import Evaluation
    from headrace.store.promql.language.ast import MatrixSelector, VectorSelector
    from headrace.store.scan import Scan


_AT_ONCE = 4 * parallel.PIECE
"""Samples that are read in one piece, because putting pieces together costs a copy."""


@runtime_checkable
class ScanSource(Protocol):
    """A source whose samples can be read series by series."""

    def __len__(self) -> int:
        """Return how many series there are."""

    def scan(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols) -> Scan:
        """Return the series that fulfil `matchers`, to read their samples later."""


@cache
def _fulfils(kind: type, protocol: type) -> bool:
    """Return whether objects of a class are of a protocol; to ask each of them takes longer than a small query."""
    return issubclass(kind, protocol)


@dataclass(slots=True)
class _Known:
    """What was read of one selection so far."""

    floats: ColumnarSeries | None = None
    natives: HistogramSeries | None = None
    shared: tuple[LabelTable, SeriesSamples] | None = None


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
        self.scanned = cast("ScanSource", source) if _fulfils(type(source), ScanSource) else None
        """The same, where it can be read series by series."""
        self._run = run
        self._known: dict[tuple[Sequence[Matcher], int, int], _Known] = {}

    def floats(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> ColumnarSeries:
        """Return samples from `start_ms` to `end_ms`, both included."""
        known = self._of(matchers, start_ms, end_ms)
        if known.floats is None:
            known.floats = self.source.select(matchers, start_ms, end_ms, self._run.symbols)
            self._count(len(known.floats.times_ms))
        return known.floats

    def shared(
        self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int
    ) -> tuple[LabelTable, SeriesSamples] | None:
        """Return series with samples that may have their times in common; None where there are histograms as well."""
        if self.scanned is None or self.natives(matchers, start_ms, end_ms) is not None:
            return None
        known = self._of(matchers, start_ms, end_ms)
        if known.shared is None:
            scan = self.scanned.scan(matchers, start_ms, end_ms, self._run.symbols)
            samples = self._read(scan)
            rows = np.flatnonzero(samples.counts)
            if len(rows) < len(scan):
                samples = samples.take(rows)
            known.shared = scan.labels_at(rows), samples
            self._count(int(samples.counts.sum()))
        return known.shared

    def _read(self, scan: Scan) -> SeriesSamples:
        """Read all series, some at a time where they are many: between them the query may be over."""
        cuts = parallel.pieces(scan.counts(), _AT_ONCE)
        if len(cuts) < 2:
            return scan.read(0, len(scan))
        parts, samples = [], self.samples
        for part in parallel.in_order(lambda piece: scan.read(*piece), cuts):
            samples += int(part.counts.sum())
            self._run.limit(samples)
            self._run.check()
            parts.append(part)
        return SeriesSamples.joined(parts)

    def natives(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> HistogramSeries | None:
        """Return native histograms, None where there are none."""
        if not _fulfils(type(self.source), NativeSource):
            return None
        source = cast("NativeSource", self.source)
        known = self._of(matchers, start_ms, end_ms)
        if known.natives is None:
            known.natives = found = source.select_histograms(matchers, start_ms, end_ms, self._run.symbols)
            self._count(found.histograms.size_bytes // SAMPLE_BYTES if len(found) else 0)
        return known.natives if len(known.natives) else None

    def _of(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> _Known:
        return self._known.setdefault((matchers, start_ms, end_ms), _Known())

    def refuse(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int, steps: int) -> None:
        """Refuse a selection whose series times `steps` are too many points, before any sample is read.

        Raises:
            ExecutionError: They are; see `Evaluation.limit`.
        """
        source, most = self.scanned, self._run.options.max_samples
        if source is None or len(source) * steps <= most:
            return
        scan = source.scan(matchers, start_ms, end_ms, self._run.symbols)
        if len(scan) * steps > most:
            self._run.limit(scan.at_least() * steps)

    def _count(self, samples: int) -> None:
        self.samples += samples
        self._run.count.hold(samples)
        self._run.limit(self.samples)
        self._run.check()


def instant_bounds(run: Evaluation, node: VectorSelector, where: Grid) -> tuple[int, int]:
    """Return the first and last time of samples that an instant selector is to see, which looks at `where`."""
    # What is pinned moves on in the parameter of an aggregation, but no samples are read for that.
    moves = node.at is None or isinstance(node.at, At)
    return where.start_ms - run.lookback_ms + 1, where.end_ms if moves else where.start_ms


def newest(run: Evaluation, node: VectorSelector, grid: Grid) -> tuple[Vector, NDArray[np.int64]]:
    """Return the newest samples and, (n, steps) int64, their times; who asks counts them."""
    where, fixed = run.where(node.at, node.offset_ms, grid)
    return _newest(run, node, grid, (where, fixed), instant_bounds(run, node, where))


def timed(run: Evaluation, node: VectorSelector, grid: Grid) -> tuple[Vector, NDArray[np.int64]]:
    """Return what `newest` does, for the functions of times: for these a pinned selector has no offset.

    Its samples are still read as the offset says, as in Prometheus.
    """
    at = run.pinned(node.at)
    if at is None:
        return newest(run, node, grid)
    bounds = (at - node.offset_ms - run.lookback_ms + 1, at - node.offset_ms)
    return _newest(run, node, grid, (Grid.at(at), True), bounds)


def _newest(
    run: Evaluation, node: VectorSelector, grid: Grid, look: tuple[Grid, bool], bounds: tuple[int, int]
) -> tuple[Vector, NDArray[np.int64]]:
    where, fixed = look
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


def smoothed(run: Evaluation, node: VectorSelector, grid: Grid) -> Vector:
    """Return the values of a smoothed selector, on the lines between samples."""
    where, fixed = run.where(node.at, node.offset_ms, grid)
    found = without_stale(
        run.selection.floats(node.matchers, where.start_ms - run.lookback_ms + 1, where.end_ms + run.lookback_ms)
    )
    shape = (len(found), where.size)
    run.limit(len(found) * grid.size)
    out, there = np.zeros(shape), np.zeros(shape, np.bool_)
    line = (found.offsets, found.times_ms, found.values)
    extended_kernels.smooth(*line, where.start_ms, where.step_ms, run.lookback_ms, out, there)
    vector = Vector(found.labels, out, there)
    return vector.repeat(grid.size) if fixed and grid.size > 1 else vector


def start_times(run: Evaluation, node: VectorSelector, grid: Grid) -> Vector:
    """Return in seconds when the counting of the newest samples began, 0 where that is unknown."""
    at = run.pinned(node.at)
    where, _ = run.where(node.at, node.offset_ms, grid)
    bounds = instant_bounds(run, node, where if at is None else Grid.at(at - node.offset_ms))
    found, natives = run.selection.floats(node.matchers, *bounds), run.selection.natives(node.matchers, *bounds)
    vector, times_ms = timed(run, node, grid)
    starts = np.zeros(len(found.times_ms), np.int64) if found.starts_ms is None else found.starts_ms
    offsets, times = found.offsets, found.times_ms
    if natives is not None:
        mixed = Mixed(found, natives)
        offsets, times, places = mixed.line()
        starts = np.append(starts, natives.histograms.start_ms)[np.nan_to_num(places).astype(np.int64)]
    seconds = np.zeros(times_ms.shape)
    extended_kernels.starts(offsets, times, starts, times_ms, vector.everywhere, seconds)
    return vector.with_values(seconds, vector.everywhere)


def windows(run: Evaluation, node: MatrixSelector, grid: Grid) -> Ranges:
    """Return the samples of a range selector."""
    selector = node.selector
    where = run.window_ends(selector.at, selector.offset_ms, grid)
    beyond = _beyond(selector, run.lookback_ms)
    bounds = (where.start_ms - node.range_ms - beyond.before_ms + 1, where.end_ms + beyond.after_ms)
    found = run.selection.floats(selector.matchers, *bounds)
    natives = run.selection.natives(selector.matchers, *bounds)
    mixed = None if natives is None else Mixed(found, natives)
    if mixed is not None:
        found = replace(found, labels=mixed.labels, offsets=mixed.offsets())
    found = without_stale(found)
    return Ranges(
        found.labels, found.offsets, found.times_ms, found.values, where, node.range_ms,
        natives=None if mixed is None else mixed.ranges(), beyond=beyond,
        starts_ms=found.starts_ms if run.options.start_timestamps else None,
    )  # fmt: skip


def _beyond(selector: VectorSelector, lookback_ms: int) -> Beyond:
    if selector.smoothed:
        return Beyond(lookback_ms, lookback_ms)
    return Beyond(lookback_ms) if selector.anchored else Beyond()


def without_stale(found: ColumnarSeries) -> ColumnarSeries:
    """Leave the stale markers out."""
    stale = int(window_kernels.count_stale(found.values))
    if not stale:
        return found
    offsets = np.empty_like(found.offsets)
    times = np.empty(len(found.times_ms) - stale, np.int64)
    values = np.empty(len(times), np.float64)
    window_kernels.drop_stale(found.offsets, found.times_ms, found.values, offsets, times, values)
    starts = None if found.starts_ms is None else found.starts_ms[found.values.view(np.uint64) != STALE_BITS]
    return ColumnarSeries(found.labels, offsets, times, values, starts)
