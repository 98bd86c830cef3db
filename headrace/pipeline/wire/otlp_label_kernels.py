# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that find labels in OTLP attributes: of points seen for the first time, and of exemplars.

Source:
    opentelemetry-proto, ``common/v1/common.proto`` and ``metrics/v1/metrics.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import load_f64, load_u64
from headrace.kernels.jit import kernel
from headrace.pipeline.wire.otlp_point_kernels import FIRST, OFFSET, SIZE
from headrace.pipeline.wire.protobuf_kernels import skip, span, varint

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Sorts of attribute values.
STRING = 0
OTHER = 1
"""A number, a truth value, bytes, a list or a map."""
INTEGER = 2
BOOLEAN = 3

# Sorts of points.
PLAIN = 0
"""All attributes are strings."""
MIXED = 1
"""Some are not."""
TOO_LONG = 2
"""One that is not a string is longer than any label."""
TOO_MANY = 3
"""There are more than a series may have."""

# Columns of an attribute.
KEY = 0
KEY_SIZE = 1
VALUE = 2
VALUE_SIZE = 3
SORT = 4
ATTRIBUTE = 5

# Where an arena of exemplars begins: names that many share.
TRACE_ID = 0
TRACE_ID_SIZE = 8
SPAN_ID = 8
SPAN_ID_SIZE = 7
NAMES = 15

_NAME = np.uint64(0x5F5F656D616E5F5F)  # __name__
_MOST_DIGITS = 20


@kernel
def _attribute(buf: NDArray[np.uint8], p: int, end: int, out: NDArray[np.int64]) -> int:
    """Read the KeyValue ``buf[p:end]`` into (ATTRIBUTE,) `out`; return 0 or a negative status."""
    out[:] = 0
    keys = values = 0
    while p < end:
        tag, p = varint(buf, p, end)
        if p < 0:
            return p
        if tag == np.uint64(10):
            out[KEY], p = span(buf, p, end)
            if p < 0:
                return p
            out[KEY_SIZE] = p - out[KEY]
            keys += 1
        elif tag == np.uint64(18):
            q, p = span(buf, p, end)
            if p < 0:
                return p
            values += 1
            inner = 0
            while q < p:
                tag, q = varint(buf, q, p)
                if q < 0:
                    return q
                begin = q
                q = skip(buf, q, p, np.int64(tag & np.uint64(7)))
                if q < 0:
                    return q
                inner += 1
                out[SORT] = OTHER
                if tag == np.uint64(10):
                    out[SORT] = STRING
                    out[VALUE], q = span(buf, begin, p)
                    out[VALUE_SIZE] = q - out[VALUE]
                elif tag == np.uint64(16) or tag == np.uint64(24):
                    out[SORT] = BOOLEAN if tag == np.uint64(16) else INTEGER
                    out[VALUE] = begin
            if inner > 1:
                out[SORT] = OTHER
        else:
            p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
            if p < 0:
                return p
    if keys > 1 or values > 1:
        out[SORT] = OTHER
    return 0


@kernel
def _is_name(buf: NDArray[np.uint8], pos: int, size: int) -> bool:
    return size == 8 and load_u64(buf, pos) == _NAME


