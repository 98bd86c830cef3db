# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels over windows of samples.

Every function gets samples of n series (`times`, `values`), the rows ``lo[i, t]:hi[i, t]`` that lie in the window of
series i at step t, and writes (n, steps) `out` and `there`. Numerics are Prometheus' own, order of additions included.

Source:
    Prometheus 3.5, PromQL functions; A. Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher
    Summen", ZAMM 54 (1974), for the compensated sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import float_bits
from headrace.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STALE = np.uint64(0x7FF0000000000002)


@kernel
def add(x: float, total: float, c: float) -> tuple[float, float]:
    """Add `x` to a compensated sum; return the new sum and compensation."""
    t = total + x
    if np.isinf(t):
        c = 0.0
    elif abs(total) >= abs(x):
        c += (total - t) + x
    else:
        c += (x - t) + total
    return t, c


@kernel
def drop_stale(
    offsets: NDArray[np.int64],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    out_offsets: NDArray[np.int64],
    out_times: NDArray[np.int64],
    out_values: NDArray[np.float64],
) -> None:
    """Copy all samples but the stale markers."""
    m = 0
    for i in range(len(offsets) - 1):
        out_offsets[i] = m
        for j in range(offsets[i], offsets[i + 1]):
            if np.uint64(float_bits(values[j])) != _STALE:
                out_times[m] = times[j]
                out_values[m] = values[j]
                m += 1
    out_offsets[len(offsets) - 1] = m


@kernel
def count_stale(values: NDArray[np.float64]) -> int:
    """Count the stale markers."""
    n = 0
    for j in range(len(values)):
        if np.isnan(values[j]) and np.uint64(float_bits(values[j])) == _STALE:
            n += 1
    return n


@kernel
def newest(
    offsets: NDArray[np.int64],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    start: int,
    step: int,
    lookback: int,
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
    at: NDArray[np.int64],
) -> None:
    """Find the newest sample in ``(time - lookback, time]`` at each step; a stale marker there means none."""
    steps = out.shape[1]
    for i in range(len(offsets) - 1):
        j = offsets[i]
        end = offsets[i + 1]
        for t in range(steps):
            time = start + t * step
            while j < end and times[j] <= time:
                j += 1
            found = False
            if j > offsets[i] and times[j - 1] > time - lookback:
                value = values[j - 1]
                if not (np.isnan(value) and np.uint64(float_bits(value)) == _STALE):
                    out[i, t] = value
                    at[i, t] = times[j - 1]
                    found = True
            there[i, t] = found


@kernel
def bounds(
    offsets: NDArray[np.int64],
    times: NDArray[np.int64],
    start: int,
    step: int,
    window: int,
    lo: NDArray[np.int64],
    hi: NDArray[np.int64],
) -> None:
    """Find the rows in ``(time - window, time]`` at each step."""
    for i in range(len(offsets) - 1):
        a = offsets[i]
        b = offsets[i]
        end = offsets[i + 1]
        for t in range(lo.shape[1]):
            time = start + t * step
            while b < end and times[b] <= time:
                b += 1
            while a < b and times[a] <= time - window:
                a += 1
            lo[i, t] = a
            hi[i, t] = b


@kernel
def next_drops(offsets: NDArray[np.int64], values: NDArray[np.float64], out: NDArray[np.int64]) -> None:
    """Write for each row the next row of the series whose value is below the one before it, or the largest int64."""
    for i in range(len(offsets) - 1):
        following = np.int64(0x7FFFFFFFFFFFFFFF)
        for j in range(offsets[i + 1] - 1, offsets[i] - 1, -1):
            out[j] = following
            if j > offsets[i] and values[j] < values[j - 1]:
                following = j


