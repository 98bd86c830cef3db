# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that write the attributes of points, and exemplars.

Source:
    opentelemetry-proto, ``common/v1/common.proto``, ``metrics/v1/metrics.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import float_bits, store_u64
from headrace.kernels.jit import flat_kernel as kernel
from headrace.pipeline.wire.protobuf_write_kernels import copy, put_varint, sized, varint_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRING, INT, BOOL, OTHER = 0, 1, 2, 3
"""Types of attributes; others are written elsewhere."""

NAME = 4
"""No attribute, but the metric's name."""

_MINUS, _ZERO, _T = 45, 48, 116
_TRACE, _SPAN = 8, 7
"""Lengths of ``trace_id`` and ``span_id``."""


@kernel
def attribute_sizes(
    buf: NDArray[np.uint8],
    spans: NDArray[np.int32],
    starts: NDArray[np.int32],
    types: NDArray[np.uint8],
    sizes: NDArray[np.int32],
) -> None:
    """Compute the size of the attributes of each of n series.

    Args:
        buf: Bytes of names and values.
        spans: (k, 4) labels.
        starts: (n + 1,) where the labels of each series begin.
        types: (k,) STRING, INT, BOOL, or NAME.
        sizes: (n,).
    """
    for i in range(len(starts) - 1):
        size = 0
        for j in range(starts[i], starts[i + 1]):
            if types[j] != NAME:
                size += sized(_pair_size(buf, spans, j, types[j]))
        sizes[i] = size


@kernel
def _pair_size(buf: NDArray[np.uint8], spans: NDArray[np.int32], j: int, type_: int) -> int:
    return sized(spans[j, 1]) + sized(_value_size(buf, spans, j, type_))


@kernel
def _value_size(buf: NDArray[np.uint8], spans: NDArray[np.int32], j: int, type_: int) -> int:
    if type_ == STRING:
        return sized(spans[j, 3])
    return 2 if type_ == BOOL else 1 + varint_size(_integer(buf, spans[j, 2], spans[j, 3]))


@kernel
def _integer(buf: NDArray[np.uint8], at: int, size: int) -> int:
    """Return the integer that is written there in decimal digits."""
    first = np.int64(at)
    negative = buf[first] == _MINUS
    value = np.int64(0)
    for k in range(first + negative, first + size):
        # Downwards, since the least integer has no positive counterpart.
        value = value * 10 - (np.int64(buf[k]) - _ZERO)
    return value if negative else -value


