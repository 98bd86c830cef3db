# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels of the functions of counters whose samples say when their counting began.

Samples, windows, `out` and `there` are those of `window_kernels`; `starts` is (m,) int64, milliseconds at which the
counting of each sample began, 0 where that is not known.

Source:
    Prometheus 3.14, ``rate``, ``irate``, ``increase`` and ``resets`` with start timestamps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@kernel
def begins_anew(start_before: int, time_before: int, start: int, time: int) -> bool:
    """Return whether a sample counts from a later time on than the one before it.

    A start that is not before its sample is as good as unknown. One that is the time of the sample before is a new
    beginning only where that sample knew its own start: it is a delta then, and else the start is a guess.
    """
    if start == 0 or start >= time or start < time_before:
        return False
    if start > time_before:
        return True
    return start_before != 0 and start_before < time_before


@kernel
def extrapolated(
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    starts: NDArray[np.int64],
    lo: NDArray[np.int64],
    hi: NDArray[np.int64],
    begin: int,
    step: int,
    window: int,
    is_rate: bool,
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
    overlaps: NDArray[np.bool_],
) -> None:
    """Compute ``rate`` and ``increase``.

    Where the first sample of a window began to count within it, the counter was zero then, and nothing is extrapolated
    to that side.

    Args:
        times: (m,).
        values: (m,).
        starts: (m,).
        lo: (n, steps).
        hi: (n, steps).
        begin: End of the first window.
        step: From one end to the next.
        window: Length of the windows.
        is_rate: Whether per second.
        out: (n, steps).
        there: (n, steps).
        overlaps: (n,) set to whether some sample of a window began to count before the one before it, and yet at
            another time than that.
    """
    for i in range(lo.shape[0]):
        for t in range(lo.shape[1]):
            a = lo[i, t]
            b = hi[i, t] - 1
            if b < a:
                continue
            increase = values[b] - values[a]
            for j in range(a + 1, b + 1):
                if starts[j] != 0 and starts[j] < times[j - 1] and starts[j] != starts[j - 1]:
                    overlaps[i] = True
                if values[j] < values[j - 1] or begins_anew(starts[j - 1], times[j - 1], starts[j], times[j]):
                    increase += values[j - 1]
            end = begin + t * step
            to_start = float(times[a] - (end - window)) / 1000.0
            to_end = float(end - times[b]) / 1000.0
            sampled = float(times[b] - times[a]) / 1000.0
            gap = sampled / float(b - a) if b > a else 0.0
            threshold = gap * 1.1
            if starts[a] != 0 and end - window < starts[a] < times[a]:
                to_start = 0.0
                sampled = float(times[b] - starts[a]) / 1000.0
                increase += values[a]
            elif a == b:
                continue
            else:
                if to_start >= threshold:
                    to_start = gap / 2.0
                if increase > 0 and values[a] >= 0:
                    to_start = min(to_start, sampled * (values[a] / increase))
            if to_end >= threshold:
                to_end = gap / 2.0
            factor = (sampled + to_start + to_end) / sampled if sampled != 0 else 1.0
            if is_rate:
                factor /= float(window) / 1000.0
            out[i, t] = increase * factor
            there[i, t] = True


@kernel
def last_two(
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    starts: NDArray[np.int64],
    lo: NDArray[np.int64],
    hi: NDArray[np.int64],
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> None:
    """Compute ``irate`` from the last two samples."""
    for i in range(lo.shape[0]):
        for t in range(lo.shape[1]):
            b = hi[i, t] - 1
            if b <= lo[i, t]:
                continue
            change = values[b]
            if not (values[b] < values[b - 1] or begins_anew(starts[b - 1], times[b - 1], starts[b], times[b])):
                change -= values[b - 1]
            out[i, t] = change / (float(times[b] - times[b - 1]) / 1000.0)
            there[i, t] = True


@kernel
def resets(
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    starts: NDArray[np.int64],
    lo: NDArray[np.int64],
    hi: NDArray[np.int64],
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> None:
    """Count the samples that are below the one before them, or began to count anew."""
    for i in range(lo.shape[0]):
        for t in range(lo.shape[1]):
            n = 0
            for j in range(lo[i, t] + 1, hi[i, t]):
                n += values[j] < values[j - 1] or begins_anew(starts[j - 1], times[j - 1], starts[j], times[j])
            out[i, t] = float(n)
            there[i, t] = hi[i, t] > lo[i, t]
