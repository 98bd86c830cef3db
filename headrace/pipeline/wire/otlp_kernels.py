# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that walk an OTLP metrics request: resources, scopes, metrics and points into columns.

`otlp_count_kernels.count` tells how much room is needed, `read` fills it. Fields may come in any order. A shape that
Protocol Buffers allows and no sender produces (a message in two parts, a list of numbers that is not packed) is
answered IRREGULAR: protobuf's own library rewrites such a request before it is read again.

The raw key of a point is a chain of keyed hashes: what one link hashes is the key of the next. The links are resource,
its schema, scope, its schema, metric name, unit, type, and the attributes of the point, all as encoded.

Source:
    opentelemetry-proto, ``metrics/v1/metrics.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel
from headrace.kernels.siphash_kernels import siphash128
from headrace.pipeline.wire.otlp_count_kernels import is_data
from headrace.pipeline.wire.otlp_histogram_kernels import histogram_points
from headrace.pipeline.wire.otlp_number_kernels import number_points
from headrace.pipeline.wire.protobuf_kernels import skip, span, varint

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Columns of a resource row, and of a scope row: where the message and the schema URL lie.
BODY = 0
BODY_SIZE = 1
SCHEMA = 2
SCHEMA_SIZE = 3
RESOURCE_OF = 4
"""Of a scope: its resource."""
SCOPE_COLUMNS = 5

# Columns of a metric row.
SCOPE_OF = 0
FIELD = 1
"""Number of the field that holds the points; 0 without one."""
TEMPORALITY = 2
MONOTONIC = 3
NAME = 4
UNIT = 6
DESCRIPTION = 8
DATA = 10
METRIC_COLUMNS = 12

GAUGE, SUM, EXPLICIT, EXPONENTIAL, SUMMARY = 5, 7, 9, 10, 11
"""Fields of a metric that hold points."""

_TAG_1 = np.uint64(10)
_TAG_2 = np.uint64(18)
_TAG_3 = np.uint64(26)


@kernel
def read(
    buf: NDArray[np.uint8],
    n: int,
    k0: np.uint64,
    k1: np.uint64,
    resources: NDArray[np.int32],
    scopes: NDArray[np.int32],
    metrics: NDArray[np.int32],
    told: NDArray[np.uint64],
    scratch: NDArray[np.uint8],
    rows: NDArray[np.int32],
    keys: NDArray[np.uint64],
    times: NDArray[np.int64],
    starts: NDArray[np.int64],
    values: NDArray[np.float64],
    integers: NDArray[np.int64],
    flags: NDArray[np.uint8],
    faults: NDArray[np.uint8],
    h_rows: NDArray[np.int32],
    h_keys: NDArray[np.uint64],
    h_times: NDArray[np.int64],
    h_starts: NDArray[np.int64],
    h_stats: NDArray[np.float64],
    h_flags: NDArray[np.uint8],
    h_faults: NDArray[np.uint8],
    where: NDArray[np.int64],
) -> int:
    """Fill the columns of a request that `otlp_count_kernels.count` has been through.

    Args:
        buf: The request, padded.
        n: Its bytes.
        k0: Lower half of the key that raw keys are hashed with.
        k1: Upper half.
        resources: (r, SCOPE_COLUMNS), zeros.
        scopes: (s, SCOPE_COLUMNS), zeros.
        metrics: (m, METRIC_COLUMNS), zeros.
        told: (m, 2) hash of what a metric says about its family: name, unit, type and description.
        scratch: (n + 2 PAD,) bytes.
        rows: (k, ROW) of number points.
        keys: (k, 2) raw keys.
        times: (k,) nanoseconds.
        starts: (k,) nanoseconds, 0 for unknown.
        values: (k,).
        integers: (k,) values that were integers on the wire.
        flags: (k,) INTEGER and, shifted by one, NO_RECORDED_VALUE: the bits of `headrace.pipeline.batch.Flag`.
        faults: (k,) why a point cannot be taken, 0 where it can.
        h_rows: (h, H_ROW) of histogram and summary points.
        h_keys: As `keys`.
        h_times: As `times`.
        h_starts: As `starts`.
        h_stats: (h, STATS).
        h_flags: As `flags`.
        h_faults: As `faults`.
        where: (2,) place of a fault.

    Returns:
        0, or a negative status.
    """
    r = np.int64(0)
    s = np.int64(0)
    m = np.int64(0)
    i = np.int64(0)
    j = np.int64(0)
    p = 0
    while p < n:
        tag, p = varint(buf, p, n)
        if p < 0:
            return p
        if tag != _TAG_1:
            p = skip(buf, p, n, np.int64(tag & np.uint64(7)))
            if p < 0:
                return p
            continue
        p, end = span(buf, p, n)
        if p < 0:
            return p
        status = _header(buf, p, end, resources[r])
        if status < 0:
            return status
        r0, r1 = _link(buf, resources[r], BODY, k0, k1)
        r0, r1 = _link(buf, resources[r], SCHEMA, r0, r1)
        while p < end:
            tag, p = varint(buf, p, end)
            if p < 0:
                return p
            if tag != _TAG_2:
                p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
                if p < 0:
                    return p
                continue
            p, inner = span(buf, p, end)
            if p < 0:
                return p
            scopes[s, RESOURCE_OF] = r
            status = _header(buf, p, inner, scopes[s])
            if status < 0:
                return status
            s0, s1 = _link(buf, scopes[s], BODY, r0, r1)
            s0, s1 = _link(buf, scopes[s], SCHEMA, s0, s1)
            while p < inner:
                tag, p = varint(buf, p, inner)
                if p < 0:
                    return p
                if tag != _TAG_2:
                    p = skip(buf, p, inner, np.int64(tag & np.uint64(7)))
                    if p < 0:
                        return p
                    continue
                p, last = span(buf, p, inner)
                if p < 0:
                    return p
                metrics[m, SCOPE_OF] = s
                status = _metric(buf, p, last, metrics[m])
                if status < 0:
                    return status
                p = last
                m0, m1 = _metric_key(buf, metrics[m], scratch, s0, s1)
                t0, t1 = _metric_key(buf, metrics[m], scratch, k0, k1)
                told[m, 0], told[m, 1] = _link(buf, metrics[m], DESCRIPTION, t0, t1)
                first = np.int64(metrics[m, DATA])
                data_end = first + metrics[m, DATA + 1]
                field = np.int64(metrics[m, FIELD])
                if field <= SUM:
                    if field:
                        i = number_points(
                            buf, first, data_end, i, m, m0, m1, scratch, rows, keys, times, starts, values, integers,
                            flags, faults, where,
                        )  # fmt: skip
                        if i < 0:
                            return i
                else:
                    j = histogram_points(
                        buf, first, data_end, j, m, field, m0, m1, scratch, h_rows, h_keys, h_times, h_starts, h_stats,
                        h_flags, h_faults, where,
                    )  # fmt: skip
                    if j < 0:
                        return j
                m += 1
            s += 1
        r += 1
    return 0