@kernel
def put_attributes(
    buf: NDArray[np.uint8],
    spans: NDArray[np.int32],
    starts: NDArray[np.int32],
    types: NDArray[np.uint8],
    tags: NDArray[np.uint8],
    places: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Write the attributes of n series.

    Args:
        buf: Bytes of names and values, padded.
        spans: (k, 4) labels.
        starts: (n + 1,).
        types: (k,).
        tags: (n,) tag of an attribute in the points of each series.
        places: (n,) where each one's go.
        out: With PAD bytes to spare.
    """
    for i in range(len(starts) - 1):
        p = places[i]
        for j in range(starts[i], starts[i + 1]):
            if types[j] != NAME:
                p = _put_pair(buf, spans, j, types[j], tags[i], out, p)


@kernel
def _put_pair(
    buf: NDArray[np.uint8], spans: NDArray[np.int32], j: int, type_: int, tag: int, out: NDArray[np.uint8], p: int
) -> int:
    out[p] = tag
    p = put_varint(out, p + 1, _pair_size(buf, spans, j, type_))
    out[p] = 10
    p = put_varint(out, p + 1, spans[j, 1])
    p = copy(buf, np.int64(spans[j, 0]), np.int64(spans[j, 1]), out, p)
    out[p] = 18
    p = put_varint(out, p + 1, _value_size(buf, spans, j, type_))
    if type_ == STRING:
        out[p] = 10
        p = put_varint(out, p + 1, spans[j, 3])
        return copy(buf, np.int64(spans[j, 2]), np.int64(spans[j, 3]), out, p)
    if type_ == BOOL:
        out[p] = 16
        out[p + 1] = buf[spans[j, 2]] == _T
        return p + 2
    out[p] = 24
    return put_varint(out, p + 1, _integer(buf, spans[j, 2], spans[j, 3]))


@kernel
def place_exemplars(
    order: NDArray[np.int64],
    series: NDArray[np.int32],
    times: NDArray[np.int64],
    e_series: NDArray[np.int32],
    e_times: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> None:
    """Find the point that each exemplar belongs to: the first of its series that is not before it, else the last.

    Args:
        order: (t,) rows sorted by series, then by time.
        series: (t,) ids.
        times: (t,) nanoseconds.
        e_series: (e,) ids.
        e_times: (e,) nanoseconds, 0 for unknown.
        rows: (e,) takes the rows, -1 where the series has none.
    """
    for e in range(len(e_series)):
        low, high = 0, len(order)
        while low < high:
            middle = (low + high) >> 1
            row = order[middle]
            if series[row] < e_series[e] or (series[row] == e_series[e] and times[row] < e_times[e]):
                low = middle + 1
            else:
                high = middle
        rows[e] = -1
        if low < len(order) and series[order[low]] == e_series[e]:
            rows[e] = order[low]
        elif low > 0 and series[order[low - 1]] == e_series[e]:
            rows[e] = order[low - 1]


@kernel
def put_exemplars(
    chosen: NDArray[np.int64],
    rows: NDArray[np.int64],
    tags: NDArray[np.uint8],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    starts: NDArray[np.int32],
    spans: NDArray[np.int32],
    arena: NDArray[np.uint8],
    at: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> int:
    """Write exemplars, row after row; return the bytes written, or as many as there would be where `out` is empty.

    Args:
        chosen: (c,) exemplars, sorted by row.
        rows: (e,) row of each exemplar.
        tags: (t,) tag of an exemplar in each row.
        times: (e,) nanoseconds, 0 for unknown.
        values: (e,).
        starts: (e + 1,) where the labels of each begin.
        spans: (l, 4) labels.
        arena: Their bytes, padded.
        at: (t + 1,) takes where the exemplars of each row begin.
        out: With PAD bytes to spare, or empty.
    """
    p = np.int64(0)
    row = 0
    for c in range(len(chosen)):
        e = chosen[c]
        while row <= rows[e]:
            at[row] = p
            row += 1
        size = _exemplar_size(e, times, starts, spans, arena)
        if len(out):
            _put_exemplar(out, p, tags[rows[e]], size, e, times, values, starts, spans, arena)
        p += sized(size)
    for rest in range(row, len(at)):
        at[rest] = p
    return p


@kernel
def _exemplar_size(
    e: int, times: NDArray[np.int64], starts: NDArray[np.int32], spans: NDArray[np.int32], arena: NDArray[np.uint8]
) -> int:
    size = 9 + (9 if times[e] != 0 else 0)
    for j in range(starts[e], starts[e + 1]):
        bytes_ = _id_bytes(spans, j, arena)
        size += sized(bytes_ or _pair_size(arena, spans, j, STRING))
    return size


@kernel
def _put_exemplar(
    out: NDArray[np.uint8],
    p: int,
    tag: int,
    size: int,
    e: int,
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    starts: NDArray[np.int32],
    spans: NDArray[np.int32],
    arena: NDArray[np.uint8],
) -> None:
    out[p] = tag
    p = put_varint(out, p + 1, size)
    if times[e] != 0:
        out[p] = 17
        store_u64(out, p + 1, np.uint64(times[e]))
        p += 9
    out[p] = 25
    store_u64(out, p + 1, np.uint64(float_bits(values[e])))
    p += 9
    for j in range(starts[e], starts[e + 1]):
        bytes_ = _id_bytes(spans, j, arena)
        if not bytes_:
            p = _put_pair(arena, spans, j, STRING, 58, out, p)
            continue
        out[p] = 34 if bytes_ == 8 else 42
        out[p + 1] = bytes_
        p += 2
        for k in range(bytes_):
            at = spans[j, 2] + 2 * k
            out[p + k] = _digit(arena[at]) << 4 | _digit(arena[at + 1])
        p += bytes_


@kernel
def _digit(char: int) -> int:
    """Return the value of a hexadecimal digit, 16 for what is none."""
    if 48 <= char <= 57:
        return char - 48
    if 97 <= char <= 102:
        return char - 87
    return char - 55 if 65 <= char <= 70 else 16


@kernel
def _id_bytes(spans: NDArray[np.int32], j: int, arena: NDArray[np.uint8]) -> int:
    """Return the bytes of the id that a label holds in hexadecimal digits, 0 where it is no trace or span id."""
    at, size = spans[j, 0], spans[j, 1]
    if size == _TRACE and spans[j, 3] == 32:
        fits = arena[at] == _T and arena[at + 1] == 114 and arena[at + 2] == 97 and arena[at + 3] == 99
        fits = fits and arena[at + 4] == 101
    elif size == _SPAN and spans[j, 3] == 16:
        fits = arena[at] == 115 and arena[at + 1] == 112 and arena[at + 2] == 97 and arena[at + 3] == 110
    else:
        return 0
    p = at + size - 3
    fits = fits and arena[p] == 95 and arena[p + 1] == 105 and arena[p + 2] == 100
    for k in range(spans[j, 3]):
        if _digit(arena[spans[j, 2] + k]) > 15:
            fits = False
    return spans[j, 3] >> 1 if fits else 0
