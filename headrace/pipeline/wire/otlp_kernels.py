# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that walk an OTLP metrics request: resources, scopes, metrics and number points into columns.

`count` tells how much room is needed, `read` fills it. Fields may come in any order. A shape that Protocol Buffers
allows and no sender produces (a message in two parts, a list of numbers that is not packed) is answered IRREGULAR:
protobuf's own library rewrites such a request before it is read again.

The raw key of a point is a chain of keyed hashes: what one link hashes is the key of the next. The links are resource,
its schema, scope, its schema, metric name, unit, type, and the attributes of the point, all as encoded.

Source:
    opentelemetry-proto, ``metrics/v1/metrics.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import load_f64, load_u64
from headrace.kernels.jit import kernel
from headrace.kernels.siphash_kernels import siphash128
from headrace.pipeline.wire.otlp_histogram_kernels import explicit_point, exponential_point, summary_point
from headrace.pipeline.wire.otlp_point_kernels import (
    ATTRIBUTES_SCATTERED,
    EXEMPLARS,
    FIRST,
    IRREGULAR,
    METRIC,
    NO_TIME,
    NO_VALUE,
    OUT_OF_BOUNDS,
    SIZE,
    attributes_key,
)
from headrace.pipeline.wire.protobuf_kernels import TRUNCATED, skip, span, varint

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What `count` tells.
RESOURCES = 0
SCOPES = 1
METRICS = 2
NUMBERS = 3
HISTOGRAMS = 4
COUNTS = 5

# What `where` holds after a fault: an offset, and the message that it lies in.
OFFSET = 0
LEVEL = 1
IN_REQUEST, IN_RESOURCE_METRICS, IN_SCOPE_METRICS, IN_METRIC, IN_DATA, IN_POINT = 0, 1, 2, 3, 4, 5

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

INTEGER = 1
NO_RECORDED_VALUE = 1

_TAG_1 = np.uint64(10)
_TAG_2 = np.uint64(18)
_TAG_3 = np.uint64(26)
_MAX_TIME = np.uint64(2**63 - 1)


@kernel
def _is_data(tag: np.uint64) -> bool:
    """Return whether a tag is that of a metric's points."""
    field = tag >> np.uint64(3)
    return tag & np.uint64(7) == np.uint64(2) and (
        field == np.uint64(5) or field == np.uint64(7) or (field >= np.uint64(9) and field <= np.uint64(11))
    )


@kernel
def count(buf: NDArray[np.uint8], n: int, out: NDArray[np.int64], where: NDArray[np.int64]) -> int:
    """Count what a request of `n` bytes holds.

    Args:
        buf: The request, padded.
        n: Its bytes.
        out: (COUNTS,) counts.
        where: (2,) place of a fault.

    Returns:
        0, or a negative status.
    """
    p = 0
    while p < n:
        where[LEVEL] = IN_REQUEST
        where[OFFSET] = p
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
        out[RESOURCES] += 1
        p = _count_scopes(buf, p, end, out, where)
        if p < 0:
            return p
    return 0


@kernel
def _count_scopes(buf: NDArray[np.uint8], p: int, end: int, out: NDArray[np.int64], where: NDArray[np.int64]) -> int:
    resources = 0
    while p < end:
        where[LEVEL] = IN_RESOURCE_METRICS
        where[OFFSET] = p
        tag, p = varint(buf, p, end)
        if p < 0:
            return p
        if tag != _TAG_2:
            if tag == _TAG_1:
                resources += 1
                if resources > 1:
                    return IRREGULAR
            p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
            if p < 0:
                return p
            continue
        p, inner = span(buf, p, end)
        if p < 0:
            return p
        out[SCOPES] += 1
        scopes = 0
        while p < inner:
            where[LEVEL] = IN_SCOPE_METRICS
            where[OFFSET] = p
            tag, p = varint(buf, p, inner)
            if p < 0:
                return p
            if tag != _TAG_2:
                if tag == _TAG_1:
                    scopes += 1
                    if scopes > 1:
                        return IRREGULAR
                p = skip(buf, p, inner, np.int64(tag & np.uint64(7)))
            else:
                p, last = span(buf, p, inner)
                if p < 0:
                    return p
                out[METRICS] += 1
                p = _count_points(buf, p, last, out, where)
            if p < 0:
                return p
    return p


