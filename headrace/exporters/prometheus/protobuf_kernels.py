# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that write pages as ``MetricFamily`` messages, each behind its length.

Lengths are written behind the fact, into room of a fixed size: as varints with more bytes than they need, which
protobuf allows.

Source:
    ``io.prometheus.client``, ``metrics.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import float_bits
from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

LINE = 160
"""Room for what a line makes besides its labels and those of its exemplar: lengths, numbers and times."""

_BUCKET, _SUM, _COUNT = 0, 1, 2
_COUNTER, _SUMMARY, _UNTYPED, _HISTOGRAM = 0, 2, 3, 4
_LENGTH = 4
"""Bytes of the length of a message within a family: 256 MiB."""

_FAMILY_LENGTH = 5
_METRIC_TAG, _TIME_TAG = 0x22, 0x30


@kernel
def write_families(
    order: NDArray[np.int32], rows: NDArray[np.int32], groups: NDArray[np.uint64], ranks: NDArray[np.float64],
    places: NDArray[np.int64], sizes: NDArray[np.int32], cuts: NDArray[np.int32], labels: NDArray[np.uint8],
    values: NDArray[np.float64], times: NDArray[np.int64], starts: NDArray[np.int64], timed: bool,
    family_of: NDArray[np.int32], parts: NDArray[np.int8], types: NDArray[np.int8], headers: NDArray[np.uint8],
    header_bounds: NDArray[np.int64], ex_places: NDArray[np.int64], ex_sizes: NDArray[np.int32],
    ex_labels: NDArray[np.uint8], ex_values: NDArray[np.float64], ex_times: NDArray[np.int64], out: NDArray[np.uint8],
) -> int:  # fmt: skip
    """Write the families of numbers.

    Args:
        order: (n,) int32 ids in the order of the page.
        rows: (n,) int32 number of each line's name.
        groups: (n,) equal for the lines of one histogram.
        ranks: (n,) bounds and quantiles.
        places: (n,) where its labels are.
        sizes: (n,) their bytes.
        cuts: (n,) how many of these are a bound.
        labels: Written labels.
        values: By id.
        times: By id, milliseconds.
        starts: By id, milliseconds, 0 for unknown.
        timed: Write times.
        family_of: By name.
        parts: By name: 0 for a bucket or quantile, 1 for the sum, 2 for the count.
        types: By name: number of the type.
        headers: Fields of the families.
        header_bounds: By family.
        ex_places: By id; may be shorter than ids go.
        ex_sizes: By id; -1 where there is none.
        ex_labels: Their labels.
        ex_values: By id.
        ex_times: By id, milliseconds.
        out: Large enough.

    Returns:
        The bytes written.
    """
    p = 0
    i = 0
    while i < len(order):
        family = family_of[rows[i]]
        begin = p
        p = _copied(headers, header_bounds[family], header_bounds[family + 1], out, p + _FAMILY_LENGTH)
        while i < len(order) and family_of[rows[i]] == family:
            end = i + 1
            while end < len(order) and family_of[rows[end]] == family and groups[end] == groups[i]:
                end += 1
            kind = types[rows[i]]
            metric = p + 1
            out[p] = _METRIC_TAG
            p = metric + _LENGTH
            if kind == _SUMMARY or kind >= _HISTOGRAM:
                p = _copied(labels, places[i] + cuts[i], places[i] + sizes[i], out, p)
                p = _buckets(
                    order, rows, ranks, values, starts, parts, kind, i, end, ex_places, ex_sizes, ex_labels, ex_values,
                    ex_times, out, p,
                )  # fmt: skip
            else:
                end = i + 1
                p = _copied(labels, places[i], places[i] + sizes[i], out, p)
                p = _single(
                    order[i], kind, values, starts, ex_places, ex_sizes, ex_labels, ex_values, ex_times, out, p
                )  # fmt: skip
            if timed:
                out[p] = _TIME_TAG
                p = _varint(out, p + 1, np.uint64(times[order[end - 1]]))
            _set_length(out, metric, _LENGTH, p - metric - _LENGTH)
            i = end
        _set_length(out, begin, _FAMILY_LENGTH, p - begin - _FAMILY_LENGTH)
    return p


@kernel
def _single(
    one: int, kind: int, values: NDArray[np.float64], starts: NDArray[np.int64], ex_places: NDArray[np.int64],
    ex_sizes: NDArray[np.int32], ex_labels: NDArray[np.uint8], ex_values: NDArray[np.float64],
    ex_times: NDArray[np.int64], out: NDArray[np.uint8], p: int,
) -> int:  # fmt: skip
    """Write a counter, gauge or number without a type."""
    out[p] = 0x1A if kind == _COUNTER else 0x2A if kind == _UNTYPED else 0x12
    begin = p + 1
    p = _double(out, begin + _LENGTH, 0x09, values[one])
    if kind == _COUNTER:
        if one < len(ex_sizes) and ex_sizes[one] >= 0:
            p = _exemplar(out, p, 0x12, ex_labels, ex_places[one], ex_sizes[one], ex_values[one], ex_times[one])
        if starts[one] > 0:
            p = _moment(out, p, 0x1A, starts[one])
    _set_length(out, begin, _LENGTH, p - begin - _LENGTH)
    return p


