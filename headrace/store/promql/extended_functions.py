"""Functions of range vectors that know more than the samples in their windows.

``anchored`` and ``smoothed`` selectors look beyond the windows for the values at their ends, and counters may say when
they began to count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.identity import METRIC_NAME
from headrace.store.promql import extended_kernels, start_kernels, window_kernels
from headrace.store.promql.errors import ExecutionError
from headrace.store.promql.values import Ranges

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.store.promql.language.ast import Call, VectorSelector
    from headrace.store.promql.notes import Notes
    from headrace.store.promql.range_functions import Windows

    _Function = Callable[[Windows, list[NDArray[np.float64]], Call, Notes], None]

OVERLAP = "sample has start time that overlaps with previous sample timestamp"
"""Warning about start timestamps."""


def check_selector(selector: VectorSelector, function: str) -> None:
    """Refuse functions that cannot do with samples from beyond the windows.

    Raises:
        ExecutionError: `function` is one of them, and `selector` is anchored or smoothed.
    """
    for is_so, word, possible in ((selector.anchored, "anchored", ANCHORED), (selector.smoothed, "smoothed", SMOOTHED)):
        if is_so and function not in possible:
            names = ", ".join(sorted(possible))
            raise ExecutionError(f"{word} modifier can only be used with: {names} - not with {function}")


def variant(ranges: Ranges, function: str) -> _Function | None:
    """Return what computes `function` of samples that tell more; None where they do not."""
    if ranges.beyond.after_ms:
        return SMOOTHED[function]
    if ranges.beyond.before_ms:
        return ANCHORED[function]
    return _STARTED.get(function) if ranges.starts_ms is not None else None


def extended(ranges: Ranges) -> Ranges:
    """Return the samples in the one window of `ranges` with the values at both its ends, which belong to it."""
    n = len(ranges.labels)
    offsets = np.zeros(n + 1, np.int64)
    times, values = np.zeros(len(ranges.times_ms) + 2 * n, np.int64), np.zeros(len(ranges.times_ms) + 2 * n)
    begin, end = ranges.ends.start_ms - ranges.range_ms, ranges.ends.start_ms
    extended_kernels.extend(
        ranges.offsets, ranges.times_ms, ranges.values, begin, end, ranges.beyond.after_ms > 0, offsets, times, values
    )
    size = offsets[-1]
    return Ranges(ranges.labels, offsets, times[:size], values[:size], ranges.ends, ranges.range_ms + 1)


def _changes(*, counter: bool, rate: bool) -> _Function:
    def compute(windows: Windows, _params: list[NDArray[np.float64]], _node: Call, _notes: Notes) -> None:
        ranges, ends = windows.ranges, windows.ends
        extended_kernels.changes(
            ranges.times_ms, ranges.values, *windows.edges, ends.start_ms, ends.step_ms, ranges.range_ms,
            ranges.beyond.after_ms > 0, counter, rate, *windows.result,
        )  # fmt: skip

    return compute


def _anchored(*, only_drops: bool) -> _Function:
    def compute(windows: Windows, params: list[NDArray[np.float64]], node: Call, notes: Notes) -> None:
        ranges, ends = windows.ranges, windows.ends
        extended_kernels.anchor(ranges.times_ms, *windows.edges, ends.start_ms, ends.step_ms, ranges.range_ms)
        if only_drops and ranges.starts_ms is not None:
            _resets(windows, params, node, notes)
        else:
            window_kernels.transitions(ranges.values, *windows.edges, only_drops, *windows.result)

    return compute


_EXTENDED: dict[str, _Function] = {
    "delta": _changes(counter=False, rate=False),
    "increase": _changes(counter=True, rate=False),
    "rate": _changes(counter=True, rate=True),
}

SMOOTHED = _EXTENDED
"""Functions of smoothed selectors."""

ANCHORED = {**_EXTENDED, "changes": _anchored(only_drops=False), "resets": _anchored(only_drops=True)}
"""Functions of anchored selectors."""


# -- start timestamps ------------------------------------------------------------------------------------------


def _starts(ranges: Ranges) -> NDArray[np.int64]:
    if ranges.starts_ms is None:
        raise AssertionError("bug: samples without start timestamps")
    return ranges.starts_ms


def _extrapolated(*, rate: bool) -> _Function:
    def compute(windows: Windows, _params: list[NDArray[np.float64]], node: Call, notes: Notes) -> None:
        ranges, ends = windows.ranges, windows.ends
        overlaps = np.zeros(len(ranges.labels), np.bool_)
        start_kernels.extrapolated(
            ranges.times_ms, ranges.values, _starts(ranges), *windows.edges, ends.start_ms, ends.step_ms,
            ranges.range_ms, rate, *windows.result, overlaps,
        )  # fmt: skip
        for symbol in np.unique(ranges.labels.column(METRIC_NAME)[overlaps]).tolist():
            notes.warn(f'{OVERLAP} for metric "{ranges.labels.text(symbol)}"', node.args[0])

    return compute


def _last_two(windows: Windows, _params: list[NDArray[np.float64]], _node: Call, _notes: Notes) -> None:
    ranges = windows.ranges
    start_kernels.last_two(ranges.times_ms, ranges.values, _starts(ranges), *windows.edges, *windows.result)


def _resets(windows: Windows, _params: list[NDArray[np.float64]], _node: Call, _notes: Notes) -> None:
    ranges = windows.ranges
    start_kernels.resets(ranges.times_ms, ranges.values, _starts(ranges), *windows.edges, *windows.result)


_STARTED: dict[str, _Function] = {
    "increase": _extrapolated(rate=False),
    "irate": _last_two,
    "rate": _extrapolated(rate=True),
    "resets": _resets,
}