@kernel
def _count_points(buf: NDArray[np.uint8], p: int, end: int, out: NDArray[np.int64], where: NDArray[np.int64]) -> int:
    found = 0
    while p < end:
        where[LEVEL] = IN_METRIC
        where[OFFSET] = p
        tag, p = varint(buf, p, end)
        if p < 0:
            return p
        if not _is_data(tag):
            p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
            if p < 0:
                return p
            continue
        found += 1
        if found > 1:
            return IRREGULAR
        p, inner = span(buf, p, end)
        if p < 0:
            return p
        points = 0
        while p < inner:
            at = p
            kind, p = varint(buf, p, inner)
            if p >= 0:
                p = skip(buf, p, inner, np.int64(kind & np.uint64(7)))
            if p < 0:
                where[LEVEL] = IN_DATA
                where[OFFSET] = at
                return p
            if kind == _TAG_1:
                points += 1
        if tag >> np.uint64(3) <= np.uint64(7):
            out[NUMBERS] += points
        else:
            out[HISTOGRAMS] += points
    return p


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
    """Fill the columns of a request that `count` has been through.

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
    r = s = m = 0
    at = np.zeros(2, np.int64)
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
                first = metrics[m, DATA]
                data_end = first + metrics[m, DATA + 1]
                field = metrics[m, FIELD]
                while first < data_end:
                    tag, first = varint(buf, first, data_end)
                    if first < 0:
                        return first
                    if tag != _TAG_1:
                        first = skip(buf, first, data_end, np.int64(tag & np.uint64(7)))
                        if first < 0:
                            return first
                        continue
                    first, point_end = span(buf, first, data_end)
                    if first < 0:
                        return first
                    where[LEVEL] = IN_POINT
                    where[OFFSET] = first
                    if field <= SUM:
                        i = at[0]
                        at[0] += 1
                        rows[i, METRIC] = m
                        status = _number_point(
                            buf, first, point_end, i, m0, m1, scratch, rows, keys, times, starts, values, integers,
                            flags, faults, where,
                        )  # fmt: skip
                    else:
                        i = at[1]
                        at[1] += 1
                        h_rows[i, METRIC] = m
                        if field == EXPLICIT:
                            status = explicit_point(
                                buf, first, point_end, i, m0, m1, scratch, h_rows, h_keys, h_times, h_starts, h_stats,
                                h_flags, h_faults, where,
                            )  # fmt: skip
                        elif field == EXPONENTIAL:
                            status = exponential_point(
                                buf, first, point_end, i, m0, m1, scratch, h_rows, h_keys, h_times, h_starts, h_stats,
                                h_flags, h_faults, where,
                            )  # fmt: skip
                        else:
                            status = summary_point(
                                buf, first, point_end, i, m0, m1, scratch, h_rows, h_keys, h_times, h_starts, h_stats,
                                h_flags, h_faults, where,
                            )  # fmt: skip
                    if status < 0:
                        return status
                    first = point_end
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
        if tag in (_TAG_1, _TAG_2, _TAG_3) or _is_data(tag):
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


@kernel
def _number_point(
    buf: NDArray[np.uint8],
    p: int,
    end: int,
    i: int,
    k0: np.uint64,
    k1: np.uint64,
    scratch: NDArray[np.uint8],
    rows: NDArray[np.int32],
    keys: NDArray[np.uint64],
    times: NDArray[np.int64],
    starts: NDArray[np.int64],
    values: NDArray[np.float64],
    integers: NDArray[np.int64],
    flags: NDArray[np.uint8],
    faults: NDArray[np.uint8],
    where: NDArray[np.int64],
) -> int:
    first = p
    from_ = 0
    to = -1
    scattered = False
    exemplars = 0
    time = np.uint64(0)
    start = np.uint64(0)
    value = 0.0
    integer = np.int64(0)
    kind = -1
    bits = np.uint64(0)
    while p < end:
        at = p
        tag, p = varint(buf, p, end)
        if p >= 0:
            if tag == np.uint64(58):
                if to < 0:
                    from_ = at
                elif to != at:
                    scattered = True
                p = span(buf, p, end)[1]
                to = p
            elif tag & np.uint64(7) == np.uint64(1):
                if p + 8 > end:
                    p = TRUNCATED
                else:
                    if tag == np.uint64(25):
                        time = load_u64(buf, p)
                    elif tag == np.uint64(17):
                        start = load_u64(buf, p)
                    elif tag == np.uint64(33):
                        value = load_f64(buf, p)
                        kind = 0
                    elif tag == np.uint64(49):
                        integer = np.int64(load_u64(buf, p))
                        kind = INTEGER
                    p += 8
            elif tag == np.uint64(64):
                bits, p = varint(buf, p, end)
            else:
                if tag == np.uint64(42):
                    exemplars += 1
                p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
        if p < 0:
            where[OFFSET] = at
            return p
    rows[i, FIRST] = first
    rows[i, SIZE] = end - first
    rows[i, EXEMPLARS] = exemplars
    rows[i, ATTRIBUTES_SCATTERED] = scattered
    keys[i, 0], keys[i, 1] = attributes_key(buf, first, end, np.uint64(58), from_, to, scattered, scratch, k0, k1)
    missing = bits & np.uint64(NO_RECORDED_VALUE) != np.uint64(0)
    times[i] = np.int64(time)
    starts[i] = np.int64(start) if start <= _MAX_TIME else 0
    if kind == INTEGER and not missing:
        values[i] = np.float64(integer)
        integers[i] = integer
        flags[i] = INTEGER
    else:
        values[i] = value
        integers[i] = 0
        flags[i] = 2 if missing else 0
    faults[i] = 0
    if time == np.uint64(0):
        faults[i] = NO_TIME
    elif time > _MAX_TIME:
        faults[i] = OUT_OF_BOUNDS
    elif kind < 0 and not missing:
        faults[i] = NO_VALUE
    return end
