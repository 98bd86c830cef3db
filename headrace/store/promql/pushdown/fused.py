"""Selectors and the usual range functions over samples that have their times in common, in one walk of each series.

What is not here, or not of plain samples, is computed by `selection` and `range_functions`; results are the same.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.store.promql.language.ast import MatrixSelector, Paren
from headrace.store.promql.pushdown import fused_kernels as kernels
from headrace.store.promql.pushdown import parallel
from headrace.store.promql.range_functions import finished
from headrace.store.promql.selection import instant_bounds
from headrace.store.promql.statistics import in_vector
from headrace.store.promql.values import Vector
from headrace.store.runs import SeriesSamples

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.store.promql.evaluation import Evaluation
    from headrace.store.promql.language.ast import Call, Expr, VectorSelector
    from headrace.store.promql.values import Grid

    _Function = Callable[..., None]


def over_time(run: Evaluation, node: Call, grid: Grid) -> Vector | None:
    """Evaluate a range function over a range selector; None where that is not for this module."""
    compute = FUNCTIONS.get(node.function)
    if compute is None or run.options.start_timestamps:
        return None
    ranges = _selector(node.args[0])
    if ranges is None:
        return None
    where = run.window_ends(ranges.selector.at, ranges.selector.offset_ms, grid)
    bounds = (where.start_ms - ranges.range_ms + 1, where.end_ms)
    shared = run.selection.shared(ranges.selector.matchers, *bounds)
    if shared is None:
        return None
    labels, samples = shared
    run.limit(len(labels) * grid.size)
    found = computed(run, without_stale(samples), where, partial(compute, range_ms=ranges.range_ms))
    run.count.add(found.looked)
    return finished(run, node, Vector(labels, found.out, found.there))


def newest(run: Evaluation, node: VectorSelector, grid: Grid) -> Vector | None:
    """Evaluate an instant selector; None where that is not for this module."""
    if node.anchored or node.smoothed:
        return None
    where, fixed = run.where(node.at, node.offset_ms, grid)
    shared = run.selection.shared(node.matchers, *instant_bounds(run, node, where))
    if shared is None:
        return None
    labels, samples = shared
    run.limit(len(labels) * grid.size)
    found = computed(run, samples, where, partial(newest_of, lookback_ms=run.lookback_ms))
    vector = Vector(labels, found.out, found.there)
    vector = vector.repeat(grid.size) if fixed and grid.size > 1 else vector
    run.count.add(in_vector(vector))
    return vector


def computed(run: Evaluation, samples: SeriesSamples, where: Grid, compute: Callable[..., None]) -> Found:
    """Compute all series, some at a time, on all processors; between them the query may be over."""
    found = Found.of(len(samples.places), where.size)
    sizes = np.maximum(samples.counts, where.size)
    if len(sizes) * where.size < parallel.PIECE:
        compute(samples, where, found=found)
        return found

    def one(piece: tuple[int, int]) -> NDArray[np.int64]:
        run.check()
        part = found.part(*piece)
        compute(samples.part(*piece), where, found=part)
        return part.looked

    for looked in parallel.in_order(one, parallel.pieces(sizes, parallel.PIECE)):
        found.looked[:] += looked
    return found


def newest_of(samples: SeriesSamples, where: Grid, *, lookback_ms: int, found: Found) -> None:
    """Find the newest samples at some times; stale markers count as none."""
    kernels.newest(*samples, where.start_ms, where.step_ms, lookback_ms, found.lo, found.out, found.there)


def without_stale(samples: SeriesSamples) -> SeriesSamples:
    """Return samples without stale markers; series that have none stay where they are."""
    stale = np.empty(len(samples.places), np.int64)
    room = kernels.count_stale(samples.places, samples.counts, samples.values, stale)
    if not room:
        return samples
    at = len(samples.values)
    times, values = np.empty(at + room, np.int64), np.empty(at + room)
    times[:at], values[:at] = samples.times_ms, samples.values
    moved = SeriesSamples(samples.places.copy(), samples.counts.copy(), samples.time_places.copy(), times, values)
    kernels.drop_stale(stale, at, *moved)
    return moved


def _selector(node: Expr) -> MatrixSelector | None:
    while isinstance(node, Paren):
        node = node.expr
    plain = isinstance(node, MatrixSelector) and not node.selector.anchored and not node.selector.smoothed
    return node if plain and isinstance(node, MatrixSelector) else None


class Found(NamedTuple):
    """Scratch and results of kernels: (steps,) bounds, (n, steps) values and presence, (steps,) samples looked at."""

    lo: NDArray[np.int64]
    hi: NDArray[np.int64]
    out: NDArray[np.float64]
    there: NDArray[np.bool_]
    looked: NDArray[np.int64]

    @classmethod
    def of(cls, series: int, steps: int) -> Found:
        """Return room for some series."""
        shape, bounds = (series, steps), np.zeros((3, steps), np.int64)
        return cls(bounds[0], bounds[1], np.empty(shape), np.empty(shape, np.bool_), bounds[2])

    def part(self, first: int, last: int) -> Found:
        """Return the room of some of the series, with scratch and counts of its own."""
        bounds = np.zeros((3, len(self.lo)), np.int64)
        return Found(bounds[0], bounds[1], self.out[first:last], self.there[first:last], bounds[2])


def _longest(samples: SeriesSamples) -> int:
    return int(samples.counts.max(initial=0)) + 1


def _rates(samples: SeriesSamples, where: Grid, *, range_ms: int, counter: bool, rate: bool, found: Found) -> None:
    drops = np.empty(_longest(samples) if counter else 0, np.int64)
    kernels.rates(
        *samples, where.start_ms, where.step_ms, range_ms, counter, rate, np.empty((4, where.size)), drops, *found
    )


def _sums(samples: SeriesSamples, where: Grid, *, range_ms: int, mean: bool, found: Found) -> None:
    kernels.sums(*samples, where.start_ms, where.step_ms, range_ms, mean, np.empty(_longest(samples)), *found)


def _extremes(samples: SeriesSamples, where: Grid, *, range_ms: int, sign: float, found: Found) -> None:
    queue = np.empty(_longest(samples), np.int64)
    kernels.extremes(*samples, where.start_ms, where.step_ms, range_ms, sign, queue, *found)


def _picked(samples: SeriesSamples, where: Grid, *, range_ms: int, what: int, found: Found) -> None:
    kernels.picked(*samples, where.start_ms, where.step_ms, range_ms, what, *found)


FUNCTIONS: dict[str, _Function] = {
    "rate": partial(_rates, counter=True, rate=True),
    "increase": partial(_rates, counter=True, rate=False),
    "delta": partial(_rates, counter=False, rate=False),
    "sum_over_time": partial(_sums, mean=False),
    "avg_over_time": partial(_sums, mean=True),
    "max_over_time": partial(_extremes, sign=1.0),
    "min_over_time": partial(_extremes, sign=-1.0),
    "count_over_time": partial(_picked, what=kernels.COUNT),
    "present_over_time": partial(_picked, what=kernels.PRESENT),
    "last_over_time": partial(_picked, what=kernels.LAST),
    "first_over_time": partial(_picked, what=kernels.FIRST),
}
"""Functions of this module: they get samples without stale markers, the ends of windows, their length, and room."""
