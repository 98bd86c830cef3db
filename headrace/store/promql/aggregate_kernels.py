# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels of the aggregation operators: rows of a vector by group, at each step.

`group` is (n,) int64, the group of each row. Rows are taken in order, as sums depend on it in the last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import kernel
from headrace.store.promql.window_kernels import add, quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray


_SMALL_DELTA = 1e-12
_SMALLEST_NORMAL = 2.2250738585072014e-308
_LARGEST = 1.7976931348623157e308


@kernel
def sums(
    values: NDArray[np.float64],
    present: NDArray[np.bool_],
    group: NDArray[np.int64],
    out: NDArray[np.float64],
    c: NDArray[np.float64],
    n: NDArray[np.int64],
) -> None:
    """Add; the compensation is left in `c`."""
    for i in range(len(group)):
        g = group[i]
        for t in range(values.shape[1]):
            if present[i, t]:
                if n[g, t] == 0:
                    out[g, t] = values[i, t]
                else:
                    out[g, t], c[g, t] = add(values[i, t], out[g, t], c[g, t])
                n[g, t] += 1


@kernel
def means(
    values: NDArray[np.float64],
    present: NDArray[np.bool_],
    group: NDArray[np.int64],
    out: NDArray[np.float64],
    c: NDArray[np.float64],
    n: NDArray[np.int64],
    incremental: NDArray[np.bool_],
) -> None:
    """Average, without overflow; the mean is left in `out`."""
    for i in range(len(group)):
        g = group[i]
        for t in range(values.shape[1]):
            if not present[i, t]:
                continue
            x = values[i, t]
            n[g, t] += 1
            count = float(n[g, t])
            if n[g, t] == 1:
                out[g, t] = x
                continue
            if not incremental[g, t]:
                new, new_c = add(x, out[g, t], c[g, t])
                if not np.isinf(new):
                    out[g, t] = new
                    c[g, t] = new_c
                    continue
                incremental[g, t] = True
                out[g, t] /= count - 1.0
                c[g, t] /= count - 1.0
            q = (count - 1.0) / count
            out[g, t], c[g, t] = add(x / count, q * out[g, t], q * c[g, t])
    for g in range(out.shape[0]):
        for t in range(out.shape[1]):
            if incremental[g, t]:
                out[g, t] += c[g, t]
            elif n[g, t]:
                out[g, t] = out[g, t] / n[g, t] + c[g, t] / n[g, t]


@kernel
def extremes(
    values: NDArray[np.float64],
    present: NDArray[np.bool_],
    group: NDArray[np.int64],
    sign: float,
    out: NDArray[np.float64],
    n: NDArray[np.int64],
) -> None:
    """Take the maximum (sign 1) or minimum (sign -1); NaN gives way to any number."""
    for i in range(len(group)):
        g = group[i]
        for t in range(values.shape[1]):
            if present[i, t]:
                x = values[i, t]
                if n[g, t] == 0 or x * sign > out[g, t] * sign or np.isnan(out[g, t]):
                    out[g, t] = x
                n[g, t] += 1


@kernel
def variances(
    values: NDArray[np.float64],
    present: NDArray[np.bool_],
    group: NDArray[np.int64],
    out: NDArray[np.float64],
    middle: NDArray[np.float64],
    n: NDArray[np.int64],
) -> None:
    """Compute the population variance by Welford's method."""
    for i in range(len(group)):
        g = group[i]
        for t in range(values.shape[1]):
            if not present[i, t]:
                continue
            x = values[i, t]
            n[g, t] += 1
            if n[g, t] == 1:
                middle[g, t] = x
                out[g, t] = np.nan if np.isnan(x) or np.isinf(x) else 0.0
                continue
            delta = x - middle[g, t]
            middle[g, t] += delta / float(n[g, t])
            out[g, t] += delta * (x - middle[g, t])
    for g in range(out.shape[0]):
        for t in range(out.shape[1]):
            if n[g, t]:
                out[g, t] /= float(n[g, t])


