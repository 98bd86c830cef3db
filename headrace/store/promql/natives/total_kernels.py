# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return,no-untyped-call"
"""What kernels add histograms up in, and how: schemas are reduced and zero buckets widened until both sides agree.

A total is a `Total` of caller-made arrays; a histogram is a row of `Columns`. An exponential bucket of index i at
schema s covers ``(2^((i - 1) / 2^s), 2^(i / 2^s)]``; halving the resolution puts it into bucket ``((i - 1) >> 1) + 1``.

Source:
    Prometheus 3.14, arithmetic of float histograms; "Native Histograms" specification, section "PromQL".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import bits_float
from headrace.kernels.jit import flat_kernel as kernel
from headrace.store.promql.natives.bounds import FRACTIONS
from headrace.store.promql.window_kernels import add as compensated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.store.promql.natives.float_histograms import Columns
    from headrace.store.promql.natives.math import Total

CUSTOM = -53
_FINEST = 8
_LARGEST = 1.7976931348623157e308
_LARGEST_EXPONENT = 1024
_STEP = 1000
"""Exponents that are reached at once."""

UNKNOWN, RESET, GAUGE = 0, 1, 3
"""Hints; see `ResetHint`."""

# Places in ``Total.numbers``: the second three compensate the sums before them.
ZERO_THRESHOLD, ZERO_COUNT, COUNT, SUM, ZERO_REST, COUNT_REST, SUM_REST = range(7)

# Places in ``Total.state``: schema, hint, buckets of either side, custom bounds, what was noted, whether sums are
# compensated, and whether empty buckets are written: literals as arguments would have a kernel compiled for each.
SCHEMA, HINT, POSITIVE, NEGATIVE, BOUNDS, NOTES, EXACT, WHOLE = range(8)

# Bits of what is noted.
RECONCILED = 1
"""Custom bounds differed; those that both had are left."""

COLLISION = 2
"""One histogram was marked as after a reset, the other as not."""


@kernel
def power_of_two(exponent: int) -> float:
    """Return ``2^exponent``, from -1022 to 1023."""
    return bits_float(np.uint64(exponent + 1023) << np.uint64(52))


@kernel
def bound(schema: int, index: int) -> float:
    """Return the upper bound of a bucket of an exponential schema; the last finite one is the largest double."""
    if schema >= 0:
        exponent = index >> schema
        fraction = FRACTIONS[(index & ((1 << schema) - 1)) << (_FINEST - schema)]
    else:
        exponent = index << -schema
        fraction = 0.5
    if exponent == _LARGEST_EXPONENT and fraction == 0.5:
        return _LARGEST
    exponent = min(max(exponent + 1, -1100), 1100)
    if exponent > _STEP:
        return fraction * power_of_two(_STEP) * power_of_two(exponent - _STEP)
    if exponent < -_STEP:
        # The last product alone is rounded, where the result is subnormal.
        return fraction * power_of_two(exponent + _STEP) * power_of_two(-_STEP)
    return fraction * power_of_two(exponent)


@kernel
def coarser(index: int, shift: int) -> int:
    """Return the bucket that holds bucket `index` of a schema `shift` finer."""
    return ((index - 1) >> shift) + 1


@kernel
def settled(
    schema: int,
    indices: NDArray[np.int32],
    counts: NDArray[np.float64],
    positive: int,
    threshold: float,
) -> float:
    """Raise the threshold of a zero bucket until it lies within no bucket with observations.

    Args:
        schema: Exponential.
        indices: (b,) of one histogram, the positive ones first.
        counts: (b,).
        positive: How many are positive.
        threshold: The least that it may be.
    """
    before = -1.0
    while before != threshold:
        before = threshold
        for side in range(2):
            for k in range(positive if side else 0, len(indices) if side else positive):
                if bound(schema, indices[k] - 1) >= threshold:
                    break
                upper = bound(schema, np.int64(indices[k]))
                if upper > threshold:
                    if counts[k] != 0:
                        threshold = upper
                    break
    return threshold


@kernel
def swallowed(
    schema: int,
    indices: NDArray[np.int32],
    counts: NDArray[np.float64],
    positive: int,
    threshold: float,
    total: float,
) -> float:
    """Add the counts of the buckets that a zero bucket of a settled `threshold` covers to `total`."""
    for side in range(2):
        for k in range(positive if side else 0, len(indices) if side else positive):
            if bound(schema, indices[k] - 1) >= threshold:
                break
            total += counts[k]
    return total


@kernel
def load(table: Columns, row: int, total: Total) -> None:
    """Begin `total` with a histogram."""
    numbers, state = total.numbers, total.state
    numbers[ZERO_THRESHOLD] = table.zero_threshold[row]
    numbers[ZERO_COUNT] = table.zero_count[row]
    numbers[COUNT] = table.total_count[row]
    numbers[SUM] = table.total_sum[row]
    numbers[ZERO_REST] = 0.0
    numbers[COUNT_REST] = 0.0
    numbers[SUM_REST] = 0.0
    state[SCHEMA] = table.schema[row]
    state[HINT] = table.hint[row]
    state[NOTES] = 0
    first = table.starts[row]
    middle = first + table.positive[row]
    state[POSITIVE] = middle - first
    state[NEGATIVE] = table.starts[row + 1] - middle
    for side in range(2):
        begin = middle if side else first
        for k in range(state[POSITIVE + side]):
            total.indices[side, k] = table.indices[begin + k]
            total.counts[side, k] = table.counts[begin + k]
            total.rests[side, k] = 0.0
    begin = table.bound_starts[row]
    state[BOUNDS] = table.bound_starts[row + 1] - begin
    for k in range(state[BOUNDS]):
        total.bounds[k] = table.bounds[begin + k]


@kernel
def reduce(total: Total, schema: int) -> None:
    """Merge neighbouring buckets until the total has a coarser exponential `schema`."""
    shift = total.state[SCHEMA] - schema
    if shift <= 0:
        return
    total.state[SCHEMA] = schema
    for side in range(2):
        indices, counts, rests = total.indices[side], total.counts[side], total.rests[side]
        n = 0
        for k in range(total.state[POSITIVE + side]):
            target = coarser(indices[k], shift)
            if n and indices[n - 1] == target:
                counts[n - 1], rests[n - 1] = compensated(counts[k], counts[n - 1], rests[n - 1])
                rests[n - 1] += rests[k]
            else:
                indices[n] = target
                counts[n] = counts[k]
                rests[n] = rests[k]
                n += 1
        total.state[POSITIVE + side] = n


@kernel
def widen(total: Total, threshold: float) -> None:
    """Let the zero bucket of the total reach to a settled `threshold`; its empty buckets go, too."""
    numbers = total.numbers
    schema = total.state[SCHEMA]
    for side in range(2):
        indices, counts, rests = total.indices[side], total.counts[side], total.rests[side]
        n = 0
        for k in range(total.state[POSITIVE + side]):
            if bound(schema, indices[k] - 1) < threshold:
                numbers[ZERO_COUNT], numbers[ZERO_REST] = compensated(
                    counts[k], numbers[ZERO_COUNT], numbers[ZERO_REST]
                )
                numbers[ZERO_REST] += rests[k]
            elif counts[k] != 0 or rests[k] != 0:
                indices[n] = indices[k]
                counts[n] = counts[k]
                rests[n] = rests[k]
                n += 1
        total.state[POSITIVE + side] = n
    numbers[ZERO_THRESHOLD] = threshold


@kernel
def agree_on_zero(total: Total, table: Columns, row: int) -> float:
    """Widen the zero bucket of the total until it covers that of a row; return the row's count within it."""
    numbers = total.numbers
    first, until = table.starts[row], table.starts[row + 1]
    indices, counts = table.indices[first:until], table.counts[first:until]
    own = numbers[ZERO_THRESHOLD]
    other = table.zero_threshold[row]
    if own == other or np.isnan(own) or np.isnan(other):
        return table.zero_count[row]
    schema, positive = np.int64(table.schema[row]), np.int64(table.positive[row])
    while own != other:
        if own > other:
            other = settled(schema, indices, counts, positive, own)
        if other > own:
            own = other
            for side in range(2):
                n = total.state[POSITIVE + side]
                own = settled(total.state[SCHEMA], total.indices[side, :n], total.counts[side, :n], n, own)
    if own != numbers[ZERO_THRESHOLD]:
        widen(total, own)
    if own == table.zero_threshold[row]:
        return table.zero_count[row]
    return swallowed(schema, indices, counts, positive, own, table.zero_count[row])


