# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that write the native histograms and exemplars of remote write requests of version 1.0.

Each histogram and each exemplar is a series of the request of its own, as Prometheus' own senders write them.

Source:
    Prometheus Remote-Write specification 1.0, ``prompb/types.proto``, messages ``Histogram`` and ``Exemplar``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import float_bits
from headrace.kernels.jit import kernel
from headrace.pipeline.wire.remote_write_encode_kernels import put_varint, varint_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FLOAT_COUNTS = 1
_CUSTOM = -53


@kernel
def _zigzag(value: np.int64) -> np.uint64:
    return np.uint64(value << 1) ^ np.uint64(value >> 63)


@kernel
def _put_bits(out: NDArray[np.uint8], p: int, tag: int, bits: np.uint64) -> int:
    """Write a field of eight bytes."""
    out[p] = tag
    for k in range(8):
        out[p + 1 + k] = np.uint8((bits >> np.uint64(8 * k)) & np.uint64(255))
    return p + 9


@kernel
def _put_number(out: NDArray[np.uint8], p: int, tag: int, value: np.uint64) -> int:
    out[p] = tag
    return put_varint(out, p + 1, value)


@kernel
def _put_spans(out: NDArray[np.uint8], p: int, tag: int, spans: NDArray[np.int32]) -> int:
    for k in range(len(spans)):
        offset = _zigzag(np.int64(spans[k, 0]))
        length = np.uint64(spans[k, 1])
        out[p] = tag
        out[p + 1] = np.uint8(2 + varint_size(offset) + varint_size(length))
        p = _put_number(out, p + 2, 8, offset)
        p = _put_number(out, p, 16, length)
    return p


@kernel
def _put_counts(
    out: NDArray[np.uint8], p: int, delta_tag: int, float_tag: int, is_float: bool, counts: NDArray[np.uint64]
) -> int:
    """Write counts: as differences, or as doubles."""
    if len(counts) == 0:
        return p
    if is_float:
        p = _put_number(out, p, float_tag, np.uint64(8 * len(counts)))
        for k in range(len(counts)):
            for j in range(8):
                out[p + j] = np.uint8((counts[k] >> np.uint64(8 * j)) & np.uint64(255))
            p += 8
        return p
    size = 0
    last = np.uint64(0)
    for k in range(len(counts)):
        size += varint_size(_zigzag(np.int64(counts[k] - last)))
        last = counts[k]
    p = _put_number(out, p, delta_tag, np.uint64(size))
    last = np.uint64(0)
    for k in range(len(counts)):
        p = put_varint(out, p, _zigzag(np.int64(counts[k] - last)))
        last = counts[k]
    return p


@kernel
def _put_series(
    out: NDArray[np.uint8],
    p: int,
    arena: NDArray[np.uint8],
    at: int,
    size: int,
    tag: int,
    body: NDArray[np.uint8],
    body_size: int,
) -> int:
    """Write a series of labels and one message."""
    p = _put_number(out, p, 10, np.uint64(size + 1 + varint_size(np.uint64(body_size)) + body_size))
    out[p : p + size] = arena[at : at + size]
    p = _put_number(out, p + size, tag, np.uint64(body_size))
    out[p : p + body_size] = body[:body_size]
    return p + body_size


