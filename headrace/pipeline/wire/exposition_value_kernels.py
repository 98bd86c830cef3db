# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that read the values of a protobuf exposition's metrics; `exposition_histogram_kernels` has the histograms.

Source:
    Prometheus' client model, ``io/prometheus/client/metrics.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import float_bits, load_f64, store_u64
from headrace.kernels.jit import flat_kernel as kernel
from headrace.kernels.siphash_kernels import siphash128
from headrace.pipeline.wire.protobuf_kernels import skip, span, varint

if TYPE_CHECKING:
    from numpy.typing import NDArray

OK = 0

FULL = -10
"""An output has too few rows; `out` says which."""

# Columns of a row: its metric, what it is of the metric, whether it has a timestamp.
METRIC_OF, PART, TIMED = 0, 1, 2
ROW = 3

# What a row is of its metric.
WHOLE, BUCKET, SUM, COUNT, QUANTILE, NATIVE = 0, 1, 2, 3, 4, 5

# Columns of an exemplar and of a native histogram: the row, offset and size of the message.
PLACE = 3

# What `out` tells: rows of each output, then where a fault is.
FAMILIES, METRICS, ROWS, EXEMPLARS, NATIVES, POSITION = 0, 1, 2, 3, 4, 5
OUT = 6

SCRATCH = 32
"""Bytes of the caller's that hashing a row takes."""

_MAX_SECONDS = np.int64(9_000_000_000_000_000)


@kernel
def row(
    part: int,
    value: float,
    bound: float,
    created: int,
    low: np.uint64,
    high: np.uint64,
    scratch: NDArray[np.uint8],
    rows: NDArray[np.int32],
    numbers: NDArray[np.float64],
    stamps: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    out: NDArray[np.int64],
) -> int:
    """Add a row to the metric that was read last."""
    number = out[ROWS]
    if number == len(rows):
        return FULL
    if part not in (WHOLE, NATIVE):
        # A native histogram has the name of its family, as a gauge has.
        store_u64(scratch, 0, np.uint64(part))
        store_u64(scratch, 8, np.uint64(float_bits(bound)))
        low, high = siphash128(scratch, 0, 16, low, high)
    hashes[number, 0] = low
    hashes[number, 1] = high
    rows[number, METRIC_OF] = np.int32(out[METRICS] - 1)
    rows[number, PART] = np.int32(part)
    numbers[number, 0] = value
    numbers[number, 1] = bound
    stamps[number, 1] = created
    out[ROWS] = number + 1
    return OK


@kernel
def place(places: NDArray[np.int32], number: int, owner: int, p: int, end: int) -> int:
    """Remember where a message of a row lies."""
    if number == len(places):
        return FULL
    places[number, 0] = np.int32(owner)
    places[number, 1] = np.int32(p)
    places[number, 2] = np.int32(end - p)
    return OK


@kernel
def simple(
    buf: NDArray[np.uint8],
    p: int,
    end: int,
    counts: bool,
    low: np.uint64,
    high: np.uint64,
    scratch: NDArray[np.uint8],
    rows: NDArray[np.int32],
    numbers: NDArray[np.float64],
    stamps: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    exemplars: NDArray[np.int32],
    out: NDArray[np.int64],
) -> int:
    """Read a counter, a gauge or what has no type."""
    value = 0.0
    created = np.int64(0)
    while p < end:
        tag, p = varint(buf, p, end)
        if p < 0:
            return p
        at = p
        p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
        if p < 0:
            return p
        if tag == np.uint64(9):
            value = load_f64(buf, at)
        elif counts and tag == np.uint64(18):
            body, _ = span(buf, at, end)
            status = place(exemplars, out[EXEMPLARS], out[ROWS], body, p)
            if status < 0:
                return status
            out[EXEMPLARS] += 1
        elif counts and tag == np.uint64(26):
            body, _ = span(buf, at, end)
            created = timestamp(buf, body, p)
    return row(WHOLE, value, 0.0, created, low, high, scratch, rows, numbers, stamps, hashes, out)