@kernel
def make_room(total: Total, side: int, indices: NDArray[np.int32], shift: int) -> None:
    """Give the total an empty bucket wherever `indices`, `shift` finer, have one and it has none."""
    own, counts, rests = total.indices[side], total.counts[side], total.rests[side]
    n = total.state[POSITIVE + side]
    missing = 0
    k = 0
    last = np.int64(0)
    for j in range(len(indices)):
        target = coarser(indices[j], shift)
        while k < n and own[k] < target:
            k += 1
        if (k == n or own[k] != target) and (j == 0 or target != last):
            missing += 1
        last = target
    if not missing:
        return
    total.state[POSITIVE + side] = n + missing
    place = n + missing - 1
    k = n - 1
    j = len(indices) - 1
    while place > k:
        target = coarser(indices[j], shift)
        while k >= 0 and own[k] > target:
            own[place] = own[k]
            counts[place] = counts[k]
            rests[place] = rests[k]
            k -= 1
            place -= 1
        if k < 0 or own[k] != target:
            own[place] = target
            counts[place] = 0.0
            rests[place] = 0.0
            place -= 1
        while j >= 0 and coarser(indices[j], shift) == target:
            j -= 1


@kernel
def add_side(
    total: Total,
    side: int,
    indices: NDArray[np.int32],
    counts: NDArray[np.float64],
    shift: int,
    sign: float,
    divisor: float,
) -> None:
    """Add the buckets of one side, `shift` finer than those of the total; see `add`."""
    begin = 0
    if shift == 0:
        threshold = total.numbers[ZERO_THRESHOLD]
        schema = total.state[SCHEMA]
        if threshold > 0 and schema != CUSTOM:
            while begin < len(indices) and bound(schema, np.int64(indices[begin])) <= threshold:
                begin += 1
    else:
        while (
            begin < len(indices)
            and bound(total.state[SCHEMA], coarser(indices[begin], shift)) <= (total.numbers[ZERO_THRESHOLD])
        ):
            begin += 1
    make_room(total, side, indices[begin:], shift)
    own, sums, rests = total.indices[side], total.counts[side], total.rests[side]
    k = 0
    for j in range(begin, len(indices)):
        target = coarser(indices[j], shift)
        while own[k] < target:
            k += 1
        x = counts[j] * sign
        if divisor != 1.0:
            x /= divisor
        if total.state[EXACT]:
            sums[k], rests[k] = compensated(x, sums[k], rests[k])
        else:
            sums[k] += x


