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
def largest(
    k: NDArray[np.int64],
    sign: float,
    values: NDArray[np.float64],
    present: NDArray[np.bool_],
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    keep: NDArray[np.bool_],
) -> None:
    """Mark the k largest (sign 1) or smallest (sign -1) of each group; `k` is (steps,), NaN is the last choice."""
    best = np.empty(len(rows), np.int64)
    for g in range(len(starts) - 1):
        for t in range(values.shape[1]):
            n = 0
            wanted = min(k[t], starts[g + 1] - starts[g])
            for j in range(starts[g], starts[g + 1]):
                row = rows[j]
                if not present[row, t] or wanted < 1:
                    continue
                x = values[row, t] * sign
                place = n
                while place > 0:
                    other = values[best[place - 1], t] * sign
                    if not (x > other or (np.isnan(other) and not np.isnan(x))):
                        break
                    place -= 1
                if place >= wanted:
                    continue
                last = min(n, wanted - 1)
                for m in range(last, place, -1):
                    best[m] = best[m - 1]
                best[place] = row
                n = min(n + 1, wanted)
            for m in range(n):
                keep[best[m], t] = True


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
def bucket_quantile(
    q: float, bound: NDArray[np.float64], count: NDArray[np.float64], fixed: NDArray[np.float64]
) -> float:
    """Return the q-quantile of a classic histogram.

    Args:
        q: Quantile.
        bound: (b,) upper bounds, ascending and distinct; the last has to be +Inf.
        count: (b,) cumulative counts; made monotonic in place.
        fixed: (2,) set to 1 and the largest difference, where counts had to be raised.

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
        if abs(x - before) <= 1e-12 * (abs(x) + abs(before)):
            count[i] = before
        elif x < before:
            fixed[0] = 1.0
            fixed[1] = max(fixed[1], before - x)
            count[i] = before
    if n < 2:
        return np.nan
    total = count[n - 1]
    if total == 0 or np.isnan(total):
        return np.nan
    rank = q * total
    b = 0
    while b < n - 1 and count[b] < rank:
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
        fixed: (h, 2), see `bucket_quantile`.
    """
    bound = np.empty(len(rows), np.float64)
    count = np.empty(len(rows), np.float64)
    for h in range(len(starts) - 1):
        for t in range(values.shape[1]):
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
            if n:
                out[h, t] = bucket_quantile(q[t], bound[:n], count[:n], fixed[h])
                there[h, t] = True
