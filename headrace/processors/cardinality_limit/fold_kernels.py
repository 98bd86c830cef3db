# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernel of the cardinality limiter: points of many series become points of few."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import float_bits
from headrace.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEVER = np.int64(-(1 << 63))
"""No point waits."""

_STALE = np.uint64(0x7FF0000000000002)


@kernel
def fold(
    rows: NDArray[np.int64],
    series: NDArray[np.int32],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    slot_of: NDArray[np.int32],
    last: NDArray[np.float64],
    known: NDArray[np.bool_],
    counts_up: NDArray[np.bool_],
    totals: NDArray[np.float64],
    pending: NDArray[np.int64],
    begun: NDArray[np.bool_],
    out_slot: NDArray[np.int32],
    out_time: NDArray[np.int64],
    out_value: NDArray[np.float64],
) -> int:
    """Add points to the totals of their slots; return how many points of slots are complete.

    A slot's point of time T is complete when a later point arrives. A counter adds what its members have grown by,
    through their resets; a member that is new adds nothing, save before the slot's first point, when it brings its
    value. A gauge is the sum of its members' newest values.

    Args:
        rows: Rows to add, ascending by time.
        series: (n,) ids of all points.
        times: (n,) nanoseconds.
        values: (n,).
        slot_of: Slot by id.
        last: Newest value by id.
        known: By id, whether there is one.
        counts_up: By slot, whether it is a counter.
        totals: By slot.
        pending: By slot: time of the point that waits, or NEVER.
        begun: By slot, whether a point was ever complete.
        out_slot: (rows,) takes the slots of complete points.
        out_time: (rows,) takes their times.
        out_value: (rows,) takes their values.
    """
    n = 0
    for k in range(len(rows)):
        row = rows[k]
        member = series[row]
        slot = slot_of[member]
        if times[row] > pending[slot]:
            if pending[slot] != NEVER:
                out_slot[n] = slot
                out_time[n] = pending[slot]
                out_value[n] = totals[slot]
                n += 1
                begun[slot] = True
            pending[slot] = times[row]
        value = values[row]
        if np.uint64(float_bits(value)) == _STALE:
            if not counts_up[slot] and known[member]:
                totals[slot] -= last[member]
                known[member] = False
            continue
        if counts_up[slot]:
            if known[member]:
                totals[slot] += value - last[member] if value >= last[member] else value
            elif not begun[slot]:
                totals[slot] += value
        else:
            totals[slot] += value - last[member] if known[member] else value
        last[member] = value
        known[member] = True
    return n