@kernel
def point_labels(
    buf: NDArray[np.uint8],
    points: NDArray[np.int32],
    name_key: int,
    spans: NDArray[np.int32],
    starts: NDArray[np.int32],
    sorts: NDArray[np.int8],
    max_labels: int,
    max_bytes: int,
    where: NDArray[np.int64],
) -> int:
    """Find the labels of points whose attributes are all strings.

    The first call, with empty `spans`, counts and sorts; the second fills.

    Args:
        buf: The request, with ``__name__`` behind it.
        points: (n, 5) offset and size of the point, offset and size of the metric name, tag of an attribute.
        name_key: Offset of ``__name__``.
        spans: (labels, 4) out; an empty array where they are only to be counted.
        starts: (n + 1,) out.
        sorts: (n,) of the first call: PLAIN, MIXED where some attribute is not a string, or a reason not to look at the
            attributes. Only points that are PLAIN have labels here.
        max_labels: Most attributes of a point.
        max_bytes: Most bytes of an attribute that is not a string, as encoded.
        where: (2,) place of a fault.

    Returns:
        Number of labels, or a negative status.
    """
    fill = len(spans) > 0
    found = np.zeros(ATTRIBUTE, np.int64)
    total = 0
    for i in range(len(points)):
        starts[i] = total
        if not fill:
            sorts[i] = PLAIN
        elif sorts[i] != PLAIN:
            continue
        else:
            spans[total, 0] = name_key
            spans[total, 1] = 8
            spans[total, 2] = points[i, 2]
            spans[total, 3] = points[i, 3]
        total += 1
        p = np.int64(points[i, 0])
        end = p + points[i, 1]
        while p < end:
            at = p
            tag, p = varint(buf, p, end)
            begin = p
            if p >= 0:
                p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
            if p >= 0 and tag == np.uint64(points[i, 4]):
                begin, p = span(buf, begin, end)
                status = _attribute(buf, begin, p, found)
                if status < 0:
                    p = status
                elif _is_name(buf, found[KEY], found[KEY_SIZE]):
                    pass
                elif fill:
                    for k in range(4):
                        spans[total, k] = found[k]
                    total += 1
                else:
                    total += 1
                    if total - starts[i] > max_labels:
                        sorts[i] = TOO_MANY
                        break
                    if found[SORT] != STRING:
                        sorts[i] = max(sorts[i], TOO_LONG if p - begin > max_bytes else MIXED)
            if p < 0:
                where[OFFSET] = at
                return p
        if sorts[i] != PLAIN:
            total = starts[i]
    starts[len(points)] = total
    return total


@kernel
def exemplars(
    buf: NDArray[np.uint8],
    rows: NDArray[np.int32],
    points: NDArray[np.int32],
    tag_of_points: NDArray[np.int32],
    owners: NDArray[np.int32],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    starts: NDArray[np.int32],
    spans: NDArray[np.int32],
    arena: NDArray[np.uint8],
    sizes: NDArray[np.int64],
    where: NDArray[np.int64],
) -> int:
    """Read the exemplars of points: first how much room they need, then into the columns.

    Labels are trace and span id in hexadecimal, and attributes that are strings, integers or truth values; those of
    other types are left out.

    Args:
        buf: The request.
        rows: (n, …) rows of points.
        points: Indices into `rows` of those that have exemplars.
        tag_of_points: Tag of an exemplar in each of them.
        owners: (e,) out, index into `rows`.
        times: (e,) out, nanoseconds; 0 for none or one that does not fit.
        values: (e,) out.
        starts: (e + 1,) out.
        spans: (labels, 4) out; an empty array, as the next one, where room is only counted.
        arena: Bytes of the labels, out; it begins with the NAMES.
        sizes: (2,) labels and bytes needed, out.
        where: (2,) place of a fault.

    Returns:
        Number of exemplars, or a negative status.
    """
    fill = len(arena) > 0
    found = np.zeros(ATTRIBUTE, np.int64)
    n = 0
    labels = 0
    used = NAMES
    for k in range(len(points)):
        row = points[k]
        p = np.int64(rows[row, FIRST])
        end = p + rows[row, SIZE]
        while p < end:
            tag, p = varint(buf, p, end)
            if p < 0:
                return p
            if tag != np.uint64(tag_of_points[k]):
                p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
                if p < 0:
                    return p
                continue
            p, inner = span(buf, p, end)
            if p < 0:
                return p
            time = np.uint64(0)
            value = 0.0
            if fill:
                starts[n] = labels
            while p < inner:
                where[OFFSET] = p
                tag, p = varint(buf, p, inner)
                if p < 0:
                    return p
                begin = p
                p = skip(buf, p, inner, np.int64(tag & np.uint64(7)))
                if p < 0:
                    return p
                if tag == np.uint64(17):
                    time = load_u64(buf, begin)
                elif tag == np.uint64(25):
                    value = load_f64(buf, begin)
                elif tag == np.uint64(49):
                    value = np.float64(np.int64(load_u64(buf, begin)))
                elif tag == np.uint64(34) or tag == np.uint64(42):
                    begin, p = span(buf, begin, inner)
                    wanted = 8 if tag == np.uint64(34) else 16
                    if p - begin == wanted and _some(buf, begin, p):
                        if fill:
                            spans[labels, 0] = SPAN_ID if wanted == 8 else TRACE_ID
                            spans[labels, 1] = SPAN_ID_SIZE if wanted == 8 else TRACE_ID_SIZE
                            spans[labels, 2] = used
                            spans[labels, 3] = 2 * wanted
                            _write_hex(buf, begin, p, arena, used)
                        labels += 1
                        used += 2 * wanted
                elif tag == np.uint64(58):
                    begin, p = span(buf, begin, inner)
                    status = _attribute(buf, begin, p, found)
                    if status < 0:
                        return status
                    if found[SORT] == OTHER or found[KEY_SIZE] == 0:
                        continue
                    if fill:
                        size = _copy(buf, found[KEY], found[KEY_SIZE], arena, used)
                        spans[labels, 0] = used
                        spans[labels, 1] = size
                        spans[labels, 2] = used + size
                        spans[labels, 3] = _write_value(buf, inner, found, arena, used + size)
                    labels += 1
                    used += found[KEY_SIZE] + max(found[VALUE_SIZE], _MOST_DIGITS)
            if fill:
                owners[n] = row
                times[n] = np.int64(time) if time <= np.uint64(2**63 - 1) else 0
                values[n] = value
            n += 1
    if fill:
        starts[n] = labels
    sizes[0] = labels
    sizes[1] = used
    return n


