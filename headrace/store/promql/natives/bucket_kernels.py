# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return,no-untyped-call"
"""The buckets of a histogram from the lowest to the highest, with their bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel
from headrace.store.promql.natives.total_kernels import CUSTOM, bound

if TYPE_CHECKING:
    from headrace.store.promql.natives.float_histograms import Columns


@kernel
def size(table: Columns, row: int) -> int:
    """Return how many buckets there are; the zero bucket counts where it has observations."""
    return table.starts[row + 1] - table.starts[row] + (table.zero_count[row] > 0)


@kernel
def custom_bounds(table: Columns, row: int, index: int) -> tuple[float, float]:
    """Return the bounds of a custom bucket."""
    begin, n = table.bound_starts[row], table.bound_starts[row + 1] - table.bound_starts[row]
    lower = table.bounds[begin + index - 1] if 0 < index <= n else (-np.inf if index <= 0 else np.inf)
    upper = table.bounds[begin + index] if 0 <= index < n else (-np.inf if index < 0 else np.inf)
    return lower, upper


@kernel
def unclipped(table: Columns, row: int, place: int) -> tuple[float, float]:
    """Return the bounds of the bucket at a place of the columns, whatever the zero bucket covers of it."""
    schema, index = np.int64(table.schema[row]), np.int64(table.indices[place])
    if schema == CUSTOM:
        return custom_bounds(table, row, index)
    if place >= table.starts[row] + table.positive[row]:
        return -bound(schema, index), -bound(schema, index - 1)
    return bound(schema, index - 1), bound(schema, index)


@kernel
def bucket(table: Columns, row: int, i: int) -> tuple[float, float, float]:
    """Return lower bound, upper bound and count of bucket `i` from the lowest, less what the zero bucket covers."""
    begin, until = table.starts[row], table.starts[row + 1]
    middle = begin + table.positive[row]
    negative = until - middle
    threshold = table.zero_threshold[row]
    if i < negative:
        place = until - 1 - i
        lower, upper = unclipped(table, row, place)
        if -threshold < upper < 0:
            upper = -threshold
        return lower, upper, table.counts[place]
    i -= negative
    if table.zero_count[row] > 0:
        if i == 0:
            return -threshold, threshold, table.zero_count[row]
        i -= 1
    lower, upper = unclipped(table, row, begin + i)
    if 0 < lower < threshold:
        lower = threshold
    return lower, upper, table.counts[begin + i]


@kernel
def around_zero(table: Columns, row: int, lower: float, upper: float) -> tuple[float, float]:
    """Bound a bucket around zero by zero where all other observations are on one side of it."""
    positive = np.int64(table.positive[row])
    negative = table.starts[row + 1] - table.starts[row] - positive
    if negative == 0 and positive > 0:
        lower = 0.0
    elif positive == 0 and negative > 0:
        upper = 0.0
    return lower, upper