@kernel
def extrapolated(
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    drops: NDArray[np.int64],
    lo: NDArray[np.int64],
    hi: NDArray[np.int64],
    start: int,
    step: int,
    window: int,
    is_counter: bool,
    is_rate: bool,
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> None:
    """Compute ``rate``, ``increase`` and ``delta``: what changed, extrapolated to the window's ends."""
    for i in range(lo.shape[0]):
        for t in range(lo.shape[1]):
            a = lo[i, t]
            b = hi[i, t] - 1
            if b <= a:
                continue
            first = values[a]
            increase = values[b] - first
            if is_counter:
                j = drops[a]
                while j <= b:
                    increase += values[j - 1]
                    j = drops[j]
            end = start + t * step
            to_start = float(times[a] - (end - window)) / 1000.0
            to_end = float(end - times[b]) / 1000.0
            sampled = float(times[b] - times[a]) / 1000.0
            gap = sampled / float(b - a)
            threshold = gap * 1.1
            if to_start >= threshold:
                to_start = gap / 2.0
            if is_counter:
                to_zero = to_start
                if increase > 0 and first >= 0:
                    to_zero = sampled * (first / increase)
                to_start = min(to_start, to_zero)
            if to_end >= threshold:
                to_end = gap / 2.0
            factor = (sampled + to_start + to_end) / sampled
            if is_rate:
                factor /= float(window) / 1000.0
            out[i, t] = increase * factor
            there[i, t] = True


@kernel
def last_two(
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    lo: NDArray[np.int64],
    hi: NDArray[np.int64],
    is_rate: bool,
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> None:
    """Compute ``irate`` and ``idelta`` from the last two samples."""
    for i in range(lo.shape[0]):
        for t in range(lo.shape[1]):
            b = hi[i, t] - 1
            if b <= lo[i, t] or times[b] == times[b - 1]:
                continue
            change = values[b] - values[b - 1]
            if is_rate:
                if values[b] < values[b - 1]:
                    change = values[b]
                change /= float(times[b] - times[b - 1]) / 1000.0
            out[i, t] = change
            there[i, t] = True


@kernel
def sums(
    values: NDArray[np.float64],
    lo: NDArray[np.int64],
    hi: NDArray[np.int64],
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> None:
    """Compute ``sum_over_time``."""
    for i in range(lo.shape[0]):
        for t in range(lo.shape[1]):
            if hi[i, t] == lo[i, t]:
                continue
            total = 0.0
            c = 0.0
            for j in range(lo[i, t], hi[i, t]):
                total, c = add(values[j], total, c)
            out[i, t] = total if np.isinf(total) else total + c
            there[i, t] = True


@kernel
def mean(values: NDArray[np.float64]) -> float:
    """Return the mean of values, without overflow."""
    total = 0.0
    c = 0.0
    middle = 0.0
    incremental = False
    n = 0
    for x in values:
        n += 1
        if not incremental:
            new, new_c = add(x, total, c)
            if not np.isinf(new):
                total = new
                c = new_c
                continue
            incremental = True
            if n > 1:
                middle = total / float(n - 1)
                c /= float(n - 1)
        q = float(n - 1) / float(n)
        middle, c = add(x / float(n), q * middle, q * c)
    return middle + c if incremental else total / float(n) + c / float(n)


@kernel
def means(
    values: NDArray[np.float64],
    lo: NDArray[np.int64],
    hi: NDArray[np.int64],
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> None:
    """Compute ``avg_over_time``."""
    for i in range(lo.shape[0]):
        for t in range(lo.shape[1]):
            if hi[i, t] > lo[i, t]:
                out[i, t] = mean(values[lo[i, t] : hi[i, t]])
                there[i, t] = True


@kernel
def extremes(
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    lo: NDArray[np.int64],
    hi: NDArray[np.int64],
    sign: float,
    want_time: bool,
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> None:
    """Compute the maximum (sign 1) or minimum (sign -1) or the time of it; NaN gives way to any number."""
    for i in range(lo.shape[0]):
        for t in range(lo.shape[1]):
            a = lo[i, t]
            if hi[i, t] == a:
                continue
            best = a
            for j in range(a, hi[i, t]):
                larger = values[j] * sign > values[best] * sign
                if larger or np.isnan(values[best]) or (want_time and values[j] == values[best]):
                    best = j
            out[i, t] = float(times[best]) / 1000.0 if want_time else values[best]
            there[i, t] = True


@kernel
def counts(lo: NDArray[np.int64], hi: NDArray[np.int64], out: NDArray[np.float64], there: NDArray[np.bool_]) -> None:
    """Compute ``count_over_time``."""
    for i in range(lo.shape[0]):
        for t in range(lo.shape[1]):
            out[i, t] = float(hi[i, t] - lo[i, t])
            there[i, t] = hi[i, t] > lo[i, t]


@kernel
def variances(
    values: NDArray[np.float64],
    lo: NDArray[np.int64],
    hi: NDArray[np.int64],
    root: bool,
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> None:
    """Compute ``stdvar_over_time`` and, with `root`, ``stddev_over_time``."""
    for i in range(lo.shape[0]):
        for t in range(lo.shape[1]):
            if hi[i, t] == lo[i, t]:
                continue
            n = 0.0
            middle = 0.0
            c_middle = 0.0
            aux = 0.0
            c_aux = 0.0
            for j in range(lo[i, t], hi[i, t]):
                n += 1.0
                delta = values[j] - (middle + c_middle)
                middle, c_middle = add(delta / n, middle, c_middle)
                aux, c_aux = add(delta * (values[j] - (middle + c_middle)), aux, c_aux)
            variance = (aux + c_aux) / n
            out[i, t] = np.sqrt(variance) if root else variance
            there[i, t] = True


@kernel
def quantile(q: float, values: NDArray[np.float64]) -> float:
    """Return the q-quantile; NaN counts as the smallest. Sorts `values`."""
    n = len(values)
    if n == 0 or np.isnan(q):
        return np.nan
    if q < 0:
        return -np.inf
    if q > 1:
        return np.inf
    values.sort()
    missing = 0
    for x in values:
        if np.isnan(x):
            missing += 1
    rank = q * float(n - 1)
    lower = int(max(0.0, np.floor(rank)))
    upper = min(n - 1, lower + 1)
    weight = rank - np.floor(rank)
    # Sorting puts NaN last; the quantile wants it first.
    low = values[lower - missing] if lower >= missing else np.nan
    high = values[upper - missing] if upper >= missing else np.nan
    return low * (1.0 - weight) + high * weight


@kernel
def quantiles(
    q: NDArray[np.float64],
    values: NDArray[np.float64],
    lo: NDArray[np.int64],
    hi: NDArray[np.int64],
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> None:
    """Compute ``quantile_over_time``; `q` is (steps,)."""
    for i in range(lo.shape[0]):
        for t in range(lo.shape[1]):
            if hi[i, t] > lo[i, t]:
                out[i, t] = quantile(q[t], values[lo[i, t] : hi[i, t]].copy())
                there[i, t] = True


@kernel
def deviations(
    values: NDArray[np.float64],
    lo: NDArray[np.int64],
    hi: NDArray[np.int64],
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> None:
    """Compute ``mad_over_time``: the median distance from the median."""
    for i in range(lo.shape[0]):
        for t in range(lo.shape[1]):
            if hi[i, t] > lo[i, t]:
                window = values[lo[i, t] : hi[i, t]].copy()
                middle = quantile(0.5, window)
                out[i, t] = np.nan if np.isnan(window).any() else quantile(0.5, np.abs(window - middle))
                there[i, t] = True


@kernel
def picked(
    values: NDArray[np.float64],
    lo: NDArray[np.int64],
    hi: NDArray[np.int64],
    last: bool,
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> None:
    """Take the first or the last of `values` in each window."""
    for i in range(lo.shape[0]):
        for t in range(lo.shape[1]):
            if hi[i, t] > lo[i, t]:
                out[i, t] = values[hi[i, t] - 1] if last else values[lo[i, t]]
                there[i, t] = True


@kernel
def transitions(
    values: NDArray[np.float64],
    lo: NDArray[np.int64],
    hi: NDArray[np.int64],
    only_drops: bool,
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> None:
    """Compute ``changes`` and, with `only_drops`, ``resets``."""
    for i in range(lo.shape[0]):
        for t in range(lo.shape[1]):
            if hi[i, t] == lo[i, t]:
                continue
            n = 0
            for j in range(lo[i, t] + 1, hi[i, t]):
                one = values[j - 1]
                other = values[j]
                if only_drops:
                    n += other < one
                elif other != one and not (np.isnan(other) and np.isnan(one)):
                    n += 1
            out[i, t] = float(n)
            there[i, t] = True


@kernel
def regressions(
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    lo: NDArray[np.int64],
    hi: NDArray[np.int64],
    start: int,
    step: int,
    ahead: NDArray[np.float64],
    predict: bool,
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> None:
    """Compute ``deriv`` or, `ahead` seconds (steps,) from each step, ``predict_linear``, by least squares."""
    for i in range(lo.shape[0]):
        for t in range(lo.shape[1]):
            a = lo[i, t]
            if hi[i, t] - a < 2:
                continue
            origin = start + t * step if predict else times[a]
            n = 0.0
            x_sum = 0.0
            x_c = 0.0
            y_sum = 0.0
            y_c = 0.0
            xy_sum = 0.0
            xy_c = 0.0
            xx_sum = 0.0
            xx_c = 0.0
            constant = True
            for j in range(a, hi[i, t]):
                y = values[j]
                if y != values[a]:
                    constant = False
                n += 1.0
                x = float(times[j] - origin) / 1000.0
                x_sum, x_c = add(x, x_sum, x_c)
                y_sum, y_c = add(y, y_sum, y_c)
                xy_sum, xy_c = add(x * y, xy_sum, xy_c)
                xx_sum, xx_c = add(x * x, xx_sum, xx_c)
            if constant:
                slope = np.nan if np.isinf(values[a]) else 0.0
                intercept = np.nan if np.isinf(values[a]) else values[a]
            else:
                x_sum += x_c
                y_sum += y_c
                covariance = (xy_sum + xy_c) - x_sum * y_sum / n
                variance = (xx_sum + xx_c) - x_sum * x_sum / n
                slope = covariance / variance
                intercept = y_sum / n - slope * x_sum / n
            out[i, t] = slope * ahead[t] + intercept if predict else slope
            there[i, t] = True


@kernel
def smoothings(
    values: NDArray[np.float64],
    lo: NDArray[np.int64],
    hi: NDArray[np.int64],
    smoothing: NDArray[np.float64],
    trend: NDArray[np.float64],
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> None:
    """Compute ``double_exponential_smoothing``; both factors are (steps,)."""
    for i in range(lo.shape[0]):
        for t in range(lo.shape[1]):
            a = lo[i, t]
            if hi[i, t] - a < 2:
                continue
            sf = smoothing[t]
            tf = trend[t]
            before = 0.0
            level = values[a]
            slope = values[a + 1] - values[a]
            for j in range(a + 1, hi[i, t]):
                if j > a + 1:
                    slope = tf * (level - before) + (1.0 - tf) * slope
                following = sf * values[j] + (1.0 - sf) * (level + slope)
                before = level
                level = following
            out[i, t] = level
            there[i, t] = True