@kernel
def _buckets(
    order: NDArray[np.int32], rows: NDArray[np.int32], ranks: NDArray[np.float64], values: NDArray[np.float64],
    starts: NDArray[np.int64], parts: NDArray[np.int8], kind: int, first: int, end: int, ex_places: NDArray[np.int64],
    ex_sizes: NDArray[np.int32], ex_labels: NDArray[np.uint8], ex_values: NDArray[np.float64],
    ex_times: NDArray[np.int64], out: NDArray[np.uint8], p: int,
) -> int:  # fmt: skip
    """Write a histogram or summary from its lines."""
    out[p] = 0x22 if kind == _SUMMARY else 0x3A
    begin = p + 1
    p = begin + _LENGTH
    for i in range(first, end):
        one = order[i]
        part = parts[rows[i]]
        if part == _SUM:
            p = _double(out, p, 0x11, values[one])
        elif part == _COUNT:
            p = _count(out, p, 0x08, 0x08 if kind == _SUMMARY else 0x21, values[one])
        elif kind == _SUMMARY:
            out[p] = 0x1A
            out[p + 1] = 18
            p = _double(out, _double(out, p + 2, 0x09, ranks[i]), 0x11, values[one])
        else:
            out[p] = 0x1A
            bucket = p + 1
            p = _double(out, _count(out, bucket + _LENGTH, 0x08, 0x21, values[one]), 0x11, ranks[i])
            if one < len(ex_sizes) and ex_sizes[one] >= 0:
                p = _exemplar(out, p, 0x1A, ex_labels, ex_places[one], ex_sizes[one], ex_values[one], ex_times[one])
            _set_length(out, bucket, _LENGTH, p - bucket - _LENGTH)
    if starts[order[end - 1]] > 0:
        p = _moment(out, p, 0x22 if kind == _SUMMARY else 0x7A, starts[order[end - 1]])
    _set_length(out, begin, _LENGTH, p - begin - _LENGTH)
    return p


@kernel
def _exemplar(
    out: NDArray[np.uint8], p: int, tag: int, labels: NDArray[np.uint8], place: int, size: int, value: float, time: int
) -> int:
    out[p] = tag
    begin = p + 1
    p = _copied(labels, place, place + size, out, begin + _LENGTH)
    p = _moment(out, _double(out, p, 0x11, value), 0x1A, time)
    _set_length(out, begin, _LENGTH, p - begin - _LENGTH)
    return p


@kernel
def _count(out: NDArray[np.uint8], p: int, whole_tag: int, float_tag: int, value: float) -> int:
    """Write a count as an integer where it is one, else as a double; a field that has no double is cut off."""
    if 0.0 <= value < 9007199254740993.0 and (value == np.floor(value) or whole_tag == float_tag):
        out[p] = whole_tag
        return _varint(out, p + 1, np.uint64(value))
    return p if whole_tag == float_tag else _double(out, p, float_tag, value)


@kernel
def _double(out: NDArray[np.uint8], p: int, tag: int, value: float) -> int:
    out[p] = tag
    bits = np.uint64(float_bits(value))
    for k in range(8):
        out[p + 1 + k] = np.uint8((bits >> np.uint64(8 * k)) & np.uint64(255))
    return p + 9


@kernel
def _moment(out: NDArray[np.uint8], p: int, tag: int, time: int) -> int:
    """Write milliseconds as a ``google.protobuf.Timestamp``."""
    out[p] = tag
    begin = p + 1
    out[begin + 1] = 0x08
    p = _varint(out, begin + 2, np.uint64(time // 1000))
    out[p] = 0x10
    p = _varint(out, p + 1, np.uint64(time % 1000 * 1000000))
    out[begin] = np.uint8(p - begin - 1)
    return p


@kernel
def _varint(out: NDArray[np.uint8], p: int, value: np.uint64) -> int:
    while value >= np.uint64(128):
        out[p] = np.uint8((value & np.uint64(127)) | np.uint64(128))
        value >>= np.uint64(7)
        p += 1
    out[p] = np.uint8(value)
    return p + 1


@kernel
def _set_length(out: NDArray[np.uint8], p: int, size: int, value: int) -> None:
    for k in range(size):
        out[p + k] = (value >> (7 * k)) & 127 | (128 if k < size - 1 else 0)


@kernel
def _copied(source: NDArray[np.uint8], begin: int, end: int, out: NDArray[np.uint8], p: int) -> int:
    for at in range(begin, end):
        out[p] = source[at]
        p += 1
    return p