@kernel
def _header(buf: NDArray[np.uint8], p: int, end: int, row: NDArray[np.int32]) -> int:
    """Find message 1 and schema URL (3) of a ResourceMetrics or ScopeMetrics."""
    while p < end:
        tag, p = varint(buf, p, end)
        if p < 0:
            return p
        if tag in (_TAG_1, _TAG_3):
            first, p = span(buf, p, end)
            if p < 0:
                return p
            column = BODY if tag == _TAG_1 else SCHEMA
            row[column] = first
            row[column + 1] = p - first
        else:
            p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
            if p < 0:
                return p
    return 0


@kernel
def _link(
    buf: NDArray[np.uint8], row: NDArray[np.int32], column: int, k0: np.uint64, k1: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """Hash a span of a row under a key: the key of the next link."""
    return siphash128(buf, row[column], row[column + 1], k0, k1)


@kernel
def _metric_key(
    buf: NDArray[np.uint8], row: NDArray[np.int32], scratch: NDArray[np.uint8], k0: np.uint64, k1: np.uint64
) -> tuple[np.uint64, np.uint64]:
    k0, k1 = _link(buf, row, NAME, k0, k1)
    k0, k1 = _link(buf, row, UNIT, k0, k1)
    scratch[0] = row[FIELD]
    scratch[1] = row[TEMPORALITY]
    scratch[2] = row[MONOTONIC]
    return siphash128(scratch, 0, 3, k0, k1)


@kernel
def _metric(buf: NDArray[np.uint8], p: int, end: int, row: NDArray[np.int32]) -> int:
    """Find the parts of a metric, and what stands beside its points."""
    while p < end:
        tag, p = varint(buf, p, end)
        if p < 0:
            return p
        if tag in (_TAG_1, _TAG_2, _TAG_3) or is_data(tag):
            first, p = span(buf, p, end)
            if p < 0:
                return p
            column = NAME if tag == _TAG_1 else DESCRIPTION if tag == _TAG_2 else UNIT if tag == _TAG_3 else DATA
            if column == DATA:
                row[FIELD] = np.int32(tag >> np.uint64(3))
            row[column] = first
            row[column + 1] = p - first
        else:
            p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
            if p < 0:
                return p
    if row[FIELD] == GAUGE or row[FIELD] == SUMMARY:
        return 0
    p = row[DATA]
    end = p + row[DATA + 1]
    while p < end:
        tag, p = varint(buf, p, end)
        if p < 0:
            return p
        if tag == np.uint64(16) or (tag == np.uint64(24) and row[FIELD] == SUM):
            number, p = varint(buf, p, end)
            if p < 0:
                return p
            if tag == np.uint64(16):
                # An enumeration has 32 bits; what it does not name is one value for us, that no point is taken with.
                low = number & np.uint64(0xFFFFFFFF)
                row[TEMPORALITY] = np.int32(low) if low <= np.uint64(2) else np.int32(3)
            else:
                row[MONOTONIC] = np.int32(number != np.uint64(0))
        else:
            p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
            if p < 0:
                return p
    return 0