@kernel
def quantiles(
    q: NDArray[np.float64],
    values: NDArray[np.float64],
    present: NDArray[np.bool_],
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> None:
    """Compute quantiles; rows of group g are ``rows[starts[g]:starts[g + 1]]``, `q` is (steps,)."""
    scratch = np.empty(len(rows), np.float64)
    for g in range(len(starts) - 1):
        for t in range(values.shape[1]):
            n = 0
            for k in range(starts[g], starts[g + 1]):
                if present[rows[k], t]:
                    scratch[n] = values[rows[k], t]
                    n += 1
            if n:
                out[g, t] = quantile(q[t], scratch[:n].copy())
                there[g, t] = True


@kernel
def below(a: float, b: float) -> bool:
    """Order values for heaps: NaN is below everything."""
    return np.isnan(a) or a < b


@kernel
def sift_up(heap: NDArray[np.int64], key: NDArray[np.float64], j: int) -> None:
    """Let entry `j` of a heap rise to its place; the lowest key is on top."""
    while j > 0:
        i = (j - 1) // 2
        if not below(key[j], key[i]):
            return
        heap[i], heap[j] = heap[j], heap[i]
        key[i], key[j] = key[j], key[i]
        j = i


@kernel
def sift_down(heap: NDArray[np.int64], key: NDArray[np.float64], n: int) -> None:
    """Let the top of a heap of `n` entries sink to its place."""
    i = 0
    while 2 * i + 1 < n:
        j = 2 * i + 1
        if j + 1 < n and below(key[j + 1], key[j]):
            j += 1
        if not below(key[j], key[i]):
            return
        heap[i], heap[j] = heap[j], heap[i]
        key[i], key[j] = key[j], key[i]
        i = j


@kernel
def largest(
    k: NDArray[np.int64],
    sign: float,
    values: NDArray[np.float64],
    present: NDArray[np.bool_],
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    keep: NDArray[np.bool_],
) -> None:
    """Mark the k largest (sign 1) or smallest (sign -1) of each group; `k` is (steps,), NaN is the last choice.

    Which of several equal ones stay is decided by the order of a binary heap, as in Prometheus.
    """
    heap = np.empty(len(rows), np.int64)
    key = np.empty(len(rows), np.float64)
    for g in range(len(starts) - 1):
        for t in range(values.shape[1]):
            n = 0
            wanted = min(k[t], starts[g + 1] - starts[g])
            for j in range(starts[g], starts[g + 1]):
                row = rows[j]
                if not present[row, t] or wanted < 1:
                    continue
                x = values[row, t] * sign
                if n < wanted:
                    heap[n] = row
                    key[n] = x
                    sift_up(heap, key, n)
                    n += 1
                elif key[0] < x or (np.isnan(key[0]) and not np.isnan(x)):
                    heap[0] = row
                    key[0] = x
                    sift_down(heap, key, n)
            for m in range(n):
                keep[heap[m], t] = True


@kernel
def first_ones(
    k: NDArray[np.int64],
    present: NDArray[np.bool_],
    group: NDArray[np.int64],
    n: NDArray[np.int64],
    keep: NDArray[np.bool_],
) -> None:
    """Mark the first k rows of each group; `k` is (steps,)."""
    for i in range(len(group)):
        for t in range(present.shape[1]):
            if present[i, t] and n[group[i], t] < k[t]:
                n[group[i], t] += 1
                keep[i, t] = True


@kernel
def heap_order(
    key: NDArray[np.float64],
    keep: NDArray[np.bool_],
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    out: NDArray[np.int64],
) -> int:
    """Order the rows of each group as a binary heap has them after they were put in one by one, smallest first.

    Args:
        key: (n,), values; NaN is smaller than all.
        keep: (n,), the rows that are wanted.
        rows: (n,), sorted by group.
        starts: (groups + 1,), where each group begins in `rows`.
        out: (n,), filled with rows.

    Returns:
        How many there are in `out`.
    """
    total = 0
    keys = np.empty(len(rows), np.float64)
    for g in range(len(starts) - 1):
        n = 0
        for j in range(starts[g], starts[g + 1]):
            row = rows[j]
            if keep[row]:
                out[total + n] = row
                keys[n] = key[row]
                sift_up(out[total:], keys, n)
                n += 1
        total += n
    return total


@kernel
def newest_rows(
    times: NDArray[np.int64], present: NDArray[np.bool_], group: NDArray[np.int64], out: NDArray[np.int64]
) -> tuple[int, int]:
    """Find at each step the row of each group with the largest of `times`, (n, steps).

    Args:
        times: (n, steps).
        present: (n, steps).
        group: (n,).
        out: (groups, steps), -1 at first.

    Returns:
        Two rows of a group that are equally new; (-1, -1) without any.
    """
    for t in range(times.shape[1]):
        for i in range(len(group)):
            if present[i, t]:
                old = out[group[i], t]
                if old < 0 or times[old, t] < times[i, t]:
                    out[group[i], t] = i
        for i in range(len(group)):
            newest = out[group[i], t]
            if present[i, t] and newest != i and times[newest, t] == times[i, t]:
                return newest, i
    return -1, -1


@kernel
def merge(
    values: NDArray[np.float64],
    present: NDArray[np.bool_],
    group: NDArray[np.int64],
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> bool:
    """Put the rows of each group into one; False where two of them are present at the same step."""
    for i in range(len(group)):
        g = group[i]
        for t in range(values.shape[1]):
            if present[i, t]:
                if there[g, t]:
                    return False
                out[g, t] = values[i, t]
                there[g, t] = True
    return True


@kernel
def any_of(present: NDArray[np.bool_], group: NDArray[np.int64], out: NDArray[np.bool_]) -> None:
    """Mark where some row of a group is present."""
    for i in range(len(group)):
        for t in range(present.shape[1]):
            out[group[i], t] |= present[i, t]


@kernel
def collision(present: NDArray[np.bool_], group: NDArray[np.int64], owner: NDArray[np.int64]) -> tuple[int, int]:
    """Find two rows of one group that are present at the same step; (-1, -1) without any.

    `owner` is scratch, (groups,).
    """
    for t in range(present.shape[1]):
        owner[:] = -1
        for i in range(len(group)):
            if present[i, t]:
                if owner[group[i]] >= 0:
                    return owner[group[i]], i
                owner[group[i]] = i
    return -1, -1


@kernel
def is_close(one: float, other: float) -> bool:
    """Return whether counts differ by so little only that rounding explains it; zero is close to nothing but itself."""
    whole = abs(one) + abs(other)
    if one == 0 or other == 0 or whole < _SMALLEST_NORMAL:
        return abs(one - other) < _SMALL_DELTA * _SMALLEST_NORMAL
    return abs(one - other) / min(whole, _LARGEST) < _SMALL_DELTA


@kernel
def bucket_quantile(
    q: float, bound: NDArray[np.float64], count: NDArray[np.float64], fixed: NDArray[np.float64]
) -> float:
    """Return the q-quantile of a classic histogram.

    Args:
        q: Quantile.
        bound: (b,) upper bounds, ascending and distinct; the last has to be +Inf.
        count: (b,) cumulative counts; made monotonic in place.
        fixed: (3,) set to the lowest and the highest bound of counts that had to be raised, and by how much at most.

    Source:
        Prometheus 3.5, ``histogram_quantile``.
    """
    n = len(bound)
    if np.isnan(q):
        return np.nan
    if q < 0:
        return -np.inf
    if q > 1:
        return np.inf
    if n == 0 or not np.isposinf(bound[n - 1]):
        return np.nan
    for i in range(1, n):
        before = count[i - 1]
        x = count[i]
        if x == before:
            continue
        if is_close(before, x):
            count[i] = before
        elif x < before:
            fixed[0] = min(fixed[0], bound[i]) if fixed[2] > 0 else bound[i]
            fixed[1] = bound[i]
            fixed[2] = max(fixed[2], before - x)
            count[i] = before
    if n < 2:
        return np.nan
    total = count[n - 1]
    if total == 0:
        fixed[2] = 0.0  # nothing is told of a histogram without observations
        return np.nan
    rank = q * total
    b = 0
    while b < n - 1 and not count[b] >= rank:
        b += 1
    if b == n - 1:
        return bound[n - 2]
    if b == 0 and bound[0] <= 0:
        return bound[0]
    lower = 0.0
    inside = count[b]
    if b > 0:
        lower = bound[b - 1]
        inside -= count[b - 1]
        rank -= count[b - 1]
    return lower + (bound[b] - lower) * (rank / inside)


@kernel
def gather(
    h: int,
    t: int,
    values: NDArray[np.float64],
    present: NDArray[np.bool_],
    bounds: NDArray[np.float64],
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    bound: NDArray[np.float64],
    count: NDArray[np.float64],
) -> int:
    """Copy the buckets that histogram `h` has at step `t`; equal bounds are added up. Return how many there are."""
    n = 0
    for k in range(starts[h], starts[h + 1]):
        row = rows[k]
        if not present[row, t]:
            continue
        if n and bound[n - 1] == bounds[row]:
            count[n - 1] += values[row, t]
            continue
        bound[n] = bounds[row]
        count[n] = values[row, t]
        n += 1
    return n


@kernel
def bucket_quantiles(
    q: NDArray[np.float64],
    values: NDArray[np.float64],
    present: NDArray[np.bool_],
    bounds: NDArray[np.float64],
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
    fixed: NDArray[np.float64],
) -> None:
    """Compute quantiles of classic histograms.

    Args:
        q: (steps,) quantiles.
        values: (n, steps) cumulative counts of buckets.
        present: (n, steps).
        bounds: (n,) upper bound of each row.
        rows: Rows by histogram, each ascending by bound.
        starts: (h + 1,) first row of each histogram.
        out: (h, steps).
        there: (h, steps).
        fixed: (h, steps, 3), see `bucket_quantile`.
    """
    bound = np.empty(len(rows), np.float64)
    count = np.empty(len(rows), np.float64)
    for h in range(len(starts) - 1):
        for t in range(values.shape[1]):
            n = gather(h, t, values, present, bounds, rows, starts, bound, count)
            if n:
                out[h, t] = bucket_quantile(q[t], bound[:n], count[:n], fixed[h, t])
                there[h, t] = True


@kernel
def bucket_fraction(lower: float, upper: float, bound: NDArray[np.float64], count: NDArray[np.float64]) -> float:
    """Return the share of observations between `lower` and `upper`; see `bucket_quantile` for the buckets."""
    n = len(bound)
    total = count[n - 1]
    if not np.isposinf(bound[n - 1]) or total == 0 or np.isnan(lower) or np.isnan(upper):
        return np.nan
    if lower >= upper:
        return 0.0
    return (rank_of(upper, bound, count) - rank_of(lower, bound, count)) / total


@kernel
def rank_of(x: float, bound: NDArray[np.float64], count: NDArray[np.float64]) -> float:
    """Return how many observations are below `x`, by linear interpolation within its bucket."""
    n = len(bound)
    start = -np.inf if bound[0] <= 0 else 0.0
    rank = 0.0
    for i in range(n):
        if i > 0:
            start = bound[i - 1]
        if start >= x:
            return min(rank, count[n - 1])
        if bound[i] > x:
            # A bucket without end has no middle: nothing of the last one counts, all of the first one does.
            if np.isneginf(start):
                rank = count[i]
            else:
                rank += (count[i] - rank) * (x - start) / (bound[i] - start)
            return min(rank, count[n - 1])
        rank = count[i]
    return count[n - 1]


@kernel
def bucket_fractions(
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    values: NDArray[np.float64],
    present: NDArray[np.bool_],
    bounds: NDArray[np.float64],
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    out: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> None:
    """Compute fractions of classic histograms; `lower` and `upper` are (steps,), the rest as `bucket_quantiles`."""
    bound = np.empty(len(rows), np.float64)
    count = np.empty(len(rows), np.float64)
    for h in range(len(starts) - 1):
        for t in range(values.shape[1]):
            n = gather(h, t, values, present, bounds, rows, starts, bound, count)
            if n:
                out[h, t] = bucket_fraction(lower[t], upper[t], bound[:n], count[:n])
                there[h, t] = True
