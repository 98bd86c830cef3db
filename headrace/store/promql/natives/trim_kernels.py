# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return,no-untyped-call"
"""Kernels of the operators ``</`` and ``>/``: histograms trimmed to one side of a number.

Source:
    Prometheus 3.14, "Operators", trimming of native histograms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel
from headrace.store.promql.natives.bucket_kernels import unclipped
from headrace.store.promql.natives.total_kernels import CUSTOM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.store.promql.natives.float_histograms import Columns


@kernel
def middle(lower: float, upper: float, negative: bool, custom: bool) -> float:
    """Return the value that stands for the observations between two bounds."""
    if np.isinf(lower):
        if np.isinf(upper):
            return 0.0
        return upper / 2.0 if upper > 0 else upper
    if np.isinf(upper):
        return lower
    if custom:
        return (lower + upper) / 2.0
    value = np.sqrt(abs(lower * upper))
    return -value if negative else value


@kernel
def split_open(lower: float, upper: float, count: float, limit: float, is_upper: bool) -> tuple[float, float]:
    """Trim a bucket without a lower or an upper bound: return what is kept and the value that stands for it.

    Where nothing is known of how observations lie, they are all taken to be on the wrong side.
    """
    if lower == -np.inf:
        rest = 0.0 if np.isinf(upper) else upper
        if is_upper:
            if limit >= upper:
                return count, 0.0
            if limit > 0 and 0 < upper < np.inf:
                return count * limit / upper, limit / 2.0
            return (count, limit) if upper <= 0 else (0.0, rest)
        if limit <= lower:
            return count, 0.0
        if limit >= 0 and limit < upper < np.inf:
            return count * (1.0 - limit / upper), (limit + upper) / 2.0
        return 0.0, rest
    if is_upper or limit < lower:
        return 0.0, lower
    return count, limit


@kernel
def split(
    lower: float, upper: float, count: float, limit: float, is_upper: bool, negative: bool, custom: bool
) -> tuple[float, float]:
    """Trim a bucket that `limit` lies in: return what is kept and the value that stands for it."""
    if lower == -np.inf or upper == np.inf:
        return split_open(lower, upper, count, limit, is_upper)
    if limit <= lower:
        under = 0.0
    elif limit >= upper:
        under = count
    elif custom:
        under = count * ((limit - lower) / (upper - lower))
    else:
        low, high, at = np.log2(abs(lower)), np.log2(abs(upper)), np.log2(abs(limit))
        under = count * (1.0 - (at - high) / (low - high) if negative else (at - low) / (high - low))
    if is_upper:
        return under, middle(lower, limit, negative, custom)
    return count - under, middle(limit, upper, negative, custom)


@kernel
def split_zero(
    threshold: float, count: float, limit: float, is_upper: bool, has_negative: bool, has_positive: bool
) -> tuple[float, float]:
    """Trim the zero bucket: return what is kept and the value that stands for it."""
    lower = 0.0 if has_positive and not has_negative else -threshold
    upper = 0.0 if has_negative and not has_positive else threshold
    if limit <= lower:
        return (0.0, 0.0) if is_upper else (count, (lower + upper) / 2.0)
    if limit >= upper:
        return (count, (lower + upper) / 2.0) if is_upper else (0.0, 0.0)
    if is_upper:
        return count * ((limit - lower) / (upper - lower)), (lower + limit) / 2.0
    return count * ((upper - limit) / (upper - lower)), (limit + upper) / 2.0


@kernel
def trim(table: Columns, limits: NDArray[np.float64], is_upper: bool, untouched: NDArray[np.bool_]) -> None:
    """Trim each histogram in place to what is below its limit, or above it.

    Args:
        table: Histograms; counts and sums are changed.
        limits: (n,).
        is_upper: Whether what is below is kept.
        untouched: (n,) out: where nothing was cut off.
    """
    for row in range(len(limits)):
        limit = limits[row]
        custom = table.schema[row] == CUSTOM
        begin, until = table.starts[row], table.starts[row + 1]
        between = begin + table.positive[row]
        total = 0.0
        value = 0.0
        has_positive = False
        has_negative = False
        same = True
        for k in range(begin, until):
            count = table.counts[k]
            if count == 0:
                continue
            negative = k >= between
            has_negative |= negative
            has_positive |= not negative
            lower, upper = unclipped(table, row, k)
            if upper <= limit if is_upper else lower >= limit:
                kept, at = count, middle(lower, upper, negative, custom)
            elif lower < limit if is_upper else upper > limit:
                kept, at = split(lower, upper, count, limit, is_upper, negative, custom)
            else:
                kept, at = 0.0, 0.0
            total += kept
            value += at * kept
            same &= kept == count
            table.counts[k] = kept
        if table.zero_count[row] > 0:
            kept, at = split_zero(
                table.zero_threshold[row], table.zero_count[row], limit, is_upper, has_negative, has_positive
            )
            same &= kept == table.zero_count[row]
            table.zero_count[row] = kept
            value += at * kept
            total += kept
        untouched[row] = same
        if not same:
            table.total_count[row] = total
            table.total_sum[row] = value
