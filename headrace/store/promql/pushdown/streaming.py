"""Aggregations over many series, some of which are in memory at a time.

The series of a scan are taken in batches that fit into a processor's caches. Each is evaluated as the whole would be,
by an evaluation of its own, on as many threads as there are processors, and folded into the state in the order of the
series, so that the answer is to the last bit that of all of them at once. ADR 0006.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.store.labels import ColumnarSeries, LabelTable
from headrace.store.promql.language.ast import Call, MatrixSelector, walk
from headrace.store.promql.notes import Notes
from headrace.store.promql.pushdown import parallel
from headrace.store.promql.pushdown.partial import CHOICES, PartialAggregate
from headrace.store.promql.pushdown.plan import fragment_of, selector_of
from headrace.store.promql.selection import Selection
from headrace.store.promql.statistics import SampleCount
from headrace.store.promql.values import METADATA, Vector, empty
from headrace.store.scan import plain_columns
from headrace.store.symbols import ABSENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.store.histogram_rows import HistogramSeries
    from headrace.store.matchers import Matcher
    from headrace.store.promql.evaluation import Evaluation
    from headrace.store.promql.language.ast import Aggregate, Node
    from headrace.store.promql.pushdown.plan import PlanFragment
    from headrace.store.promql.values import Grid
    from headrace.store.runs import SeriesSamples
    from headrace.store.scan import Scan

STATE_BYTES = 64 << 20
"""A state may be as large as this, or as the points of all series are."""

_SORTING = frozenset({"quantile_over_time", "mad_over_time"})
"""Functions that sort each window; others go through the samples once."""

_ROW = ""
"""In a batch's table, in place of all labels but the name: the number of the row. No label has this name."""


def aggregate(run: Evaluation, node: Aggregate, param: NDArray[np.float64] | str | None, grid: Grid) -> Vector | None:
    """Evaluate an aggregation series by series; None where that cannot be, or would not be the same.

    Args:
        run: The query.
        node: The aggregation.
        param: (steps,) its parameter.
        grid: The steps.
    """
    stream = planned(run, node, param, grid)
    if stream is None:
        return None
    stream.fold_all()
    return stream.result()


def planned(run: Evaluation, node: Aggregate, param: NDArray[np.float64] | str | None, grid: Grid) -> Stream | None:
    """Return how an aggregation would be evaluated series by series; see `aggregate`."""
    fragment = _fragment(run, node, param, grid)
    source = run.selection.scanned
    if fragment is None or source is None:
        return None
    bounds = (fragment.start_ms, fragment.end_ms)
    if run.selection.natives(fragment.matchers, *bounds) is not None:
        return None
    scan = source.scan(fragment.matchers, *bounds, run.symbols)
    if not fragment.is_bare and not _one_name(scan):
        return None
    stream = Stream(run, fragment, scan)
    return stream if stream.fits else None


def _fragment(
    run: Evaluation, node: Aggregate, param: NDArray[np.float64] | str | None, grid: Grid
) -> PlanFragment | None:
    if isinstance(param, str) or not grid.size or run.options.start_timestamps:
        return None
    # Where names are dropped at the end, groups may still have them.
    if run.options.delayed_name_removal and (node.without or set(node.grouping).intersection(METADATA)):
        return None
    found = selector_of(node.expr)
    if found is None:
        return None
    if isinstance(found, MatrixSelector):
        where = run.window_ends(found.selector.at, found.selector.offset_ms, grid)
        return fragment_of(node, param, grid, (where, found.range_ms))
    if run.moves_on(found.at):
        return None
    where, _ = run.where(found.at, found.offset_ms, grid)
    return fragment_of(node, param, grid, (where, run.lookback_ms))


def _one_name(scan: Scan) -> bool:
    """Return whether the series differ in more than what a function drops, so that they stay distinct."""
    columns = (scan.column(name) for name in METADATA)
    return all(not len(column) or bool((column == column[0]).all()) for column in columns)


class _Groups(NamedTuple):
    """Group of each series, (n,) int64, and the first series of each group."""

    of: NDArray[np.int64]
    table: LabelTable
    first: NDArray[np.int64]


