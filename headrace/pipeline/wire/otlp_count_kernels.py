# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that count what an OTLP metrics request holds, and check its shape.

Source:
    opentelemetry-proto, ``metrics/v1/metrics.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel
from headrace.pipeline.wire.otlp_point_kernels import IRREGULAR, LEVEL, OFFSET
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

IN_REQUEST, IN_RESOURCE_METRICS, IN_SCOPE_METRICS, IN_METRIC, IN_DATA = 0, 1, 2, 3, 4
"""Messages that a fault may lie in; the next is that of a point."""

_TAG_1 = np.uint64(10)
_TAG_2 = np.uint64(18)


@kernel
def is_data(tag: np.uint64) -> bool:
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
        if not is_data(tag):
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
            if buf[p] == 10 and buf[p + 1] >= 128 and buf[p + 2] < 128:
                # A point of 128 to 16,383 bytes, as most are.
                p += 3 + (np.int64(buf[p + 1] & 127) | np.int64(buf[p + 2]) << 7)
                if p <= inner:
                    points += 1
                    continue
                p = TRUNCATED
                kind = _TAG_1
            else:
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
