# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return,no-untyped-call"
"""Kernels of quantiles, fractions and variances of native histograms.

Within custom buckets and the zero bucket, observations are taken to lie evenly; within exponential buckets, their
logarithms.

Source:
    Prometheus 3.14, ``histogram_quantile``, ``histogram_fraction``, ``histogram_stdvar``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel
from headrace.store.promql.natives.bucket_kernels import around_zero, bucket, size
from headrace.store.promql.natives.total_kernels import CUSTOM
from headrace.store.promql.window_kernels import add as compensated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.store.promql.natives.float_histograms import Columns

# What is to be said about results.
IS_NAN = 1
"""Observations that are NaN make the result NaN."""

IS_SKEWED = 2
"""Observations that are NaN make the result too high."""

HAS_NAN = 4
"""Observations that are NaN are part of no fraction."""


@kernel
def within(table: Columns, row: int, lower: float, upper: float, share: float) -> float:
    """Return the value below which `share` of the observations of a bucket lie."""
    if table.schema[row] == CUSTOM or lower <= 0 <= upper:
        return lower + (upper - lower) * share
    low, high = np.log2(abs(lower)), np.log2(abs(upper))
    if lower > 0:
        return np.exp2(low + (high - low) * share)
    return -np.exp2(high + (low - high) * (1.0 - share))


@kernel
def quantile(table: Columns, row: int, q: float) -> tuple[float, int]:
    """Return a quantile of a histogram, and what is to be said about it."""
    if q < 0:
        return -np.inf, 0
    if q > 1:
        return np.inf, 0
    total = table.total_count[row]
    if total == 0 or np.isnan(q):
        return np.nan, 0
    # NaN counts as an observation without a bucket, above all others.
    has_nan = np.isnan(table.total_sum[row])
    forward = has_nan or q < 0.5
    rank = q * total if forward else (1.0 - q) * total
    n = size(table, row)
    i = 0
    seen = 0.0
    lower, upper, count = 0.0, 0.0, 0.0
    while i < n:
        lower, upper, count = bucket(table, row, i if forward else n - 1 - i)
        i += 1
        if count == 0:
            continue
        seen += count
        if seen >= rank:
            break
    if table.schema[row] == CUSTOM:
        if lower == -np.inf:
            if upper <= 0:
                return upper, 0
            lower = 0.0
        elif upper == np.inf:
            return lower, 0
    elif lower < 0 < upper:
        lower, upper = around_zero(table, row, lower, upper)
    seen = min(seen, total)
    if seen < rank:
        return (np.nan, IS_NAN) if has_nan else (upper, 0)
    rank = rank - (seen - count) if forward else seen - rank
    note = 0
    if has_nan:
        share = rank / count
        while i < n:
            seen += bucket(table, row, i)[2]
            i += 1
        if seen < total:
            note = IS_SKEWED
        return within(table, row, lower, upper, share), note
    return within(table, row, lower, upper, rank / count), note


@kernel
def quantiles(
    table: Columns, rows: NDArray[np.int64], q: NDArray[np.float64], out: NDArray[np.float64], notes: NDArray[np.uint8]
) -> None:
    """Compute a quantile, (k,), of each of (k,) rows."""
    for i in range(len(rows)):
        out[i], note = quantile(table, rows[i], q[i])
        notes[i] = note


@kernel
def below(lower: float, upper: float, count: float, rank: float, limit: float, linear: bool) -> float:
    """Return how many observations lie below `limit`, which is within a bucket; `rank` of them below the bucket."""
    if linear:
        return count if lower == -np.inf else rank + count * (limit - lower) / (upper - lower)
    low, high, at = np.log2(abs(lower)), np.log2(abs(upper)), np.log2(abs(limit))
    share = (at - low) / (high - low) if limit > 0 else 1.0 - (at - high) / (low - high)
    return rank + count * share


@kernel
def fraction(table: Columns, row: int, low: float, high: float) -> tuple[float, int]:
    """Return which share of the observations lies between two values, and what is to be said about it."""
    total = table.total_count[row]
    if total == 0 or np.isnan(low) or np.isnan(high):
        return np.nan, 0
    if low >= high:
        return 0.0, 0
    custom = table.schema[row] == CUSTOM
    # Where there is no more bucket, all that there are lie below.
    low_rank, high_rank = np.nan, np.nan
    rank = 0.0
    seen = 0.0
    for i in range(size(table, row)):
        lower, upper, count = bucket(table, row, i)
        seen += count
        linear = custom
        if lower <= 0 <= upper:
            linear = True
            lower, upper = around_zero(table, row, lower, upper)
        if np.isnan(low_rank):
            if lower >= low:
                low_rank = rank
            elif lower < low < upper:
                low_rank = below(lower, upper, count, rank, low, linear)
        if np.isnan(high_rank):
            if lower >= high:
                high_rank = rank
            elif lower < high < upper:
                high_rank = below(lower, upper, count, rank, high, linear)
        rank += count
    note = 0
    counted = total
    if np.isnan(table.total_sum[row]):
        counted = seen
        if seen < total:
            note = HAS_NAN
    low_rank = counted if np.isnan(low_rank) else min(low_rank, counted)
    high_rank = counted if np.isnan(high_rank) else min(high_rank, counted)
    return (high_rank - low_rank) / total, note


@kernel
def fractions(
    table: Columns,
    rows: NDArray[np.int64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    out: NDArray[np.float64],
    notes: NDArray[np.uint8],
) -> None:
    """Compute the share between two values, (k,) each, of each of (k,) rows."""
    for i in range(len(rows)):
        out[i], note = fraction(table, rows[i], low[i], high[i])
        notes[i] = note


@kernel
def variances(table: Columns, out: NDArray[np.float64]) -> None:
    """Compute the variance of each histogram, all observations of a bucket being in its middle."""
    for row in range(len(out)):
        mean = table.total_sum[row] / table.total_count[row]
        total = 0.0
        rest = 0.0
        for i in range(size(table, row)):
            lower, upper, count = bucket(table, row, i)
            if count == 0:
                continue
            if table.schema[row] == CUSTOM:
                value = (upper + lower) / 2.0
            elif lower <= 0 <= upper:
                value = 0.0
            else:
                value = np.sqrt(upper * lower)
                if upper < 0:
                    value = -value
            delta = value - mean
            total, rest = compensated(count * delta * delta, total, rest)
        out[row] = (total + rest) / table.total_count[row]
