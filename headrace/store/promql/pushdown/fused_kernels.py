# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels of the usual range functions, which walk the samples of a series once for all steps.

Bounds of windows, and all that depends on times alone, are found once for series that have their times in common.
Numerics are those of `window_kernels`, to the last bit: each result is what that module's kernel of the same function
gives for the window by itself.

Most take the samples of n series as `headrace.store.runs.SeriesSamples` holds them, without stale markers, then the
time of the first step, the length of a step and that of the window, and write (n, steps) `out` and `there`, and add to
`looked`, (steps,) int64, the samples in the windows of each step. `lo` and `hi` are scratch, (steps,) int64 each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import float_bits
from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXACT = 9007199254740992.0
_NEVER = np.int64(0x7FFFFFFFFFFFFFFF)
_STALE = np.uint64(0x7FF0000000000002)

COUNT, PRESENT, LAST, FIRST = range(4)


@kernel
def window_bounds(
    times: NDArray[np.int64], start: int, step: int, window: int, lo: NDArray[np.int64], hi: NDArray[np.int64]
) -> None:
    """Find the places of `times` in ``(time - window, time]`` at each step."""
    a = 0
    b = 0
    end = len(times)
    for t in range(len(lo)):
        time = start + t * step
        while b < end and times[b] <= time:
            b += 1
        while a < b and times[a] <= time - window:
            a += 1
        lo[t] = a
        hi[t] = b


@kernel
def count_looked(lo: NDArray[np.int64], hi: NDArray[np.int64], series: int, looked: NDArray[np.int64]) -> None:
    """Count the samples of `series` series that have the same windows."""
    for t in range(len(lo)):
        looked[t] += series * (hi[t] - lo[t])


@kernel
def following_drops(values: NDArray[np.float64], drops: NDArray[np.int64]) -> bool:
    """Write the next place at which the value is below the one before it, or the largest int64; False without any.

    `drops` is left alone without any.
    """
    n = len(values)
    found = 0
    for j in range(1, n):
        found += values[j] < values[j - 1]
    if found == 0:
        return False
    following = _NEVER
    for j in range(n - 1, -1, -1):
        drops[j] = following
        if j > 0 and values[j] < values[j - 1]:
            following = j
    return True


@kernel
def extrapolations(
    times: NDArray[np.int64], start: int, step: int, window: int, is_rate: bool, lo: NDArray[np.int64],
    hi: NDArray[np.int64], spans: NDArray[np.float64],
) -> None:  # fmt: skip
    """Find what the times alone say about each window.

    Args:
        times: (m,) int64.
        start: Of the first step.
        step: Between steps.
        window: Length of a window.
        is_rate: Whether the factor is per second.
        lo: (steps,) first place in each window.
        hi: (steps,) place after the last one.
        spans: (4, steps) out: seconds sampled, seconds to add at the start and at the end, and the factor of the
            increase, where a counter does not begin within the window.
    """
    for t in range(len(lo)):
        a = lo[t]
        b = hi[t] - 1
        if b <= a:
            continue
        end = start + t * step
        to_start = float(times[a] - (end - window)) / 1000.0
        to_end = float(end - times[b]) / 1000.0
        sampled = float(times[b] - times[a]) / 1000.0
        gap = sampled / float(b - a)
        threshold = gap * 1.1
        if to_start >= threshold:
            to_start = gap / 2.0
        if to_end >= threshold:
            to_end = gap / 2.0
        factor = (sampled + to_start + to_end) / sampled
        if is_rate:
            factor /= float(window) / 1000.0
        spans[0, t] = sampled
        spans[1, t] = to_start
        spans[2, t] = to_end
        spans[3, t] = factor


