# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""The kernel that reads OTLP number points: those of gauges and sums.

Source:
    opentelemetry-proto, ``metrics/v1/metrics.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import load_f64, load_u64
from headrace.kernels.jit import flat_kernel as kernel
from headrace.pipeline.wire.otlp_point_kernels import (
    ATTRIBUTES_SCATTERED,
    EXEMPLARS,
    FIRST,
    IN_POINT,
    LEVEL,
    METRIC,
    NO_TIME,
    NO_VALUE,
    OFFSET,
    OUT_OF_BOUNDS,
    SIZE,
    attributes_key,
)
from headrace.pipeline.wire.protobuf_kernels import TRUNCATED, skip, span, varint

if TYPE_CHECKING:
    from numpy.typing import NDArray

INTEGER, STALE = 1, 2
"""Bits of `headrace.pipeline.batch.Flag`."""

_NO_RECORDED_VALUE = np.uint64(1)
_MAX_TIME = np.uint64(2**63 - 1)


@kernel
def number_points(
    buf: NDArray[np.uint8],
    p: int,
    end: int,
    i: int,
    m: int,
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
    """Read the points of metric `m`, which are fields 1 of ``buf[p:end]``, into the rows from `i` on.

    Returns:
        The row after the last, or a negative status.
    """
    # One call for all of them: an array costs seven words to pass, and most numbers are one byte to read.
    while p < end:
        tag, p = varint(buf, p, end)
        if p < 0:
            return p
        if tag != np.uint64(10):
            p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
            if p < 0:
                return p
            continue
        p, stop = span(buf, p, end)
        if p < 0:
            return p
        first = p
        from_ = np.int64(0)
        to = np.int64(-1)
        scattered = False
        exemplars = 0
        time = np.uint64(0)
        start = np.uint64(0)
        value = 0.0
        integer = np.int64(0)
        kind = -1
        bits = np.uint64(0)
        while p < stop:
            at = p
            tag = np.uint64(buf[p])
            p += 1
            if tag >= np.uint64(128):
                tag, p = varint(buf, at, stop)
            if p < 0:
                pass
            elif tag == np.uint64(58):
                if to < 0:
                    from_ = at
                elif to != at:
                    scattered = True
                size = np.int64(buf[p])
                if size < 128 and p + 1 + size <= stop:
                    p += 1 + size
                else:
                    p = span(buf, p, stop)[1]
                to = p
            elif tag & np.uint64(7) == np.uint64(1):
                if p + 8 > stop:
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
                bits, p = varint(buf, p, stop)
            else:
                if tag == np.uint64(42):
                    exemplars += 1
                p = skip(buf, p, stop, np.int64(tag & np.uint64(7)))
            if p < 0:
                where[LEVEL] = IN_POINT
                where[OFFSET] = at
                return p
        rows[i, METRIC] = m
        rows[i, FIRST] = first
        rows[i, SIZE] = stop - first
        rows[i, EXEMPLARS] = exemplars
        rows[i, ATTRIBUTES_SCATTERED] = scattered
        keys[i, 0], keys[i, 1] = attributes_key(buf, first, stop, np.uint64(58), from_, to, scattered, scratch, k0, k1)
        missing = bits & _NO_RECORDED_VALUE != np.uint64(0)
        times[i] = np.int64(time)
        starts[i] = np.int64(start) if start <= _MAX_TIME else 0
        if kind == INTEGER and not missing:
            values[i] = np.float64(integer)
            integers[i] = integer
            flags[i] = INTEGER
        else:
            values[i] = value
            integers[i] = 0
            flags[i] = STALE if missing else 0
        faults[i] = 0
        if time == np.uint64(0):
            faults[i] = NO_TIME
        elif time > _MAX_TIME:
            faults[i] = OUT_OF_BOUNDS
        elif kind < 0 and not missing:
            faults[i] = NO_VALUE
        i += 1
    return i
