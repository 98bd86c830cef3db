# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return,no-untyped-call"
"""Kernels over many histograms: sums and averages, what changed in windows, pairs, resets, equality, trimming.

Kernels that write histograms stop when the room that they were given may not suffice, and go on from there when called
again: they take the first task to do and return the next one.

Source:
    Prometheus 3.14, PromQL functions and operators of native histograms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import float_bits
from headrace.kernels.jit import flat_kernel as kernel
from headrace.store.promql.natives import total_kernels as totals
from headrace.store.promql.natives.total_kernels import (
    COLLISION,
    COUNT,
    CUSTOM,
    EXACT,
    GAUGE,
    HINT,
    NOTES,
    RECONCILED,
    RESET,
    UNKNOWN,
    WHOLE,
    add,
    bound,
    coarser,
    keep_common_bounds,
    load,
    overflows,
    reduce,
    same_bounds,
    scale,
    settled,
    swallowed,
)  # fmt: skip

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.store.promql.natives.float_histograms import Columns
    from headrace.store.promql.natives.math import Total

NOT_RESET = 2
"""Hint; see `ResetHint`."""

# What was noted of a task: of sums and pairs, the first three; of changes, all but COLLISION.
MIXED = 4
"""Exponential buckets and custom ones: there is no result."""

RECONCILED_RESETS = 8
"""Custom bounds differed where what a reset took away was added."""

NOT_COUNTER = 16
NOT_GAUGE = 32


# -- sums ------------------------------------------------------------------------------------------------------


@kernel
def carefully(table: Columns, order: NDArray[np.int64], first: int, last: int, total: Total) -> None:
    """Average rows ``order[first:last]``, from where their sum overflows on as a running mean."""
    load(table, order[first], total)
    running = False
    for m in range(first + 1, last):
        count = float(m - first + 1)
        if not running:
            add(total, table, order[m], 1.0, 1.0)
            if not overflows(total):
                continue
            running = True
            load(table, order[first], total)
            for k in range(first + 1, m):
                add(total, table, order[k], 1.0, 1.0)
            scale(total, 1.0, count - 1.0)
        scale(total, (count - 1.0) / count, 1.0)
        add(total, table, order[m], 1.0, count)
    if not running:
        scale(total, 1.0, float(last - first))


@kernel
def fold(
    table: Columns,
    order: NDArray[np.int64],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    mean: bool,
    whole: bool,
    task: int,
    total: Total,
    out: Columns,
    ends: NDArray[np.int64],
    places: NDArray[np.int64],
    notes: NDArray[np.uint8],
    faults: NDArray[np.int64],
) -> int:
    """Add histograms up, or average them.

    Args:
        table: Histograms.
        order: (m,) rows of `table`.
        first: (k,): task i is about rows ``order[first[i]:last[i]]``.
        last: (k,).
        mean: Whether to average.
        whole: Whether to write empty buckets, too.
        task: Where to go on.
        total: Scratch.
        out: What is written.
        ends: (3,) how much of it is.
        places: (k,) out: row of the result, or -1.
        notes: (k,) out: RECONCILED, COLLISION, MIXED.
        faults: (k,) out: place in `order` of what did not fit, or -1.

    Returns:
        The next task.
    """
    total.state[EXACT] = 1
    total.state[WHOLE] = whole
    while task < len(first):
        begin, until = first[task], last[task]
        places[task] = -1
        notes[task] = 0
        faults[task] = -1
        if until > begin:
            load(table, order[begin], total)
            hints = 1 << table.hint[order[begin]]
            for m in range(begin + 1, until):
                hints |= 1 << table.hint[order[m]]
                if not add(total, table, order[m], 1.0, 1.0):
                    faults[task] = m
                    break
            notes[task] = total.state[NOTES] & RECONCILED
            if hints & (1 << RESET) and hints & (1 << NOT_RESET):
                notes[task] |= COLLISION
            if faults[task] >= 0:
                notes[task] |= MIXED
            else:
                if mean and totals.is_finite(total):
                    scale(total, 1.0, float(until - begin))
                elif mean:
                    carefully(table, order, begin, until, total)
                if not totals.room_left(total, out, ends):
                    return task
                places[task] = ends[0]
                totals.store(total, out, ends, 1.0)
        task += 1
    return task


@kernel
def combine(
    left: Columns,
    lefts: NDArray[np.int64],
    right: Columns,
    rights: NDArray[np.int64],
    sign: float,
    task: int,
    total: Total,
    out: Columns,
    ends: NDArray[np.int64],
    places: NDArray[np.int64],
    notes: NDArray[np.uint8],
) -> int:
    """Add pairs of histograms, or with `sign` -1 subtract the right ones, after which gauges are left.

    Args:
        left: Histograms.
        lefts: (k,) rows of them.
        right: Histograms.
        rights: (k,) rows; -1 for nothing to add.
        sign: 1 or -1.
        task: Where to go on.
        total: Scratch.
        out: What is written.
        ends: (3,) how much of it is.
        places: (k,) out: row of the result, or -1.
        notes: (k,) out: RECONCILED, COLLISION, MIXED.

    Returns:
        The next task.
    """
    total.state[EXACT] = 0
    while task < len(lefts):
        load(left, lefts[task], total)
        fits = rights[task] < 0 or add(total, right, rights[task], sign, 1.0)
        notes[task] = total.state[NOTES] if fits else MIXED
        places[task] = -1
        if fits:
            if sign < 0:
                total.state[HINT] = GAUGE
            if not totals.room_left(total, out, ends):
                return task
            places[task] = ends[0]
            totals.store(total, out, ends, 1.0)
        task += 1
    return task


# -- windows ---------------------------------------------------------------------------------------------------


@kernel
def kinds(
    table: Columns, first: int, last: int, is_counter: bool, begins_anew: bool
) -> tuple[int, int]:  # fmt: skip
    """Return what is to be noted of a window's hints and kinds of buckets, and the coarsest schema that counts.

    Args:
        table: Histograms.
        first: First row.
        last: Last row.
        is_counter: Whether those between count, too.
        begins_anew: Whether nothing of the first one counts, not even how its buckets are laid out.
    """
    like = first + 1 if begins_anew else first
    custom = table.schema[like] == CUSTOM
    schema = min(np.int64(table.schema[like]), np.int64(table.schema[last]))
    gauge = is_counter and (table.hint[first] == GAUGE or table.hint[last] == GAUGE)
    if (table.schema[last] == CUSTOM) != custom:
        return MIXED | NOT_COUNTER if gauge else MIXED, 0
    hints = 0
    for j in range(first, last + 1):
        if is_counter or j in (first, last):
            hints |= 1 << table.hint[j]
        if j == last or (is_counter and j > first):
            if (table.schema[j] == CUSTOM) != custom:
                return MIXED, 0
            schema = min(schema, np.int64(table.schema[j]))
    notes = 0
    if is_counter and hints & (1 << GAUGE):
        notes |= NOT_COUNTER
    if not is_counter and hints != 1 << GAUGE:
        notes |= NOT_GAUGE
    return notes, schema


@kernel
def difference(
    table: Columns,
    resets: NDArray[np.bool_],
    first: int,
    last: int,
    is_counter: bool,
    from_zero: bool,
    total: Total,
) -> int:
    """Leave in `total` what changed from row `first` to row `last`; return what is to be noted.

    Args:
        table: Histograms.
        resets: (n,) whether a counter was reset since the row before.
        first: First row.
        last: Last row; the first one only where `from_zero`.
        is_counter: Whether resets are made up for.
        from_zero: Whether there was nothing before what the first row counts.
        total: What changed.
    """
    begins_anew = is_counter and first < last and resets[first + 1]
    notes, schema = kinds(table, first, last, is_counter, begins_anew)
    if notes & MIXED:
        return notes
    load(table, last, total)
    if schema != CUSTOM:
        reduce(total, schema)
    if begins_anew and schema == CUSTOM:
        bounds = table.bounds[table.bound_starts[first + 1] : table.bound_starts[first + 2]]
        if not same_bounds(total, bounds):
            keep_common_bounds(total, bounds)
    if begins_anew:
        if from_zero and not add(total, table, first, 1.0, 1.0):
            return MIXED
    elif not from_zero:
        add(total, table, first, -1.0, 1.0)
    notes |= total.state[NOTES] & RECONCILED
    total.state[NOTES] = 0
    if is_counter:
        for j in range(first + 2 if begins_anew else first + 1, last + 1):
            if resets[j]:
                add(total, table, j - 1, 1.0, 1.0)
        if total.state[NOTES] & RECONCILED:
            notes |= RECONCILED_RESETS
    total.state[HINT] = GAUGE
    return notes


@kernel
def extrapolation(
    first: int, last: int, gaps: int, until: int, window: int, from_zero: bool, start: float, growth: float
) -> float:  # fmt: skip
    """Return by what a change within a window is multiplied to be that of the whole window.

    Args:
        first: Time of the first histogram, or when its counting began.
        last: Time of the last one.
        gaps: How many come after the first one.
        until: When the window ends.
        window: How long it is.
        from_zero: Whether nothing was there before the first one, so that nothing is added on that side.
        start: Observations of the first one, where it is a counter; below zero otherwise.
        growth: By how much they grew.
    """
    to_start = float(first - (until - window)) / 1000.0
    to_end = float(until - last) / 1000.0
    sampled = float(last - first) / 1000.0
    gap = sampled / float(gaps) if gaps else 0.0
    threshold = gap * 1.1
    if from_zero:
        to_start = 0.0
    else:
        if to_start >= threshold:
            to_start = gap / 2.0
        if growth > 0 and start >= 0:
            to_start = min(to_start, sampled * (start / growth))
    if to_end >= threshold:
        to_end = gap / 2.0
    return (sampled + to_start + to_end) / sampled if sampled != 0 else 1.0


@kernel
def change(
    table: Columns,
    times: NDArray[np.int64],
    starts: NDArray[np.int64],
    resets: NDArray[np.bool_],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    until: NDArray[np.int64],
    window: int,
    is_counter: bool,
    is_rate: bool,
    task: int,
    total: Total,
    out: Columns,
    ends: NDArray[np.int64],
    places: NDArray[np.int64],
    notes: NDArray[np.uint8],
) -> int:
    """Compute ``rate``, ``increase`` and ``delta``: what changed, extrapolated to the window's ends.

    Args:
        table: Histograms, by series and time.
        times: (n,) milliseconds of them.
        starts: (n,) when the counting of each began, 0 for unknown.
        resets: (n,) whether a counter was reset since the histogram before.
        first: (k,) first row of each window.
        last: (k,) its last row; the first one only where its counting began in the window.
        until: (k,) when the window ends.
        window: How long it is.
        is_counter: Whether resets are made up for.
        is_rate: Whether to divide by the window in seconds.
        task: Where to go on.
        total: Scratch.
        out: What is written.
        ends: (3,) how much of it is.
        places: (k,) out: row of the result, or -1.
        notes: (k,) out.

    Returns:
        The next task.
    """
    total.state[EXACT] = 0
    while task < len(first):
        a, b = first[task], last[task]
        end = until[task]
        from_zero = is_counter and starts[a] != 0 and end - window < starts[a] < times[a]
        notes[task] = difference(table, resets, a, b, is_counter, from_zero, total)
        places[task] = -1
        if not notes[task] & MIXED:
            begin = starts[a] if from_zero else times[a]
            observed = table.total_count[a] if is_counter else -1.0
            gaps = b - a
            factor = extrapolation(begin, times[b], gaps, end, window, from_zero, observed, total.numbers[COUNT])
            if is_rate:
                factor /= float(window) / 1000.0
            if not totals.room_left(total, out, ends):
                return task
            places[task] = ends[0]
            totals.store(total, out, ends, factor)
        task += 1
    return task


# -- comparisons -----------------------------------------------------------------------------------------------


@kernel
def side_was_reset(
    indices: NDArray[np.int32],
    counts: NDArray[np.float64],
    old_indices: NDArray[np.int32],
    old_counts: NDArray[np.float64],
    schema: int,
    shift: int,
    threshold: float,
) -> bool:
    """Return whether some bucket lost observations; the old ones are `shift` finer than `schema`."""
    k = 0
    j = 0
    if threshold > 0 and schema != CUSTOM:
        while k < len(indices) and bound(schema, np.int64(indices[k])) <= threshold:
            k += 1
        while j < len(old_indices) and bound(schema, coarser(old_indices[j], shift)) <= threshold:
            j += 1
    while j < len(old_indices):
        target = coarser(old_indices[j], shift)
        count = 0.0
        while j < len(old_indices) and coarser(old_indices[j], shift) == target:
            count += old_counts[j]
            j += 1
        while k < len(indices) and indices[k] < target:
            k += 1
        if k == len(indices):
            # As in Prometheus, nothing that comes after is looked at.
            return count != 0
        if indices[k] > target:
            if count != 0:
                return True
        elif counts[k] < count:
            return True
    return False


@kernel
def up_to(
    indices: NDArray[np.int32], counts: NDArray[np.float64], bounds: NDArray[np.float64], k: int, limit: float
) -> tuple[float, int]:
    """Add the counts of the buckets from place `k` on that end at `limit` or below; return the next place, too."""
    count = 0.0
    while k < len(indices) and (bounds[indices[k]] if indices[k] < len(bounds) else np.inf) <= limit:
        count += counts[k]
        k += 1
    return count, k


@kernel
def custom_was_reset(
    indices: NDArray[np.int32],
    counts: NDArray[np.float64],
    bounds: NDArray[np.float64],
    old_indices: NDArray[np.int32],
    old_counts: NDArray[np.float64],
    old_bounds: NDArray[np.float64],
) -> bool:
    """Return whether there are fewer observations between two bounds that both histograms have."""
    i = 0
    j = 0
    k = np.int64(0)
    m = np.int64(0)
    while i <= len(bounds) and j <= len(old_bounds):
        one = bounds[i] if i < len(bounds) else np.inf
        other = old_bounds[j] if j < len(old_bounds) else np.inf
        if one == other:
            count, k = up_to(indices, counts, bounds, k, one)
            old_count, m = up_to(old_indices, old_counts, old_bounds, m, one)
            if count < old_count:
                return True
            i += 1
            j += 1
        elif one < other:
            i += 1
        else:
            j += 1
    return False


@kernel
def was_reset(table: Columns, row: int, old: int) -> bool:
    """Return whether the counter of row `old` was reset before row `row`, as their counts tell."""
    if table.total_count[row] < table.total_count[old]:
        return True
    begin, until = table.starts[row], table.starts[row + 1]
    middle = begin + table.positive[row]
    old_begin, old_until = table.starts[old], table.starts[old + 1]
    old_middle = old_begin + table.positive[old]
    schema, old_schema = np.int64(table.schema[row]), np.int64(table.schema[old])
    if schema == CUSTOM:
        if old_schema != CUSTOM:
            return True
        bounds = table.bounds[table.bound_starts[row] : table.bound_starts[row + 1]]
        old_bounds = table.bounds[table.bound_starts[old] : table.bound_starts[old + 1]]
        if not same_doubles(bounds, old_bounds):
            return custom_was_reset(
                table.indices[begin:middle], table.counts[begin:middle], bounds,
                table.indices[old_begin:old_middle], table.counts[old_begin:old_middle], old_bounds,
            )  # fmt: skip
    if schema > old_schema:
        return True
    threshold = table.zero_threshold[row]
    zero_count = table.zero_count[old]
    if threshold != table.zero_threshold[old]:
        if threshold < table.zero_threshold[old]:
            return True
        indices, counts = table.indices[old_begin:old_until], table.counts[old_begin:old_until]
        positive = np.int64(table.positive[old])
        if settled(old_schema, indices, counts, positive, threshold) != threshold:
            return True
        zero_count = swallowed(old_schema, indices, counts, positive, threshold, zero_count)
    if table.zero_count[row] < zero_count:
        return True
    shift = old_schema - schema
    return side_was_reset(
        table.indices[begin:middle], table.counts[begin:middle],
        table.indices[old_begin:old_middle], table.counts[old_begin:old_middle], schema, shift, threshold,
    ) or side_was_reset(
        table.indices[middle:until], table.counts[middle:until],
        table.indices[old_middle:old_until], table.counts[old_middle:old_until], schema, shift, threshold,
    )  # fmt: skip


@kernel
def find_resets(table: Columns, rows: NDArray[np.int64], before: NDArray[np.int64], out: NDArray[np.bool_]) -> None:
    """Write whether the counter was reset between rows `before`, -1 for none, and `rows`; hints are believed."""
    for i in range(len(rows)):
        hint = table.hint[rows[i]]
        out[i] = before[i] >= 0 and (
            hint == RESET or (hint != NOT_RESET and was_reset(table, rows[i], before[i]))
        )  # fmt: skip


@kernel
def find_hints(table: Columns, rows: NDArray[np.int64], before: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
    """Write the hint that each of `rows` has in storage, given the row stored before it, -1 for none.

    Gauges and known resets stay what they are. Where the layout of buckets has changed, nothing is known.
    """
    for i in range(len(rows)):
        row, old = rows[i], before[i]
        hint = table.hint[row]
        if hint in (GAUGE, RESET):
            out[i] = hint
            continue
        out[i] = UNKNOWN
        if old < 0 or table.hint[old] == GAUGE:
            continue
        if table.total_count[row] < table.total_count[old]:
            out[i] = RESET
            continue
        bounds = table.bounds[table.bound_starts[row] : table.bound_starts[row + 1]]
        old_bounds = table.bounds[table.bound_starts[old] : table.bound_starts[old + 1]]
        same = table.schema[row] == table.schema[old] and table.zero_threshold[row] == table.zero_threshold[old]
        if same and same_doubles(bounds, old_bounds):
            out[i] = RESET if was_reset(table, row, old) else NOT_RESET


@kernel
def same_doubles(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Return whether both are the same to the bit."""
    if len(one) != len(other):
        return False
    for k in range(len(one)):
        if float_bits(one[k]) != float_bits(other[k]):
            return False
    return True


