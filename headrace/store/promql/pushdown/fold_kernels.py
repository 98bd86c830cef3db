# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that fold rows into the state of an aggregation, some rows at a time.

Rows come in the order of the series; what a state holds after the last one is to the bit what the kernel of
`aggregate_kernels` gives for all rows at once. `first` keeps, for each group, the number of the first row that is
present anywhere, -1 while there is none; `rows`, (rows,) int64, are the numbers of those of this call, ascending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def count_row(there: NDArray[np.bool_], n: NDArray[np.int64]) -> bool:
    """Count where a row is present; return whether it is anywhere."""
    found = 0
    for t in range(len(there)):
        n[t] += there[t]
        found += there[t]
    return found > 0


@kernel
def sum_row(
    row: NDArray[np.float64], there: NDArray[np.bool_], total: NDArray[np.float64], c: NDArray[np.float64]
) -> None:
    """Add a row to compensated sums that began at -0.0, which added to any number gives that number."""
    for t in range(len(row)):
        x = row[t]
        old = total[t]
        new = old + x
        lost = (old - new) + x if abs(old) >= abs(x) else (x - new) + old
        new_c = 0.0 if np.isinf(new) else c[t] + lost
        total[t] = new if there[t] else old
        c[t] = new_c if there[t] else c[t]


@kernel
def sums(
    values: NDArray[np.float64], present: NDArray[np.bool_], group: NDArray[np.int64], rows: NDArray[np.int64],
    total: NDArray[np.float64], c: NDArray[np.float64], n: NDArray[np.int64], first: NDArray[np.int64],
) -> None:  # fmt: skip
    """Add the rows of (rows, steps) `values`; `total` (groups, steps) begins at -0.0, `c` and `n` at 0."""
    for i in range(len(group)):
        g = group[i]
        if count_row(present[i], n[g]) and first[g] < 0:
            first[g] = rows[i]
        sum_row(values[i], present[i], total[g], c[g])


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
def means(
    values: NDArray[np.float64], present: NDArray[np.bool_], group: NDArray[np.int64], rows: NDArray[np.int64],
    out: NDArray[np.float64], c: NDArray[np.float64], n: NDArray[np.int64], first: NDArray[np.int64],
    incremental: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Average without overflow; the sum and its compensation are left in `out` and `c`, the mean where incremental."""
    for i in range(len(group)):
        g = group[i]
        for t in range(values.shape[1]):
            if not present[i, t]:
                continue
            x = values[i, t]
            n[g, t] += 1
            if first[g] < 0:
                first[g] = rows[i]
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


@kernel
def extremes(
    values: NDArray[np.float64], present: NDArray[np.bool_], group: NDArray[np.int64], rows: NDArray[np.int64],
    sign: float, out: NDArray[np.float64], n: NDArray[np.int64], first: NDArray[np.int64],
) -> None:  # fmt: skip
    """Take the maximum (sign 1) or minimum (sign -1); NaN gives way to any number."""
    for i in range(len(group)):
        g = group[i]
        for t in range(values.shape[1]):
            if present[i, t]:
                x = values[i, t]
                if n[g, t] == 0 or x * sign > out[g, t] * sign or np.isnan(out[g, t]):
                    out[g, t] = x
        if count_row(present[i], n[g]) and first[g] < 0:
            first[g] = rows[i]


@kernel
def variances(
    values: NDArray[np.float64], present: NDArray[np.bool_], group: NDArray[np.int64], rows: NDArray[np.int64],
    out: NDArray[np.float64], middle: NDArray[np.float64], n: NDArray[np.int64], first: NDArray[np.int64],
) -> None:  # fmt: skip
    """Add up squared distances from the mean, by Welford's method."""
    for i in range(len(group)):
        g = group[i]
        for t in range(values.shape[1]):
            if not present[i, t]:
                continue
            x = values[i, t]
            n[g, t] += 1
            if first[g] < 0:
                first[g] = rows[i]
            if n[g, t] == 1:
                middle[g, t] = x
                out[g, t] = np.nan if np.isnan(x) or np.isinf(x) else 0.0
                continue
            delta = x - middle[g, t]
            middle[g, t] += delta / float(n[g, t])
            out[g, t] += delta * (x - middle[g, t])


@kernel
def counts(
    present: NDArray[np.bool_], group: NDArray[np.int64], rows: NDArray[np.int64], n: NDArray[np.int64],
    first: NDArray[np.int64],
) -> None:  # fmt: skip
    """Count the rows that are present."""
    for i in range(len(group)):
        if count_row(present[i], n[group[i]]) and first[group[i]] < 0:
            first[group[i]] = rows[i]


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
def push(heap: NDArray[np.int64], key: NDArray[np.float64], n: int, wanted: int, row: int, x: float) -> int:
    """Put a row into a heap of at most `wanted`, in place of the lowest one where it is full; return its size."""
    if n < wanted:
        heap[n] = row
        key[n] = x
        sift_up(heap, key, n)
        return n + 1
    if key[0] < x or (np.isnan(key[0]) and not np.isnan(x)):
        heap[0] = row
        key[0] = x
        sift_down(heap, key, n)
    return n


@kernel
def largest(
    values: NDArray[np.float64], present: NDArray[np.bool_], group: NDArray[np.int64], rows: NDArray[np.int64],
    sign: float, wanted: NDArray[np.int64], n: NDArray[np.int64], heap: NDArray[np.int64], key: NDArray[np.float64],
    first: NDArray[np.int64],
) -> None:  # fmt: skip
    """Keep the largest (sign 1) or smallest (sign -1) of each group; NaN is the last choice.

    Args:
        values: (rows, steps).
        present: (rows, steps).
        group: (rows,).
        rows: (rows,) their numbers.
        sign: Which.
        wanted: (steps,) how many.
        n: (groups, steps) how many are there.
        heap: (groups, steps, most wanted) int64 numbers of rows.
        key: The same of float64: their values with the sign.
        first: (groups,).
    """
    for i in range(len(group)):
        g = group[i]
        for t in range(values.shape[1]):
            if present[i, t] and wanted[t] > 0:
                n[g, t] = push(heap[g, t], key[g, t], n[g, t], wanted[t], rows[i], values[i, t] * sign)
                first[g] = rows[i] if first[g] < 0 else first[g]


@kernel
def merge_largest(
    heap: NDArray[np.int64], key: NDArray[np.float64], n: NDArray[np.int64], group: NDArray[np.int64], base: int,
    wanted: NDArray[np.int64], out_n: NDArray[np.int64], out_heap: NDArray[np.int64], out_key: NDArray[np.float64],
) -> None:  # fmt: skip
    """Add what other series kept, whose rows count from `base`; see `largest`, whose state is `out_...`."""
    for i in range(len(group)):
        g = group[i]
        for t in range(n.shape[1]):
            for j in range(n[i, t]):
                row = base + heap[i, t, j]
                out_n[g, t] = push(out_heap[g, t], out_key[g, t], out_n[g, t], wanted[t], row, key[i, t, j])
