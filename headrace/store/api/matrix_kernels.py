# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that write query results as JSON, a buffer at a time.

A call goes on where the last one stopped, as `state` says: number of the series, place among its points, and one of
OUTSIDE, OPENED and FILLED. Buffers that are read have PAD readable bytes behind the last one in use; the one that is
written has SLACK of them, since copies go by eight bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import bits_float, float_bits, load_u64, store_u64
from headrace.kernels.float_print_kernels import count_digits, write_api, write_uint
from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUTSIDE = 0
"""The series is not begun."""
OPENED = 1
"""Its labels are written."""
FILLED = 2
"""Points are written, so that a comma stands before the next."""

POINT_BYTES = 96
"""No point is longer: a time has at most 20 digits, a value at most 32 bytes."""
SLACK = 64

_SIGN = np.uint64(1 << 63)
_MAGNITUDE = np.uint64((1 << 63) - 1)
_TEN_PAST_LARGEST_WHOLE = 9007199254740992.0
_THOUSANDTHS_BELOW = 1e12
_COMMA, _QUOTE, _MINUS, _POINT, _OPEN, _CLOSE, _BRACE, _ZERO = 44, 34, 45, 46, 91, 93, 125, 48


@kernel
def write_grid(
    values: NDArray[np.float64],
    present: NDArray[np.bool_],
    rows: NDArray[np.int64],
    members: NDArray[np.int32],
    text: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    head_bytes: int,
    time_text: NDArray[np.uint8],
    time_bounds: NDArray[np.int64],
    state: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> int:
    """Write series whose points lie on a grid.

    Args:
        values: (n, steps) float64.
        present: (n, steps) bool.
        rows: (k,) int64: series of the answer, in order.
        members: (k, labels) int32: numbers of texts, -1 where a series lacks the label.
        text: Texts one after the other: what opens a series' points, what closes them, then members.
        bounds: (texts + 1,) int64: where each begins.
        head_bytes: No series' labels take more.
        time_text: ``[`` and the time of each step, one after the other.
        time_bounds: (steps + 1,) int64: where each begins.
        state: (3,) int64; see the module.
        out: uint8, at least ``head_bytes + POINT_BYTES + SLACK`` long.

    Returns:
        Bytes written; 0 once everything is.
    """
    limit = len(out) - SLACK - POINT_BYTES
    row, step, phase = state[0], state[1], state[2]
    pos = 0
    last = _SIGN
    last_pos = -1
    last_size = 0
    while row < len(rows) and pos <= limit:
        if phase == OUTSIDE:
            if pos + head_bytes > limit:
                break
            pos = _open(out, pos, row, members, text, bounds)
            phase = OPENED
        own_values = values[rows[row]]
        own_present = present[rows[row]]
        while step < len(own_present) and pos <= limit:
            if own_present[step]:
                if phase == FILLED:
                    out[pos] = _COMMA
                    pos += 1
                phase = FILLED
                pos = _copy(time_text, time_bounds[step], time_bounds[step + 1], out, pos)
                bits = float_bits(own_values[step])
                if bits == last and last_pos >= 0:
                    pos = _again(out, last_pos, last_size, pos)
                else:
                    last_pos = pos
                    pos = _write_value(out, pos, own_values[step])
                    last, last_size = bits, pos - last_pos
            step += 1
        if step < len(own_present) or pos > limit:
            break
        pos = _copy(text, bounds[1], bounds[2], out, pos)
        row, step, phase = row + 1, 0, OUTSIDE
    state[0], state[1], state[2] = row, step, phase
    return pos


@kernel
def write_ranges(
    values: NDArray[np.float64],
    times_ms: NDArray[np.int64],
    firsts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    members: NDArray[np.int32],
    text: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    head_bytes: int,
    state: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> int:
    """Write series whose points have times of their own.

    Args:
        values: (m,) float64.
        times_ms: (m,) int64.
        firsts: (k,) int64: first sample of each series of the answer, in order.
        sizes: (k,) int64: how many samples of each are written.
        members: See `write_grid`, as for what follows.
        text: Texts.
        bounds: Where each begins.
        head_bytes: No series' labels take more.
        state: (3,) int64.
        out: uint8.

    Returns:
        Bytes written; 0 once everything is.
    """
    limit = len(out) - SLACK - POINT_BYTES
    row, sample, phase = state[0], state[1], state[2]
    pos = 0
    while row < len(firsts) and pos <= limit:
        if phase == OUTSIDE:
            if pos + head_bytes > limit:
                break
            pos = _open(out, pos, row, members, text, bounds)
            phase = OPENED
        while sample < sizes[row] and pos <= limit:
            if phase == FILLED:
                out[pos] = _COMMA
                pos += 1
            phase = FILLED
            place = firsts[row] + sample
            out[pos] = _OPEN
            pos = _write_time(out, pos + 1, times_ms[place])
            out[pos] = _COMMA
            pos = _write_value(out, pos + 1, values[place])
            sample += 1
        if sample < sizes[row] or pos > limit:
            break
        pos = _copy(text, bounds[1], bounds[2], out, pos)
        row, sample, phase = row + 1, 0, OUTSIDE
    state[0], state[1], state[2] = row, sample, phase
    return pos


@kernel
def _open(
    out: NDArray[np.uint8],
    pos: int,
    row: int,
    members: NDArray[np.int32],
    text: NDArray[np.uint8],
    bounds: NDArray[np.int64],
) -> int:
    """Write a series' labels and what its points begin with; a comma goes before all but the first."""
    if row > 0:
        out[pos] = _COMMA
        pos += 1
    pos = _copy(text, bounds[2], bounds[3], out, pos)
    begun = False
    for column in range(members.shape[1]):
        member = members[row, column]
        if member >= 0:
            if begun:
                out[pos] = _COMMA
                pos += 1
            begun = True
            pos = _copy(text, bounds[member], bounds[member + 1], out, pos)
    out[pos] = _BRACE
    return _copy(text, bounds[0], bounds[1], out, pos + 1)


@kernel
def _copy(text: NDArray[np.uint8], start: int, end: int, out: NDArray[np.uint8], pos: int) -> int:
    """Copy ``text[start:end]`` to `pos`, and up to seven bytes more; return the offset past it."""
    shift = pos - start
    while start < end:
        store_u64(out, start + shift, load_u64(text, start))
        start += 8
    return end + shift


@kernel
def _again(out: NDArray[np.uint8], start: int, size: int, pos: int) -> int:
    """Repeat what was written at `start`; see `_copy`."""
    for done in range(0, size, 8):
        store_u64(out, pos + done, load_u64(out, start + done))
    return pos + size


@kernel
def _write_time(out: NDArray[np.uint8], pos: int, time_ms: int) -> int:
    """Write milliseconds as seconds: whole, or with three digits."""
    if time_ms < 0:
        out[pos] = _MINUS
        pos += 1
    amount = np.uint64(abs(time_ms))
    seconds, rest = amount // np.uint64(1000), amount % np.uint64(1000)
    pos = write_uint(out, pos, seconds, count_digits(seconds))
    if rest == np.uint64(0):
        return pos
    out[pos] = _POINT
    return write_uint(out, pos + 1, rest, 3)


@kernel
def _write_value(out: NDArray[np.uint8], pos: int, value: float) -> int:
    """Write ``"`` value ``"]``; whole numbers and those of up to three decimals take a short way."""
    out[pos] = _QUOTE
    pos += 1
    bits = float_bits(value)
    magnitude = bits_float(bits & _MAGNITUDE)
    if magnitude < _TEN_PAST_LARGEST_WHOLE:
        whole = np.uint64(magnitude)
        if np.float64(whole) == magnitude:
            if bits >= _SIGN:
                out[pos] = _MINUS
                pos += 1
            return _end(out, write_uint(out, pos, whole, count_digits(whole)))
        if magnitude < _THOUSANDTHS_BELOW:
            # A decimal of at most 15 digits that reads back as the value is the shortest one: no other of so few
            # digits reads as the same double.
            thousandths = np.uint64(magnitude * 1000.0 + 0.5)
            if np.float64(thousandths) / 1000.0 == magnitude:
                if bits >= _SIGN:
                    out[pos] = _MINUS
                    pos += 1
                return _end(out, _write_thousandths(out, pos, whole, thousandths))
    return _end(out, write_api(out, pos, value))


@kernel
def _write_thousandths(out: NDArray[np.uint8], pos: int, whole: np.uint64, thousandths: np.uint64) -> int:
    """Write a number that is not whole, without zeros at its end."""
    pos = write_uint(out, pos, whole, count_digits(whole))
    out[pos] = _POINT
    pos = write_uint(out, pos + 1, thousandths - whole * np.uint64(1000), 3)
    while out[pos - 1] == _ZERO:
        pos -= 1
    return pos


@kernel
def _end(out: NDArray[np.uint8], pos: int) -> int:
    out[pos] = _QUOTE
    out[pos + 1] = _CLOSE
    return pos + 2
