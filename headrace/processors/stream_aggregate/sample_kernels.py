# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels of stream aggregation: samples added to their aggregates, and held for deduplication."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COUNT, SUM, MIN, MAX, LAST, MEAN, SQUARES, TOTAL, TOTAL_PROMETHEUS, INCREASE, INCREASE_PROMETHEUS = range(11)
"""Columns of aggregates."""

AGGREGATES = 11

TIME, RATE_TIME, KNOWN, HIT = range(4)
"""Integers of inputs: newest sample, newest one of the interval before, whether there is one, whether in this one."""

MARKS = 4
VALUE, GROWTH = range(2)
"""Floats of inputs: newest value, what it has grown by in this interval."""

FLOATS = 2


@kernel
def add(
    slots: NDArray[np.int32],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    first_counts: bool,
    group_of: NDArray[np.int32],
    is_delta: NDArray[np.uint8],
    marks: NDArray[np.int64],
    floats: NDArray[np.float64],
    newest: NDArray[np.int64],
    aggregates: NDArray[np.float64],
    bounds: NDArray[np.float64],
    buckets: NDArray[np.float64],
) -> int:
    """Add samples to the aggregates of their groups.

    Args:
        slots: (k,) inputs of the samples, which ascend by time within an input.
        times: (k,) nanoseconds.
        values: (k,) without NaN.
        first_counts: Whether a counter that is new has grown from 0.
        group_of: Group by input.
        is_delta: By input, whether values are what was added instead of totals.
        marks: (inputs, MARKS); changed.
        floats: (inputs, FLOATS); changed.
        newest: By group, time of the newest sample; changed.
        aggregates: (groups, AGGREGATES); changed.
        bounds: (b,) upper bounds of buckets, ascending, without +Inf.
        buckets: (groups, b + 1); changed.

    Returns:
        How many samples were older than one of their input, and so say nothing of its growth.
    """
    late = 0
    for k in range(len(slots)):
        slot, value, time = slots[k], values[k], times[k]
        group = group_of[slot]
        if aggregates[group, COUNT] == 0:
            aggregates[group, MIN] = value
            aggregates[group, MAX] = value
            newest[group] = time
            aggregates[group, LAST] = value
        aggregates[group, COUNT] += 1
        aggregates[group, SUM] += value
        aggregates[group, MIN] = min(aggregates[group, MIN], value)
        aggregates[group, MAX] = max(aggregates[group, MAX], value)
        if time >= newest[group]:
            newest[group] = time
            aggregates[group, LAST] = value
        # Welford's: a difference of large sums of squares would lose the variance.
        offset = value - aggregates[group, MEAN]
        aggregates[group, MEAN] += offset / aggregates[group, COUNT]
        aggregates[group, SQUARES] += offset * (value - aggregates[group, MEAN])
        place = 0
        while place < len(bounds) and value > bounds[place]:
            place += 1
        buckets[group, place] += 1
        marks[slot, HIT] = 1
        if marks[slot, KNOWN] and time < marks[slot, TIME]:
            late += 1
            continue
        growth = value
        if is_delta[slot] == 0 and marks[slot, KNOWN] and value >= floats[slot, VALUE]:
            growth = value - floats[slot, VALUE]
        if marks[slot, KNOWN] or is_delta[slot]:
            aggregates[group, TOTAL] += growth
            aggregates[group, INCREASE] += growth
            aggregates[group, TOTAL_PROMETHEUS] += growth
            aggregates[group, INCREASE_PROMETHEUS] += growth
            floats[slot, GROWTH] += growth
        elif first_counts:
            aggregates[group, TOTAL] += growth
            aggregates[group, INCREASE] += growth
        if marks[slot, KNOWN] == 0:
            marks[slot, RATE_TIME] = time
            marks[slot, KNOWN] = 1
        floats[slot, VALUE] = value
        marks[slot, TIME] = time
    return late


@kernel
def hold(
    slots: NDArray[np.int32],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    held_at: NDArray[np.int64],
    held: NDArray[np.float64],
) -> None:
    """Keep the newest sample of each input; of samples of one time, the largest.

    Args:
        slots: (k,) inputs.
        times: (k,) nanoseconds.
        values: (k,) without NaN.
        held_at: By input, time of the sample that is held, 0 for none; changed.
        held: By input, its value; changed.
    """
    for k in range(len(slots)):
        slot = slots[k]
        if held_at[slot] == 0 or times[k] > held_at[slot]:
            held_at[slot] = times[k]
            held[slot] = values[k]
        elif times[k] == held_at[slot]:
            held[slot] = max(held[slot], values[k])
