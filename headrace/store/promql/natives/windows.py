"""Functions of range vectors over native histograms, beside what `range_functions` makes of the numbers.

A window may hold numbers, histograms or both. Functions that add or subtract leave windows with both out, with a
warning; those that know numbers alone say that they ignore the histograms beside them.

Source:
    Prometheus 3.14, PromQL functions of native histograms.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.identity import METRIC_NAME
from headrace.store.promql import window_kernels
from headrace.store.promql.extended_functions import OVERLAP
from headrace.store.promql.language.ast import Subquery
from headrace.store.promql.natives import math_kernels as codes
from headrace.store.promql.natives import total_kernels as sums
from headrace.store.promql.natives.columns import Natives
from headrace.store.promql.natives.float_histograms import GAUGE
from headrace.store.promql.natives.math import changed, combined, equal, folded, resets_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.store.promql.evaluation import Evaluation
    from headrace.store.promql.language.ast import Call, Expr
    from headrace.store.promql.natives.columns import NativeRanges
    from headrace.store.promql.natives.math import Sums
    from headrace.store.promql.range_functions import Windows

MIXED_KINDS = "encountered a mix of histograms and floats for metric name"
MIXED_SCHEMAS = "vector contains a mix of histograms with exponential and custom buckets schemas for metric name"
RECONCILED = "mismatched custom buckets were reconciled during"
COLLISION = "conflicting counter resets during histogram"
_IGNORED = "ignored histograms in a range containing both floats and histograms for metric name"
_NOT_COUNTER = "this native histogram metric is not a counter:"
_NOT_GAUGE = "this native histogram metric is not a gauge:"

_NEVER = np.iinfo(np.int64).min


class NativeWindows:
    """The windows of a range vector with native histograms.

    Args:
        windows: The windows of its numbers; what they yield is changed where histograms are in them.
        natives: The histograms.
        node: The call.
        run: The query.
    """

    def __init__(self, windows: Windows, natives: NativeRanges, node: Call, run: Evaluation) -> None:
        self.windows = windows
        self.natives = natives
        self.notes = run.notes
        self.starts = natives.starts_ms if run.options.start_timestamps else np.zeros_like(natives.starts_ms)
        self.limit = run.limit
        self.node = node
        self.lo, self.hi = np.empty_like(windows.lo), np.empty_like(windows.hi)
        ends = windows.ends
        window_kernels.bounds(
            natives.offsets, natives.times_ms, ends.start_ms, ends.step_ms, windows.ranges.range_ms, self.lo, self.hi
        )
        self.size = self.hi - self.lo
        self.floats = windows.hi - windows.lo

    @cached_property
    def both(self) -> NDArray[np.bool_]:
        """(n, steps): where there are numbers and histograms."""
        mixed: NDArray[np.bool_] = (self.size > 0) & (self.floats > 0)
        return mixed

    @property
    def mixed(self) -> NDArray[np.bool_]:
        """(n,): which series have a window with both."""
        found: NDArray[np.bool_] = np.any(self.both, axis=1)
        return found

    @property
    def argument(self) -> Expr:
        """The range vector; what a subquery yields has no place in the text any more."""
        return _placed(next(arg for arg in self.node.args if arg.type.value == "range vector"))

    def names(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> list[str]:
        """Return the metric names of some series."""
        labels = self.windows.ranges.labels
        found = np.unique(labels.column(METRIC_NAME)[rows]).tolist()
        return [labels.text(symbol) if symbol >= 0 else "" for symbol in found]

    def warn(self, text: str, rows: NDArray[np.intp] | NDArray[np.bool_]) -> None:
        """Warn about the metrics of some series."""
        for name in self.names(rows):
            self.notes.warn(f'{text} "{name}"', self.argument)

    def drop_mixed(self) -> NDArray[np.bool_]:
        """Drop the numbers of windows with both, and warn; return (n, steps) where there are histograms alone."""
        self.warn(MIXED_KINDS, self.mixed)
        self.windows.there &= ~self.both
        alone: NDArray[np.bool_] = (self.size > 0) & (self.floats == 0)
        return alone

    def resets(self) -> NDArray[np.bool_]:
        """Return (m,) before which histograms a counter was reset."""
        rows, before = np.arange(len(self.natives.times_ms)), self.natives.before()
        return resets_of(self.natives.histograms, rows, before) | ((before >= 0) & self.begins_anew(rows, before))

    def begins_anew(self, rows: NDArray[np.int64], before: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (k,) which rows count from a later time on than the ones before them; see `start_kernels`."""
        if not self.starts.any():
            return np.zeros(len(rows), np.bool_)
        start, start_before = self.starts[rows], self.starts[before]
        time, time_before = self.natives.times_ms[rows], self.natives.times_ms[before]
        known = (start != 0) & (start < time) & (start >= time_before)
        anew: NDArray[np.bool_] = known & (
            (start > time_before) | ((start_before != 0) & (start_before < time_before))
        )  # fmt: skip
        return anew

    def warn_of_overlaps(self) -> None:
        """Warn where a histogram began to count before the one before it, and yet at another time than that."""
        before = self.natives.before()
        overlap = (before >= 0) & (self.starts != 0) & (self.starts < self.natives.times_ms[before])
        overlap &= self.starts != self.starts[before]
        upto = np.concatenate([[0], np.cumsum(overlap)])
        found = upto[self.hi] - upto[np.minimum(self.lo + 1, self.hi)] > 0
        for name in self.names(np.flatnonzero(found.any(axis=1))):
            self.notes.warn(f'{OVERLAP} for metric "{name}"', self.argument)

    def from_zero(self) -> NDArray[np.bool_]:
        """Return (n, steps) where the first histogram of a window began to count within it."""
        first = self.lo[self.size > 0]
        out = np.zeros(self.size.shape, np.bool_)
        begin = (self.windows.ends.times_ms() - self.windows.ranges.range_ms)[np.nonzero(self.size > 0)[1]]
        start = self.starts[first]
        out[self.size > 0] = (start != 0) & (start > begin) & (start < self.natives.times_ms[first])
        return out

    def allow(self, results: int) -> None:
        """Refuse so many results if they are too many: each is taken to be as large as the histograms are."""
        each = 11 + len(self.natives.histograms.counts) // (2 * max(len(self.natives.times_ms), 1))
        self.limit(results * each)

    def last_times(self, back: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (n, steps) when the last number and histogram of each window are, or `back` ones before these."""
        return (
            _time_at(self.windows.ranges.times_ms, self.windows.hi - 1 - back, self.floats > back),
            _time_at(self.natives.times_ms, self.hi - 1 - back, self.size > back),
        )


def _placed(arg: Expr) -> Expr:
    return replace(arg, start=0) if isinstance(arg, Subquery) else arg


def _time_at(times: NDArray[np.int64], at: NDArray[np.int64], there: NDArray[np.bool_]) -> NDArray[np.int64]:
    out = np.full(at.shape, _NEVER)
    out[there] = times[at[there]]
    return out


def over_native_windows(run: Evaluation, node: Call, windows: Windows) -> Natives | None:
    """Take account of the native histograms of a range vector.

    Args:
        run: The query.
        node: The call.
        windows: With what the function made of the numbers; changed.

    Returns:
        The histograms that the function yields, None for none.
    """
    natives = windows.ranges.natives
    if natives is None:
        return None
    return _FUNCTIONS.get(node.function, _ignored)(NativeWindows(windows, natives, node, run))


def _ignored(given: NativeWindows) -> None:
    """Say that histograms beside numbers are ignored."""
    arg = given.node.args[0]
    for name in given.names(given.mixed):
        given.notes.info(f'{_IGNORED} "{name}"', _placed(arg))


# -- changes ---------------------------------------------------------------------------------------------------


def _extrapolated(*, counter: bool, rate: bool) -> _Function:
    def compute(given: NativeWindows) -> Natives:
        alone = given.drop_mixed()
        there = alone & (given.size > 1)
        if counter and given.starts.any():
            given.warn_of_overlaps()
            there |= alone & given.from_zero()
        rows, steps = np.nonzero(there)
        given.allow(len(rows))
        windows = (given.lo[there], given.hi[there] - 1, given.windows.ends.times_ms()[steps])
        natives = given.natives
        resets = given.resets() if counter else np.zeros(0, np.bool_)
        found = changed(
            natives.histograms, natives.times_ms, given.starts, resets, windows, given.windows.ranges.range_ms,
            counter=counter, rate=rate,
        )  # fmt: skip
        _note_changes(given, found, rows)
        return Natives.placed(there, found.places, found.histograms)

    return compute


def _note_changes(given: NativeWindows, found: Sums, rows: NDArray[np.intp]) -> None:
    warnings = ((codes.MIXED, MIXED_SCHEMAS), (codes.NOT_COUNTER, _NOT_COUNTER), (codes.NOT_GAUGE, _NOT_GAUGE))
    for code, text in warnings:
        given.warn(text, rows[found.notes & code != 0])
    for code, what in ((sums.RECONCILED, "subtraction"), (codes.RECONCILED_RESETS, "addition")):
        if (found.notes & code).any():
            given.notes.info(f"{RECONCILED} {what}", given.argument)


def _last_two(*, rate: bool) -> _Function:
    def compute(given: NativeWindows) -> Natives:
        last, native_last = given.last_times(0)
        before, native_before = given.last_times(1)
        floats, natives = before > native_last, native_before > last
        mixed = ~floats & ~natives & (given.size + given.floats > 1)
        given.warn(MIXED_KINDS, np.flatnonzero(mixed.any(axis=1)))
        given.windows.there &= floats
        rows, _ = np.nonzero(natives)
        at = given.hi[natives] - 1
        histograms = given.natives.histograms
        gauges = np.stack([histograms.hint[at] == GAUGE, histograms.hint[at - 1] == GAUGE])
        if rate:
            given.warn(_NOT_COUNTER, rows[np.any(gauges, axis=0)])
        else:
            given.warn(_NOT_GAUGE, rows[~np.all(gauges, axis=0)])
        since = at - 1
        if rate:
            since = np.where(resets_of(histograms, at, since) | given.begins_anew(at, since), -1, since)
        found = combined(histograms, at, histograms, since, -1.0)
        given.warn(MIXED_SCHEMAS, rows[found.notes & codes.MIXED != 0])
        if (found.notes & sums.RECONCILED).any():
            given.notes.info(f"{RECONCILED} subtraction", given.argument)
        results = found.histograms
        if rate:
            times = given.natives.times_ms
            seconds = ((times[at] - times[at - 1]) / 1000.0)[found.places >= 0]
            results = results.divided(seconds)
        return Natives.placed(natives, found.places, results)

    return compute


# -- sums ------------------------------------------------------------------------------------------------------


def _folded(*, mean: bool) -> _Function:
    def compute(given: NativeWindows) -> Natives:
        there = given.drop_mixed()
        rows, _ = np.nonzero(there)
        given.allow(len(rows))
        order = np.arange(len(given.natives.times_ms))
        found = folded(given.natives.histograms, order, given.lo[there], given.hi[there], mean=mean, whole=True)
        given.warn(MIXED_SCHEMAS, rows[found.notes & codes.MIXED != 0])
        fits = found.notes[found.notes & codes.MIXED == 0]
        if (fits & sums.COLLISION).any():
            given.notes.warn(f"{COLLISION} aggregation", given.argument)
        if (fits & sums.RECONCILED).any():
            given.notes.info(f"{RECONCILED} aggregation", given.argument)
        return Natives.placed(there, found.places, found.histograms)

    return compute


# -- counts and picks ------------------------------------------------------------------------------------------


def _count(given: NativeWindows) -> None:
    given.windows.out += given.size
    given.windows.there |= given.size > 0


def _present(given: NativeWindows) -> None:
    given.windows.there |= given.size > 0


def _first_times(given: NativeWindows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    windows = given.windows
    floats = _time_at(windows.ranges.times_ms, windows.lo, given.floats > 0)
    natives = _time_at(given.natives.times_ms, given.lo, given.size > 0)
    return floats, natives


def _picked(*, last: bool) -> _Function:
    def compute(given: NativeWindows) -> Natives:
        float_times, native_times = given.last_times(0) if last else _first_times(given)
        nearer = native_times >= float_times if last else native_times <= float_times
        there = (given.size > 0) & ((given.floats == 0) | nearer)
        given.windows.there &= ~there
        places = (given.hi - 1 if last else given.lo)[there]
        return Natives.placed(there, places, given.natives.histograms)

    return compute


def _time_of(*, last: bool) -> _Function:
    def compute(given: NativeWindows) -> None:
        _, native_times = given.last_times(0) if last else _first_times(given)
        windows, there = given.windows, given.size > 0
        seconds = (np.maximum(native_times, 0) if last else native_times) / 1000.0
        nearer = seconds > windows.out if last else seconds < windows.out
        use = there & (~windows.there | nearer)
        windows.out[use] = seconds[use]
        windows.there |= there

    return compute


def _transitions(*, only_drops: bool) -> _Function:
    """Return ``resets`` or ``changes``: walks numbers and histograms by time; a change of kind counts, too."""

    def compute(given: NativeWindows) -> None:
        windows, natives = given.windows, given.natives
        ranges = windows.ranges
        kinds = np.repeat([0, 1], [len(ranges.times_ms), len(natives.times_ms)])
        series = np.arange(len(ranges.labels))
        owners = np.concatenate(
            [np.repeat(series, np.diff(ranges.offsets)), np.repeat(series, np.diff(natives.offsets))]
        )
        times = np.concatenate([ranges.times_ms, natives.times_ms])
        order = np.lexsort((times, owners))
        within = np.concatenate([_float_steps(ranges.values, only_drops), _native_steps(given, only_drops)])
        owners, kinds = owners[order], kinds[order]
        steps = within[order]
        steps[1:] |= kinds[1:] != kinds[:-1]
        before = np.concatenate([[0], np.cumsum(steps)])
        offsets = np.searchsorted(owners, np.arange(len(series) + 1)).astype(np.int64)
        lo, hi = np.empty_like(given.lo), np.empty_like(given.hi)
        ends = windows.ends
        window_kernels.bounds(offsets, times[order], ends.start_ms, ends.step_ms, ranges.range_ms, lo, hi)
        changed_ones = before[hi] - before[np.minimum(lo + 1, hi)]
        windows.out[:] = changed_ones
        np.greater(hi, lo, out=windows.there)

    return compute


def _float_steps(values: NDArray[np.float64], only_drops: bool) -> NDArray[np.bool_]:  # noqa: FBT001
    """Return whether each number is below the one before it, or other than it; the first of a series does not count."""
    steps = np.zeros(len(values), np.bool_)
    one, other = values[:-1], values[1:]
    steps[1:] = other < one if only_drops else (other != one) & ~(np.isnan(one) & np.isnan(other))
    return steps


def _native_steps(given: NativeWindows, only_drops: bool) -> NDArray[np.bool_]:  # noqa: FBT001
    if only_drops:
        return given.resets()
    before, histograms = given.natives.before(), given.natives.histograms
    known = np.flatnonzero(before >= 0)
    steps = np.zeros(len(before), np.bool_)
    steps[known] = ~equal(histograms, known, histograms, before[known])
    return steps


if TYPE_CHECKING:
    _Function = Callable[[NativeWindows], Natives | None]

_FUNCTIONS: dict[str, _Function] = {
    "rate": _extrapolated(counter=True, rate=True),
    "increase": _extrapolated(counter=True, rate=False),
    "delta": _extrapolated(counter=False, rate=False),
    "irate": _last_two(rate=True),
    "idelta": _last_two(rate=False),
    "sum_over_time": _folded(mean=False),
    "avg_over_time": _folded(mean=True),
    "count_over_time": _count,
    "present_over_time": _present,
    "last_over_time": _picked(last=True),
    "first_over_time": _picked(last=False),
    "ts_of_last_over_time": _time_of(last=True),
    "ts_of_first_over_time": _time_of(last=False),
    "changes": _transitions(only_drops=False),
    "resets": _transitions(only_drops=True),
}