@kernel
def increases(
    values: NDArray[np.float64], drops: NDArray[np.int64], has_drops: bool, is_counter: bool, is_rate: bool,
    window: int, lo: NDArray[np.int64], hi: NDArray[np.int64], spans: NDArray[np.float64], out: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Compute the extrapolated change of one series in each window."""
    for t in range(len(lo)):
        a = lo[t]
        b = hi[t] - 1
        there[t] = b > a
        if b <= a:
            out[t] = 0.0
            continue
        first = values[a]
        increase = values[b] - first
        if has_drops:
            j = drops[a]
            while j <= b:
                increase += values[j - 1]
                j = drops[j]
        factor = spans[3, t]
        # The counter would have been zero within the window. Where it began at twice the increase or more, it was
        # zero two windows ago or before.
        if is_counter and increase > 0 and first >= 0 and not first >= 2.0 * increase:
            to_zero = spans[0, t] * (first / increase)
            if to_zero < spans[1, t]:
                factor = (spans[0, t] + to_zero + spans[2, t]) / spans[0, t]
                if is_rate:
                    factor /= float(window) / 1000.0
        out[t] = increase * factor


@kernel
def rates(
    places: NDArray[np.int64], counts: NDArray[np.int64], time_places: NDArray[np.int64], times: NDArray[np.int64],
    values: NDArray[np.float64], start: int, step: int, window: int, is_counter: bool, is_rate: bool,
    spans: NDArray[np.float64], drops: NDArray[np.int64], lo: NDArray[np.int64], hi: NDArray[np.int64],
    out: NDArray[np.float64], there: NDArray[np.bool_], looked: NDArray[np.int64],
) -> None:  # fmt: skip
    """Compute ``rate``, ``increase`` and ``delta``.

    Args:
        places: (n,).
        counts: (n,).
        time_places: (n,).
        times: Of all series.
        values: Of all series.
        start: See the module, as all that is not named here.
        step: See there.
        window: See there.
        is_counter: Whether a value below the one before it is a counter that began anew.
        is_rate: Whether the result is per second.
        spans: (4, steps) float64 scratch.
        drops: (most samples of a series,) int64 scratch; only of counters.
        lo: See there.
        hi: See there.
        out: See there.
        there: See there.
        looked: See there.
    """
    held = -1
    held_count = -1
    alike = 0
    for i in range(len(places)):
        count = counts[i]
        if time_places[i] != held or count != held_count:
            count_looked(lo, hi, alike, looked)
            alike = 0
            held = time_places[i]
            held_count = count
            own = times[held : held + count]
            window_bounds(own, start, step, window, lo, hi)
            extrapolations(own, start, step, window, is_rate, lo, hi, spans)
        alike += 1
        series = values[places[i] : places[i] + count]
        has_drops = is_counter and following_drops(series, drops)
        increases(series, drops, has_drops, is_counter, is_rate, window, lo, hi, spans, out[i], there[i])
    count_looked(lo, hi, alike, looked)


@kernel
def exact_sums(values: NDArray[np.float64], sums: NDArray[np.float64]) -> bool:
    """Write the running sums, ``sums[j]`` of the values before j; False where any sum of them may be rounded."""
    total = 0.0
    whole = True
    for j in range(len(values)):
        whole &= values[j] == np.rint(values[j])
        total += abs(values[j])
    if not (whole and total < _EXACT):
        return False
    running = 0.0
    sums[0] = 0.0
    for j in range(len(values)):
        running += values[j]
        sums[j + 1] = running
    return True


@kernel
def add(x: float, total: float, c: float) -> tuple[float, float]:
    """Add `x` to a compensated sum; see `window_kernels.add`."""
    t = total + x
    if np.isinf(t):
        c = 0.0
    elif abs(total) >= abs(x):
        c += (total - t) + x
    else:
        c += (x - t) + total
    return t, c


@kernel
def compensated(values: NDArray[np.float64], a: int, b: int, is_mean: bool) -> float:
    """Return the sum or mean of ``values[a:b]``; see `window_kernels.sums` and `window_kernels.mean`."""
    total = 0.0
    c = 0.0
    middle = 0.0
    incremental = False
    n = 0
    for j in range(a, b):
        x = values[j]
        n += 1
        if not incremental:
            new, new_c = add(x, total, c)
            if not (is_mean and np.isinf(new)):
                total = new
                c = new_c
                continue
            incremental = True
            if n > 1:
                middle = total / float(n - 1)
                c /= float(n - 1)
        q = float(n - 1) / float(n)
        middle, c = add(x / float(n), q * middle, q * c)
    if not is_mean:
        return total if np.isinf(total) else total + c
    return middle + c if incremental else total / float(n) + c / float(n)


@kernel
def sums_of_windows(
    values: NDArray[np.float64], is_mean: bool, lo: NDArray[np.int64], hi: NDArray[np.int64],
    running: NDArray[np.float64], out: NDArray[np.float64], there: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Compute the sum or mean of one series in each window."""
    exact = exact_sums(values, running)
    for t in range(len(lo)):
        a = lo[t]
        b = hi[t]
        there[t] = b > a
        out[t] = 0.0
        if b <= a:
            continue
        if not exact:
            out[t] = compensated(values, a, b, is_mean)
        else:
            # Where no partial sum is rounded, there is nothing to compensate, and any order gives the same.
            total = running[b] - running[a]
            out[t] = total / float(b - a) if is_mean else total


@kernel
def sums(
    places: NDArray[np.int64], counts: NDArray[np.int64], time_places: NDArray[np.int64], times: NDArray[np.int64],
    values: NDArray[np.float64], start: int, step: int, window: int, is_mean: bool,
    running: NDArray[np.float64], lo: NDArray[np.int64], hi: NDArray[np.int64], out: NDArray[np.float64],
    there: NDArray[np.bool_], looked: NDArray[np.int64],
) -> None:  # fmt: skip
    """Compute ``sum_over_time`` and ``avg_over_time``; `running` is float64 scratch, most samples of a series + 1."""
    held = -1
    held_count = -1
    alike = 0
    for i in range(len(places)):
        if time_places[i] != held or counts[i] != held_count:
            count_looked(lo, hi, alike, looked)
            alike = 0
            held = time_places[i]
            held_count = counts[i]
            window_bounds(times[held : held + held_count], start, step, window, lo, hi)
        alike += 1
        sums_of_windows(values[places[i] : places[i] + held_count], is_mean, lo, hi, running, out[i], there[i])
    count_looked(lo, hi, alike, looked)


@kernel
def extremes_of_windows(
    values: NDArray[np.float64], sign: float, lo: NDArray[np.int64], hi: NDArray[np.int64],
    queue: NDArray[np.int64], out: NDArray[np.float64], there: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Find the extreme of one series in each window.

    `queue` holds the places that may still become one, the best first: each is better than all behind it, and of
    equal ones the first stands. A NaN is worse than any number, and better than an older NaN.
    """
    front = 0
    back = 0
    pushed = 0
    for t in range(len(lo)):
        while pushed < hi[t]:
            x = values[pushed] * sign
            while back > front:
                last = values[queue[back - 1]] * sign
                if not (np.isnan(last) or last < x):
                    break
                back -= 1
            queue[back] = pushed
            back += 1
            pushed += 1
        while front < back and queue[front] < lo[t]:
            front += 1
        there[t] = hi[t] > lo[t]
        out[t] = values[queue[front]] if hi[t] > lo[t] else 0.0


@kernel
def extremes(
    places: NDArray[np.int64], counts: NDArray[np.int64], time_places: NDArray[np.int64], times: NDArray[np.int64],
    values: NDArray[np.float64], start: int, step: int, window: int, sign: float,
    queue: NDArray[np.int64], lo: NDArray[np.int64], hi: NDArray[np.int64], out: NDArray[np.float64],
    there: NDArray[np.bool_], looked: NDArray[np.int64],
) -> None:  # fmt: skip
    """Compute ``max_over_time`` (sign 1) and ``min_over_time`` (sign -1); `queue` is int64 scratch, most samples."""
    held = -1
    held_count = -1
    alike = 0
    for i in range(len(places)):
        if time_places[i] != held or counts[i] != held_count:
            count_looked(lo, hi, alike, looked)
            alike = 0
            held = time_places[i]
            held_count = counts[i]
            window_bounds(times[held : held + held_count], start, step, window, lo, hi)
        alike += 1
        extremes_of_windows(values[places[i] : places[i] + held_count], sign, lo, hi, queue, out[i], there[i])
    count_looked(lo, hi, alike, looked)


@kernel
def picked(
    places: NDArray[np.int64], counts: NDArray[np.int64], time_places: NDArray[np.int64], times: NDArray[np.int64],
    values: NDArray[np.float64], start: int, step: int, window: int, what: int, lo: NDArray[np.int64],
    hi: NDArray[np.int64], out: NDArray[np.float64], there: NDArray[np.bool_], looked: NDArray[np.int64],
) -> None:  # fmt: skip
    """Compute what `what` says: COUNT, PRESENT, LAST or FIRST ``_over_time``."""
    held = -1
    held_count = -1
    alike = 0
    for i in range(len(places)):
        if time_places[i] != held or counts[i] != held_count:
            count_looked(lo, hi, alike, looked)
            alike = 0
            held = time_places[i]
            held_count = counts[i]
            window_bounds(times[held : held + held_count], start, step, window, lo, hi)
        alike += 1
        place = places[i]
        for t in range(len(lo)):
            n = hi[t] - lo[t]
            there[i, t] = n > 0
            if what == COUNT:
                out[i, t] = float(n)
            elif n == 0 or what == PRESENT:
                out[i, t] = 1.0
            else:
                out[i, t] = values[place + (hi[t] - 1 if what == LAST else lo[t])]
    count_looked(lo, hi, alike, looked)


@kernel
def newest(
    places: NDArray[np.int64], counts: NDArray[np.int64], time_places: NDArray[np.int64], times: NDArray[np.int64],
    values: NDArray[np.float64], start: int, step: int, lookback: int, at: NDArray[np.int64],
    out: NDArray[np.float64], there: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Find the newest sample in ``(time - lookback, time]`` at each step; a stale marker there means none.

    `at` is scratch, (steps,) int64.
    """
    held = -1
    held_count = -1
    for i in range(len(places)):
        if time_places[i] != held or counts[i] != held_count:
            held = time_places[i]
            held_count = counts[i]
            own = times[held : held + held_count]
            j = 0
            for t in range(len(at)):
                time = start + t * step
                while j < held_count and own[j] <= time:
                    j += 1
                at[t] = j - 1 if j > 0 and own[j - 1] > time - lookback else -1
        place = places[i]
        for t in range(len(at)):
            value = values[place + at[t]] if at[t] >= 0 else 0.0
            stale = np.isnan(value) and np.uint64(float_bits(value)) == _STALE
            there[i, t] = at[t] >= 0 and not stale
            out[i, t] = value


@kernel
def count_stale(
    places: NDArray[np.int64], counts: NDArray[np.int64], values: NDArray[np.float64], out: NDArray[np.int64]
) -> int:
    """Count the stale markers of each series into `out`, (n,); return how many samples the series with some have."""
    room = 0
    for i in range(len(places)):
        own = values[places[i] : places[i] + counts[i]]
        found = 0
        # Without a branch for each sample: NaN of any kind is rare.
        for j in range(len(own)):
            found += np.isnan(own[j])
        if found > 0:
            found = 0
            for j in range(len(own)):
                found += np.uint64(float_bits(own[j])) == _STALE
        out[i] = found
        room += counts[i] if found else 0
    return room


@kernel
def drop_stale(
    stale: NDArray[np.int64], at: int, places: NDArray[np.int64], counts: NDArray[np.int64],
    time_places: NDArray[np.int64], times: NDArray[np.int64], values: NDArray[np.float64],
) -> None:  # fmt: skip
    """Copy the series with stale markers, `stale` of each, without these to place `at` and behind; they point there."""
    for i in range(len(places)):
        if stale[i] == 0:
            continue
        begin = at
        for j in range(counts[i]):
            value = values[places[i] + j]
            if np.uint64(float_bits(value)) != _STALE:
                values[at] = value
                times[at] = times[time_places[i] + j]
                at += 1
        places[i] = begin
        time_places[i] = begin
        counts[i] = at - begin
