# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels of ``anchored`` and ``smoothed`` selectors, which know the values at the ends of their windows.

Samples, windows, `out` and `there` are those of `window_kernels`, without stale markers; but ``lo[i, t]:hi[i, t]``
reaches as far beyond the window of step t as the selector looks: back, and for ``smoothed`` ahead too.

Source:
    Prometheus 3.14, extended range selectors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@kernel
def between(times: NDArray[np.int64], values: NDArray[np.float64], j: int, time: int, is_counter: bool) -> float:
    """Return the value at `time` on the line from sample `j` to the next; a counter that falls began at zero."""
    one = values[j]
    other = values[j + 1]
    if is_counter and other < one:
        one = 0.0
    return one + (other - one) * float(time - times[j]) / float(times[j + 1] - times[j])


@kernel
def first_after(times: NDArray[np.int64], a: int, b: int, time: int) -> int:
    """Return the first of the samples `a` to `b` that is later than `time`; `b` where none is."""
    while a < b:
        middle = (a + b) // 2
        if times[middle] > time:
            b = middle
        else:
            a = middle + 1
    return a


@kernel
def window_of(times: NDArray[np.int64], a: int, b: int, begin: int, end: int, is_smoothed: bool) -> tuple[int, int]:
    """Find the samples that a window begins and ends with.

    Args:
        times: (m,).
        a: First sample that the selector sees.
        b: Last one, not before `a`.
        begin: Of the window, in milliseconds.
        end: Of the window.
        is_smoothed: Whether samples behind the end are seen.

    Returns:
        The last sample up to `begin`, or the first one behind it, and the first sample from `end` on, or the last one
        before it; (-1, -1) where the window has nothing to tell.
    """
    first = max(a, first_after(times, a, b, begin) - 1)
    last = first_after(times, a, b, end - 1) if is_smoothed else b
    if times[last] <= begin or (is_smoothed and times[first] > end):
        return -1, -1
    return first, last


@kernel
def at_begin(
    times: NDArray[np.int64], values: NDArray[np.float64], first: int, begin: int, is_smoothed: bool, is_counter: bool
) -> float:
    """Return the value at the beginning of a window."""
    if is_smoothed and times[first] < begin:
        return between(times, values, first, begin, is_counter)
    return values[first]


@kernel
def at_end(
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    a: int,
    last: int,
    end: int,
    is_smoothed: bool,
    is_counter: bool,
) -> float:
    """Return the value at the end of a window; `a` is the first sample that the selector sees."""
    if is_smoothed and last > a and times[last] > end:
        return between(times, values, last - 1, end, is_counter)
    return values[last]


@kernel
def changes(
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    lo: NDArray[np.int64],
    hi: NDArray[np.int64],
    start: int,
    step: int,
    window: int,
    is_smoothed: bool,
    is_counter: bool,
    is_rate: bool,
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> None:
    """Compute ``rate``, ``increase`` and ``delta`` from the values at both ends."""
    for i in range(lo.shape[0]):
        for t in range(lo.shape[1]):
            if hi[i, t] == lo[i, t]:
                continue
            end = start + t * step
            first, last = window_of(times, lo[i, t], hi[i, t] - 1, end - window, end, is_smoothed)
            if first < 0:
                continue
            before = at_begin(times, values, first, end - window, is_smoothed, is_counter)
            after = at_end(times, values, lo[i, t], last, end, is_smoothed, is_counter)
            change = after - before
            if is_counter:
                # Added up apart, as the result may differ in the last bit.
                missing = 0.0
                for j in range(first + (times[first] <= end - window), last + (times[last] < end)):
                    if values[j] < before:
                        missing += before
                    before = values[j]
                if after < before:
                    missing += before
                change += missing
            if is_rate:
                change /= float(window) / 1000.0
            out[i, t] = change
            there[i, t] = True


@kernel
def anchor(
    times: NDArray[np.int64], lo: NDArray[np.int64], hi: NDArray[np.int64], start: int, step: int, window: int
) -> None:
    """Let windows begin with the last sample up to their beginning; those without a later one become empty."""
    for i in range(lo.shape[0]):
        for t in range(lo.shape[1]):
            begin = start + t * step - window
            after = first_after(times, lo[i, t], hi[i, t], begin)
            lo[i, t] = hi[i, t] if after == hi[i, t] else max(lo[i, t], after - 1)


@kernel
def smooth(
    offsets: NDArray[np.int64],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    start: int,
    step: int,
    lookback: int,
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> None:
    """Find the value at each step on the line between the samples around it, none of them `lookback` away or more.

    Behind the last sample its value stays; the window is open at its beginning and closed at its end.
    """
    for i in range(len(offsets) - 1):
        j = offsets[i]
        for t in range(out.shape[1]):
            time = start + t * step
            while j < offsets[i + 1] and times[j] < time:
                j += 1
            is_before = j > offsets[i] and times[j - 1] > time - lookback
            is_after = j < offsets[i + 1] and times[j] <= time + lookback
            if is_after and times[j] == time:
                out[i, t] = values[j]
            elif is_before and is_after:
                out[i, t] = between(times, values, j - 1, time, False)
            elif is_before:
                out[i, t] = values[j - 1]
            else:
                continue
            there[i, t] = True


@kernel
def extend(
    offsets: NDArray[np.int64],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    begin: int,
    end: int,
    is_smoothed: bool,
    out_offsets: NDArray[np.int64],
    out_times: NDArray[np.int64],
    out_values: NDArray[np.float64],
) -> None:
    """Write the samples of one window for each series, with those at both its ends.

    Args:
        offsets: (n + 1,) samples that the selector sees, by series.
        times: (m,).
        values: (m,).
        begin: Of the window.
        end: Of the window.
        is_smoothed: Whether the values at the ends are on the line between the samples around them.
        out_offsets: (n + 1,).
        out_times: (m + 2 n,), the first ``out_offsets[n]`` are written.
        out_values: As `out_times`.
    """
    m = 0
    for i in range(len(offsets) - 1):
        out_offsets[i] = m
        a = offsets[i]
        if offsets[i + 1] == a:
            continue
        first, last = window_of(times, a, offsets[i + 1] - 1, begin, end, False)
        if first < 0:
            continue
        if is_smoothed:
            last = first_after(times, a, last, end - 1)
        out_times[m] = begin
        out_values[m] = at_begin(times, values, first, begin, is_smoothed, False)
        m += 1
        for j in range(first + (times[first] <= begin), last + (times[last] < end)):
            out_times[m] = times[j]
            out_values[m] = values[j]
            m += 1
        out_times[m] = end
        out_values[m] = at_end(times, values, a, last, end, is_smoothed, False)
        m += 1
    out_offsets[len(offsets) - 1] = m


@kernel
def starts(
    offsets: NDArray[np.int64],
    times: NDArray[np.int64],
    begins: NDArray[np.int64],
    at: NDArray[np.int64],
    there: NDArray[np.bool_],
    out: NDArray[np.float64],
) -> None:
    """Look up in seconds when the counting of samples began, of which (n, steps) `at` are the times."""
    for i in range(len(offsets) - 1):
        j = offsets[i]
        for t in range(at.shape[1]):
            if there[i, t]:
                while times[j] < at[i, t]:
                    j += 1
                out[i, t] = float(begins[j]) / 1000.0