class _Batch(Selection):
    """Series of a scan in place of what is selected.

    Args:
        first: Their first number.
        names: (n,) symbols of the METADATA of all series that there are, by label.
        samples: Of these series.
        run: The query.
    """

    def __init__(
        self, first: int, names: dict[str, NDArray[np.int32]], samples: SeriesSamples, run: Evaluation
    ) -> None:
        super().__init__(run.selection.source, run)
        last = first + len(samples.places)
        columns = [np.arange(first, last, dtype=np.int32), *(column[first:last] for column in names.values())]
        self._table = LabelTable((_ROW, *names), np.stack(columns, axis=1), run.symbols)
        self._samples = samples
        self._found_all = False

    def refuse(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int, steps: int) -> None:
        """Refuse nothing: a batch is small."""

    def shared(
        self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int
    ) -> tuple[LabelTable, SeriesSamples] | None:
        """Return the batch."""
        del matchers, start_ms, end_ms
        return self._table, self._samples

    def floats(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> ColumnarSeries:
        """Return the batch, each series with its times."""
        del matchers, start_ms, end_ms
        return ColumnarSeries(self._table, *plain_columns(self._samples))

    def natives(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> HistogramSeries | None:
        """Return None: what has histograms is not taken in batches."""
        del matchers, start_ms, end_ms
        return None


class _Done(NamedTuple):
    """A batch, evaluated by `child`."""

    child: Evaluation
    vector: Vector
    samples: int


class Stream:
    """One aggregation under way."""

    def __init__(self, run: Evaluation, fragment: PlanFragment, scan: Scan) -> None:
        self._run = run
        self._fragment = fragment
        self._scan = scan
        self._groups = self._grouped()
        self._names = _columns(scan, METADATA)
        self._state: PartialAggregate | None = None
        self._pattern: Vector | None = None
        """Some batch, which says what became of the names."""

    @property
    def fits(self) -> bool:
        """Whether the state takes less room than what it stands for."""
        fragment, steps = self._fragment, self._fragment.grid.size
        most = 0 if fragment.wanted is None else int(fragment.wanted.max())
        size = PartialAggregate.size_bytes(fragment.op, self.groups, steps, most)
        return size <= max(STATE_BYTES, 9 * len(self._scan) * steps)

    @property
    def groups(self) -> int:
        """How many groups there may be."""
        return len(self._groups.first)

    def batches(self) -> list[tuple[int, int]]:
        """Return the first series of each batch, and the one after its last."""
        return parallel.pieces(self._weights(), parallel.PIECE)

    def _weights(self) -> NDArray[np.int64]:
        """Return how much work each series is, in samples and points, (n,) int64."""
        fragment = self._fragment
        counts: NDArray[np.int64] = self._scan.counts()
        found = selector_of(fragment.rows)
        if not isinstance(found, MatrixSelector) or not any(map(_sorts, walk(fragment.rows))):
            window = np.ones_like(counts)
        else:
            window = np.maximum(counts * found.range_ms // max(1, fragment.end_ms - fragment.start_ms), 1)
        return np.maximum(counts, fragment.grid.size * window)

    def fold_all(self) -> None:
        """Evaluate all batches and fold them."""
        fragment = self._fragment
        self._run.limit(self.groups * fragment.grid.size)
        state = PartialAggregate.begin(fragment.op, self.groups, fragment.grid.size, fragment.wanted)
        self._state = state
        for done in parallel.in_order(self._evaluate, self.batches()):
            rows = done.vector.labels.column(_ROW).astype(np.int64)
            state.fold(
                np.ascontiguousarray(done.vector.values), np.ascontiguousarray(done.vector.present),
                self._groups.of[rows], rows,
            )  # fmt: skip
            self._take(done)

    def result(self) -> Vector:
        """Return what was aggregated."""
        state, steps = self._state, self._fragment.grid.size
        if state is None or not (state.first >= 0).any():
            return empty(self._groups.table, steps)
        return self._chosen(state) if self._fragment.op in CHOICES else self._folded(state)

    def _folded(self, state: PartialAggregate) -> Vector:
        """Return the groups in the order in which they first had a row, as all at once would be."""
        values, there = state.result()
        order = np.argsort(state.first, kind="stable")
        order = order[state.first[order] >= 0]
        return Vector(self._groups.table.take(order), values[order], there[order])

    def _chosen(self, state: PartialAggregate) -> Vector:
        rows, values, present = state.chosen()
        vector = Vector(self._scan.labels_at(rows), values, present)
        if self._pattern is not None and self._pattern.drop_name is not None:
            vector = vector.without_name()
        elif self._pattern is not None and not set(self._pattern.labels.names).intersection(METADATA):
            vector = vector.without_name().settled()
        if vector.steps > 1:
            return vector
        # Groups count from the first row that is there.
        rank = np.empty(len(state.first), np.int64)
        rank[np.argsort(state.first, kind="stable")] = np.arange(len(rank))
        value = values[:, 0] * state.sign
        order = np.lexsort((-value, np.isnan(value), rank[self._groups.of[rows]]))
        vector = vector.take(order)
        return Vector(vector.labels, vector.values, vector.present, ordered=True, drop_name=vector.drop_name)

    def _grouped(self) -> _Groups:
        fragment, scan = self._fragment, self._scan
        if fragment.without:
            table = scan.labels.drop(
                (*METADATA[:1], *fragment.grouping) if fragment.is_bare else (*METADATA, *fragment.grouping)
            )
        else:
            columns = _columns(scan, fragment.column_names())
            stacked = np.stack([*columns.values()], axis=1) if columns else np.empty((len(scan), 0), np.int32)
            table = LabelTable(tuple(columns), stacked, self._run.symbols)
        numbers, first = table.groups()
        return _Groups(numbers.astype(np.int64, copy=False), table.take(first), first)

    # -- batches -------------------------------------------------------------------------------------------

    def _evaluate(self, piece: tuple[int, int]) -> _Done:
        first, last = piece
        samples = self._scan.read(first, last)
        child = copy.copy(self._run)
        child.selection = _Batch(first, self._names, samples, child)
        child.count = SampleCount(self._fragment.grid.size)
        child.notes = Notes(self._run.notes.query)
        # What is remembered there is of all series.
        child.repeats = None
        with np.errstate(all="ignore"):
            vector = child.vector(self._fragment.rows, self._fragment.grid)
        return _Done(child, vector, int(samples.counts.sum()))

    def _take(self, done: _Done) -> None:
        run = self._run
        run.check()
        run.selection.samples += done.samples
        run.count.hold(done.samples)
        run.count.hold(-done.samples)
        run.count.add(done.child.count.result().per_step)
        run.notes.take(done.child.notes)
        self._pattern = done.vector


def _sorts(node: Node) -> bool:
    """Return whether an expression takes as long for each step as its window has samples."""
    return isinstance(node, Call) and node.function in _SORTING


def _columns(scan: Scan, names: Sequence[str]) -> dict[str, NDArray[np.int32]]:
    """Return the columns of the labels that some series has."""
    found = {name: scan.column(name) for name in sorted(names)}
    return {name: column for name, column in found.items() if bool((column != ABSENT).any())}