@kernel
def _put_histogram(
    body: NDArray[np.uint8],
    q: int,
    i: int,
    times: NDArray[np.int64],
    flags: NDArray[np.uint8],
    hint: NDArray[np.uint8],
    schema: NDArray[np.int8],
    zero_threshold: NDArray[np.float64],
    zero_count: NDArray[np.uint64],
    count: NDArray[np.uint64],
    sums: NDArray[np.float64],
    span_starts: NDArray[np.int64],
    positive_spans: NDArray[np.int32],
    spans: NDArray[np.int32],
    bucket_starts: NDArray[np.int64],
    buckets: NDArray[np.uint64],
    bound_starts: NDArray[np.int64],
    bounds: NDArray[np.float64],
) -> int:
    """Write the message of row `i`; return the position after it. See `write_histograms`."""
    is_float = flags[i] & _FLOAT_COUNTS != 0
    q = _put_bits(body, q, 17, count[i]) if is_float else _put_number(body, q, 8, count[i])
    q = _put_bits(body, q, 25, float_bits(sums[i]))
    q = _put_number(body, q, 32, _zigzag(np.int64(schema[i])))
    if schema[i] != _CUSTOM:
        q = _put_bits(body, q, 41, float_bits(zero_threshold[i]))
        q = _put_bits(body, q, 57, zero_count[i]) if is_float else _put_number(body, q, 48, zero_count[i])
    middle = span_starts[i] + positive_spans[i]
    used = np.int64(0)
    for k in range(span_starts[i], middle):
        used += spans[k, 1]
    cut = bucket_starts[i] + used
    q = _put_spans(body, q, 66, spans[middle : span_starts[i + 1]])
    q = _put_counts(body, q, 74, 82, is_float, buckets[cut : bucket_starts[i + 1]])
    q = _put_spans(body, q, 90, spans[span_starts[i] : middle])
    q = _put_counts(body, q, 98, 106, is_float, buckets[bucket_starts[i] : cut])
    q = _put_number(body, q, 112, np.uint64(hint[i]))
    q = _put_number(body, q, 120, np.uint64(times[i]))
    size = bound_starts[i + 1] - bound_starts[i]
    if size:
        body[q] = 130
        q = _put_number(body, q + 1, 1, np.uint64(8 * size))
        for k in range(bound_starts[i], bound_starts[i + 1]):
            bits = float_bits(bounds[k])
            for j in range(8):
                body[q + j] = np.uint8((bits >> np.uint64(8 * j)) & np.uint64(255))
            q += 8
    return q