@kernel
def same_bounds(total: Total, bounds: NDArray[np.float64]) -> bool:
    """Return whether the total has these custom bounds."""
    if len(bounds) != total.state[BOUNDS]:
        return False
    for k in range(len(bounds)):
        if bounds[k] != total.bounds[k]:
            return False
    return True


@kernel
def keep_common_bounds(total: Total, bounds: NDArray[np.float64]) -> None:
    """Leave the total the custom bounds that `bounds` have, too; buckets between them are merged."""
    indices, counts, rests = total.indices[0], total.counts[0], total.rests[0]
    n = total.state[BOUNDS]
    size = 0
    place = 0
    kept = 0
    k = 0
    # What is kept overwrites only what was read before.
    for j in range(n + 1):
        while j < n and place < len(bounds) and bounds[place] < total.bounds[j]:
            place += 1
        while k < total.state[POSITIVE] and indices[k] <= j:
            if size and indices[size - 1] == kept:
                counts[size - 1], rests[size - 1] = compensated(counts[k], counts[size - 1], rests[size - 1])
                rests[size - 1] += rests[k]
            else:
                counts[size] = counts[k]
                rests[size] = rests[k]
                indices[size] = kept
                size += 1
            k += 1
        if j < n and place < len(bounds) and bounds[place] == total.bounds[j]:
            total.bounds[kept] = total.bounds[j]
            kept += 1
    total.state[POSITIVE] = size
    total.state[BOUNDS] = kept
    total.state[NOTES] |= RECONCILED