@kernel
def _some(buf: NDArray[np.uint8], p: int, end: int) -> bool:
    """Return whether some byte is not zero."""
    for j in range(p, end):
        if buf[j] != 0:
            return True
    return False


@kernel
def _write_hex(buf: NDArray[np.uint8], p: int, end: int, arena: NDArray[np.uint8], to: int) -> None:
    for j in range(p, end):
        for shift in range(4, -1, -4):
            half = (buf[j] >> shift) & 15
            arena[to] = 48 + half if half < 10 else 87 + half
            to += 1


@kernel
def _copy(buf: NDArray[np.uint8], p: int, size: int, arena: NDArray[np.uint8], to: int) -> int:
    for j in range(size):
        arena[to + j] = buf[p + j]
    return size


@kernel
def _write_value(buf: NDArray[np.uint8], end: int, found: NDArray[np.int64], arena: NDArray[np.uint8], to: int) -> int:
    """Write an attribute's value as text; return its size."""
    if found[SORT] == STRING:
        return _copy(buf, found[VALUE], found[VALUE_SIZE], arena, to)
    number = varint(buf, found[VALUE], end)[0]
    if found[SORT] == BOOLEAN:
        text = np.uint64(0x65757274) if number != np.uint64(0) else np.uint64(0x65736C6166)  # true, false
        size = 4 if number != np.uint64(0) else 5
        for j in range(size):
            arena[to + j] = np.uint8(text >> np.uint64(8 * j) & np.uint64(255))
        return size
    negative = np.int64(number) < 0
    if negative:
        number = ~number + np.uint64(1)
    size = 1
    rest = number
    while rest >= np.uint64(10):
        rest //= np.uint64(10)
        size += 1
    if negative:
        arena[to] = 45
        to += 1
    for j in range(size):
        arena[to + size - 1 - j] = np.uint8(np.uint64(48) + number % np.uint64(10))
        number //= np.uint64(10)
    return size + 1 if negative else size