@kernel
def are_equal(left: Columns, row: int, right: Columns, other: int) -> bool:
    """Return whether two histograms are the same to the bit, whatever their hints."""
    begin, until = left.starts[row], left.starts[row + 1]
    start, stop = right.starts[other], right.starts[other + 1]
    same = (
        left.schema[row] == right.schema[other]
        and left.zero_threshold[row] == right.zero_threshold[other]
        and left.positive[row] == right.positive[other]
        and until - begin == stop - start
        and float_bits(left.total_count[row]) == float_bits(right.total_count[other])
        and float_bits(left.total_sum[row]) == float_bits(right.total_sum[other])
        and float_bits(left.zero_count[row]) == float_bits(right.zero_count[other])
    )
    if not same:
        return False
    for k in range(until - begin):
        if left.indices[begin + k] != right.indices[start + k]:
            return False
    return same_doubles(left.counts[begin:until], right.counts[start:stop]) and same_doubles(
        left.bounds[left.bound_starts[row] : left.bound_starts[row + 1]],
        right.bounds[right.bound_starts[other] : right.bound_starts[other + 1]],
    )


@kernel
def compare(
    left: Columns, lefts: NDArray[np.int64], right: Columns, rights: NDArray[np.int64], out: NDArray[np.bool_]
) -> None:
    """Write which pairs of rows are equal."""
    for i in range(len(lefts)):
        out[i] = are_equal(left, lefts[i], right, rights[i])