@kernel
def add_custom(total: Total, table: Columns, row: int, sign: float, divisor: float) -> None:
    """Add the buckets of a row with custom bounds; see `add`."""
    begin, until = table.starts[row], table.starts[row + 1]
    indices, counts = table.indices[begin:until], table.counts[begin:until]
    bounds = table.bounds[table.bound_starts[row] : table.bound_starts[row + 1]]
    if same_bounds(total, bounds):
        add_side(total, np.int64(0), indices, counts, np.int64(0), sign, divisor)
        return
    keep_common_bounds(total, bounds)
    own = total.indices[0]
    common = total.state[BOUNDS]
    place = 0
    k = 0
    for j in range(len(indices)):
        target = common
        if indices[j] < len(bounds):
            while place < common and total.bounds[place] < bounds[indices[j]]:
                place += 1
            target = place
        n = total.state[POSITIVE]
        while k < n and own[k] < target:
            k += 1
        if k == n or own[k] != target:
            for m in range(n, k, -1):
                own[m] = own[m - 1]
                total.counts[0, m] = total.counts[0, m - 1]
                total.rests[0, m] = total.rests[0, m - 1]
            own[k] = target
            total.counts[0, k] = 0.0
            total.rests[0, k] = 0.0
            total.state[POSITIVE] = n + 1
        x = counts[j] * sign / divisor
        total.counts[0, k], total.rests[0, k] = compensated(x, total.counts[0, k], total.rests[0, k])
    if not total.state[EXACT]:
        for k in range(total.state[POSITIVE]):
            total.rests[0, k] = 0.0


@kernel
def meet_hint(total: Total, hint: int) -> None:
    """Take a hint into account: gauges win, unknown is next, and contradictions are unknown and noted."""
    own = total.state[HINT]
    if own in (hint, GAUGE):
        return
    if hint == GAUGE:
        total.state[HINT] = GAUGE
    elif own != UNKNOWN:
        total.state[HINT] = UNKNOWN
        if hint != UNKNOWN:
            total.state[NOTES] |= COLLISION


@kernel
def add(total: Total, table: Columns, row: int, sign: float, divisor: float) -> bool:
    """Add a row, or subtract it.

    Args:
        total: Changed; where it is EXACT, sums are compensated, and their rests left in it.
        table: Histograms.
        row: Which.
        sign: 1 or -1.
        divisor: By which the row is divided first.

    Returns:
        False where one has exponential buckets and the other its own bounds; nothing is changed then.
    """
    numbers, state = total.numbers, total.state
    custom = table.schema[row] == CUSTOM
    if custom != (state[SCHEMA] == CUSTOM):
        return False
    meet_hint(total, np.int64(table.hint[row]))
    zero_count = 0.0 if custom else agree_on_zero(total, table, row)
    x, y, z = (
        sign * zero_count / divisor,
        sign * table.total_count[row] / divisor,
        sign * table.total_sum[row] / divisor,
    )
    if total.state[EXACT]:
        numbers[ZERO_COUNT], numbers[ZERO_REST] = compensated(x, numbers[ZERO_COUNT], numbers[ZERO_REST])
        numbers[COUNT], numbers[COUNT_REST] = compensated(y, numbers[COUNT], numbers[COUNT_REST])
        numbers[SUM], numbers[SUM_REST] = compensated(z, numbers[SUM], numbers[SUM_REST])
    else:
        numbers[ZERO_COUNT] += x
        numbers[COUNT] += y
        numbers[SUM] += z
    if custom:
        add_custom(total, table, row, sign, divisor)
        return True
    schema = np.int64(table.schema[row])
    reduce(total, schema)
    shift = schema - state[SCHEMA]
    begin, until = table.starts[row], table.starts[row + 1]
    middle = begin + table.positive[row]
    for side in range(2):
        at = middle if side else begin
        to = until if side else middle
        add_side(total, side, table.indices[at:to], table.counts[at:to], shift, sign, divisor)
    return True