@kernel
def write_histograms(
    first: int,
    until: int,
    series: NDArray[np.int32],
    times: NDArray[np.int64],
    flags: NDArray[np.uint8],
    hint: NDArray[np.uint8],
    schema: NDArray[np.int8],
    zero_threshold: NDArray[np.float64],
    zero_count: NDArray[np.uint64],
    count: NDArray[np.uint64],
    sums: NDArray[np.float64],
    span_starts: NDArray[np.int64],
    positive_spans: NDArray[np.int32],
    spans: NDArray[np.int32],
    bucket_starts: NDArray[np.int64],
    buckets: NDArray[np.uint64],
    bound_starts: NDArray[np.int64],
    bounds: NDArray[np.float64],
    places: NDArray[np.int64],
    label_sizes: NDArray[np.int32],
    arena: NDArray[np.uint8],
    body: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> int:
    """Write the rows `first` to `until` of native histograms; return the bytes written.

    Args:
        first: Number of the first row.
        until: One past the last.
        series: (n,) ids; this and the next are the columns of `NativeHistograms`.
        times: (n,) milliseconds.
        flags: (n,).
        hint: (n,).
        schema: (n,).
        zero_threshold: (n,).
        zero_count: (n,).
        count: (n,).
        sums: (n,).
        span_starts: (n + 1,).
        positive_spans: (n,).
        spans: (s, 2).
        bucket_starts: (n + 1,).
        buckets: (b,).
        bound_starts: (n + 1,).
        bounds: (c,).
        places: Offset of the encoded labels in `arena`, by id.
        label_sizes: Their bytes, by id.
        arena: Encoded labels.
        body: Room for one message.
        out: Room for all.
    """
    p = 0
    for i in range(first, until):
        q = _put_histogram(
            body, 0, i, times, flags, hint, schema, zero_threshold, zero_count, count, sums, span_starts,
            positive_spans, spans, bucket_starts, buckets, bound_starts, bounds,
        )  # fmt: skip
        p = _put_series(out, p, arena, places[series[i]], np.int64(label_sizes[series[i]]), 34, body, q)
    return p


@kernel
def write_histogram_messages(
    created: NDArray[np.int64],
    times: NDArray[np.int64],
    flags: NDArray[np.uint8],
    hint: NDArray[np.uint8],
    schema: NDArray[np.int8],
    zero_threshold: NDArray[np.float64],
    zero_count: NDArray[np.uint64],
    count: NDArray[np.uint64],
    sums: NDArray[np.float64],
    span_starts: NDArray[np.int64],
    positive_spans: NDArray[np.int32],
    spans: NDArray[np.int32],
    bucket_starts: NDArray[np.int64],
    buckets: NDArray[np.uint64],
    bound_starts: NDArray[np.int64],
    bounds: NDArray[np.float64],
    starts: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Write all rows of native histograms as messages without labels, for requests of version 2.0.

    Args:
        created: (n,) milliseconds, 0 for unknown; the next are as those of `write_histograms`.
        times: (n,).
        flags: (n,).
        hint: (n,).
        schema: (n,).
        zero_threshold: (n,).
        zero_count: (n,).
        count: (n,).
        sums: (n,).
        span_starts: (n + 1,).
        positive_spans: (n,).
        spans: (s, 2).
        bucket_starts: (n + 1,).
        buckets: (b,).
        bound_starts: (n + 1,).
        bounds: (c,).
        starts: (n + 1,) takes where each message begins in `out`.
        out: Room for all.
    """
    p = 0
    for i in range(len(times)):
        starts[i] = p
        p = _put_histogram(
            out, p, i, times, flags, hint, schema, zero_threshold, zero_count, count, sums, span_starts, positive_spans,
            spans, bucket_starts, buckets, bound_starts, bounds,
        )  # fmt: skip
        if created[i]:
            out[p] = 136
            p = _put_number(out, p + 1, 1, np.uint64(created[i]))
    starts[len(times)] = p


@kernel
def write_exemplars(
    first: int,
    until: int,
    series: NDArray[np.int32],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    starts: NDArray[np.int32],
    spans: NDArray[np.int32],
    texts: NDArray[np.uint8],
    places: NDArray[np.int64],
    label_sizes: NDArray[np.int32],
    arena: NDArray[np.uint8],
    body: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> int:
    """Write the rows `first` to `until` of exemplars; return the bytes written. See `write_histograms`.

    Args:
        first: Number of the first row.
        until: One past the last.
        series: (e,) ids.
        times: (e,) milliseconds.
        values: (e,).
        starts: (e + 1,) labels of exemplar i are ``spans[starts[i]:starts[i + 1]]``.
        spans: (l, 4) name offset, name size, value offset, value size in `texts`.
        texts: Texts of labels.
        places: Offset of the encoded labels of the series in `arena`, by id.
        label_sizes: Their bytes, by id.
        arena: Encoded labels.
        body: Room for one message.
        out: Room for all.
    """
    p = 0
    for i in range(first, until):
        q = 0
        for k in range(starts[i], starts[i + 1]):
            name = np.int64(spans[k, 1])
            value = np.int64(spans[k, 3])
            size = 2 + varint_size(np.uint64(name)) + name + varint_size(np.uint64(value)) + value
            q = _put_number(body, q, 10, np.uint64(size))
            q = _put_number(body, q, 10, np.uint64(name))
            body[q : q + name] = texts[spans[k, 0] : spans[k, 0] + name]
            q = _put_number(body, q + name, 18, np.uint64(value))
            body[q : q + value] = texts[spans[k, 2] : spans[k, 2] + value]
            q += value
        q = _put_bits(body, q, 17, float_bits(values[i]))
        q = _put_number(body, q, 24, np.uint64(times[i]))
        p = _put_series(out, p, arena, places[series[i]], np.int64(label_sizes[series[i]]), 26, body, q)
    return p