@kernel
def summary(
    buf: NDArray[np.uint8],
    p: int,
    end: int,
    low: np.uint64,
    high: np.uint64,
    scratch: NDArray[np.uint8],
    rows: NDArray[np.int32],
    numbers: NDArray[np.float64],
    stamps: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    out: NDArray[np.int64],
) -> int:
    """Read a summary: its quantiles, sum and count."""
    count = 0.0
    total = 0.0
    created = np.int64(0)
    begin = out[ROWS]
    while p < end:
        tag, p = varint(buf, p, end)
        if p < 0:
            return p
        at = p
        p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
        if p < 0:
            return p
        if tag == np.uint64(8):
            number, _ = varint(buf, at, end)
            count = np.float64(number)
        elif tag == np.uint64(17):
            total = load_f64(buf, at)
        elif tag == np.uint64(26):
            body, _ = span(buf, at, end)
            bound, value, _, _, body = bucket(buf, body, p, np.uint64(9), np.uint64(17))
            if body < 0:
                return body
            status = row(QUANTILE, value, bound, 0, low, high, scratch, rows, numbers, stamps, hashes, out)
            if status < 0:
                return status
        elif tag == np.uint64(34):
            body, _ = span(buf, at, end)
            created = timestamp(buf, body, p)
    status = row(SUM, total, 0.0, 0, low, high, scratch, rows, numbers, stamps, hashes, out)
    if status == OK:
        status = row(COUNT, count, 0.0, 0, low, high, scratch, rows, numbers, stamps, hashes, out)
    for i in range(begin, out[ROWS]):
        stamps[i, 1] = created
    return status


@kernel
def bucket(
    buf: NDArray[np.uint8], p: int, end: int, bound_tag: np.uint64, value_tag: np.uint64
) -> tuple[float, float, int, int, int]:
    """Read a bucket or a quantile.

    Returns:
        Bound, value, where an exemplar lies (-1 for none) and ends, and the position after the message or a fault.
    """
    bound = 0.0
    value = 0.0
    fraction = 0.0
    exemplar = np.int64(-1)
    exemplar_end = np.int64(-1)
    while p < end:
        tag, p = varint(buf, p, end)
        if p < 0:
            return bound, value, exemplar, exemplar_end, p
        at = p
        p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
        if p < 0:
            return bound, value, exemplar, exemplar_end, p
        if tag == bound_tag:
            bound = load_f64(buf, at)
        elif tag == value_tag:
            if value_tag == np.uint64(8):
                number, _ = varint(buf, at, end)
                value = np.float64(number)
            else:
                value = load_f64(buf, at)
        elif tag == np.uint64(33):
            fraction = load_f64(buf, at)
        elif tag == np.uint64(26):
            exemplar, exemplar_end = span(buf, at, end)
    # A fraction overrides the whole number where it is more than 0, says the message's comment.
    return bound, fraction if fraction > 0.0 else value, exemplar, exemplar_end, p


@kernel
def timestamp(buf: NDArray[np.uint8], p: int, end: int) -> int:
    """Read a ``google.protobuf.Timestamp`` as milliseconds; 0 where it does not decode or is out of range."""
    seconds = np.int64(0)
    nanos = np.int64(0)
    while p < end:
        tag, p = varint(buf, p, end)
        if p < 0:
            return 0
        at = p
        p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
        if p < 0:
            return 0
        if tag == np.uint64(8):
            number, _ = varint(buf, at, end)
            seconds = np.int64(number)
        elif tag == np.uint64(16):
            number, _ = varint(buf, at, end)
            nanos = np.int64(number)
    if not (-_MAX_SECONDS <= seconds <= _MAX_SECONDS) or not (0 <= nanos < 1_000_000_000):
        return 0
    return seconds * np.int64(1000) + nanos // np.int64(1_000_000)


@kernel
def read_exemplars(
    buf: NDArray[np.uint8],
    exemplars: NDArray[np.int32],
    values: NDArray[np.float64],
    times: NDArray[np.int64],
    counts: NDArray[np.int32],
) -> int:
    """Read the numbers of exemplars.

    Args:
        buf: The page.
        exemplars: (e, PLACE) int32.
        values: (e,) float64 out.
        times: (e,) int64 out, milliseconds, 0 for none.
        counts: (e,) int32 out: labels.

    Returns:
        OK, or a fault.
    """
    for i in range(len(exemplars)):
        p = np.int64(exemplars[i, 1])
        end = p + exemplars[i, 2]
        values[i] = 0.0
        times[i] = 0
        counts[i] = 0
        while p < end:
            tag, p = varint(buf, p, end)
            if p < 0:
                return p
            at = p
            p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
            if p < 0:
                return p
            if tag == np.uint64(10):
                counts[i] += 1
            elif tag == np.uint64(17):
                values[i] = load_f64(buf, at)
            elif tag == np.uint64(26):
                body, _ = span(buf, at, end)
                times[i] = timestamp(buf, body, p)
    return OK