@kernel
def scale(total: Total, factor: float, divisor: float) -> None:
    """Multiply and divide everything, rests included."""
    for k in range(ZERO_COUNT, SUM_REST + 1):
        total.numbers[k] = total.numbers[k] * factor / divisor
    for side in range(2):
        for k in range(total.state[POSITIVE + side]):
            total.counts[side, k] = total.counts[side, k] * factor / divisor
            total.rests[side, k] = total.rests[side, k] * factor / divisor


@kernel
def is_finite(total: Total) -> bool:
    """Return whether all counts and the sum are numbers."""
    for k in range(ZERO_COUNT, SUM + 1):
        if not np.isfinite(total.numbers[k]):
            return False
    for side in range(2):
        for k in range(total.state[POSITIVE + side]):
            if not np.isfinite(total.counts[side, k]):
                return False
    return True


@kernel
def overflows(total: Total) -> bool:
    """Return whether some count or the sum is infinite."""
    for k in range(ZERO_COUNT, SUM + 1):
        if np.isinf(total.numbers[k]):
            return True
    for side in range(2):
        for k in range(total.state[POSITIVE + side]):
            if np.isinf(total.counts[side, k]):
                return True
    return False


@kernel
def room_left(total: Total, out: Columns, ends: NDArray[np.int64]) -> bool:
    """Return whether `store` has the room it may need."""
    buckets = total.state[POSITIVE] + total.state[NEGATIVE]
    return ends[1] + buckets <= len(out.indices) and ends[2] + total.state[BOUNDS] <= len(out.bounds)


@kernel
def store(total: Total, out: Columns, ends: NDArray[np.int64], factor: float) -> None:
    """Write the total, rests added and multiplied by `factor`, as the next row of `out`; no empty buckets unless WHOLE.

    Args:
        total: What is written.
        out: Columns with room.
        ends: (3,) int64: rows, buckets and bounds written so far; moved on.
        factor: 1 for the total itself.
    """
    numbers, state = total.numbers, total.state
    row, b = ends[0], ends[1]
    out.schema[row] = state[SCHEMA]
    out.hint[row] = GAUGE if factor < 0 else state[HINT]
    out.zero_threshold[row] = numbers[ZERO_THRESHOLD]
    out.zero_count[row] = (numbers[ZERO_COUNT] + numbers[ZERO_REST]) * factor
    out.total_count[row] = (numbers[COUNT] + numbers[COUNT_REST]) * factor
    out.total_sum[row] = (numbers[SUM] + numbers[SUM_REST]) * factor
    for side in range(2):
        for k in range(state[POSITIVE + side]):
            count = total.counts[side, k] + total.rests[side, k]
            if count != 0 or state[WHOLE]:
                out.indices[b] = total.indices[side, k]
                out.counts[b] = count * factor
                b += 1
        if side == 0:
            out.positive[row] = b - ends[1]
    for k in range(state[BOUNDS]):
        out.bounds[ends[2] + k] = total.bounds[k]
    ends[0] += 1
    ends[1] = b
    ends[2] += state[BOUNDS]
    out.starts[ends[0]] = b
    out.bound_starts[ends[0]] = ends[2]
