# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""What the kernels for all kinds of OTLP points share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel
from headrace.kernels.siphash_kernels import siphash128
from headrace.pipeline.wire.protobuf_kernels import skip, varint

if TYPE_CHECKING:
    from numpy.typing import NDArray

IRREGULAR = -4
"""Protocol Buffers allows this shape, and these kernels do not read it."""

# What `where` holds after a fault: an offset, and the message that it lies in.
OFFSET = 0
LEVEL = 1
IN_POINT = 5

# Columns of a point's row.
METRIC = 0
FIRST = 1
"""Offset of the point."""
SIZE = 2
"""Bytes of the point."""
EXEMPLARS = 3
"""How many it has."""
ATTRIBUTES_SCATTERED = 4
"""Whether other fields lie between its attributes."""
ROW = 5

# More columns of the row of a histogram point.
KIND = ROW
"""A `headrace.pipeline.batch.HistogramKind`."""
BUCKETS = ROW + 1
"""How many buckets or quantiles."""
COUNTS_AT = ROW + 2
"""Offset and size of the counts; of the positive ones, for an exponential histogram."""
BOUNDS_AT = ROW + 4
"""Offset and size of the bounds; of the negative counts, for an exponential histogram."""
SCALE = ROW + 6
POSITIVE_OFFSET = ROW + 7
NEGATIVE_OFFSET = ROW + 8
POSITIVE_SIZE = ROW + 9
H_ROW = ROW + 10

# Columns of the numbers of a histogram point.
COUNT = 0
SUM = 1
MINIMUM = 2
MAXIMUM = 3
ZERO_COUNT = 4
ZERO_THRESHOLD = 5
STATS = 6

EXPLICIT, EXPONENTIAL, SUMMARY = 0, 1, 2
"""Kinds, as in `headrace.pipeline.batch.HistogramKind`."""

# Why a point cannot be taken.
NO_TIME = 1
OUT_OF_BOUNDS = 2
NO_VALUE = 3
BAD_BUCKETS = 4
BAD_BOUNDS = 5
NO_TEMPORALITY = 6

_STALE = 2
_MAX_TIME = np.uint64(2**63 - 1)


@kernel
def attributes_key(
    buf: NDArray[np.uint8],
    p: int,
    end: int,
    attribute: np.uint64,
    from_: int,
    to: int,
    scattered: bool,
    scratch: NDArray[np.uint8],
    k0: np.uint64,
    k1: np.uint64,
) -> tuple[np.uint64, np.uint64]:
    """Hash the attribute fields of the point ``buf[p:end]``, which has been read once, as if they were adjacent.

    Args:
        buf: The request.
        p: Where the point begins.
        end: Where it ends.
        attribute: Tag of an attribute.
        from_: Where the first attribute begins.
        to: Where the last one ends; negative without any.
        scattered: Whether other fields lie between them.
        scratch: As many bytes as the request has, and PAD.
        k0: Lower half of the key.
        k1: Upper half.
    """
    if to < 0:
        return siphash128(buf, p, 0, k0, k1)
    if not scattered:
        return siphash128(buf, from_, to - from_, k0, k1)
    size = 0
    while p < end:
        at = p
        tag, p = varint(buf, p, end)
        p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
        if p < 0:
            break
        if tag == attribute:
            for j in range(at, p):
                scratch[size] = buf[j]
                size += 1
    return siphash128(scratch, 0, size, k0, k1)


@kernel
def finish(
    i: int,
    first: int,
    end: int,
    exemplars: int,
    scattered: bool,
    time: np.uint64,
    start: np.uint64,
    bits: np.uint64,
    rows: NDArray[np.int32],
    times: NDArray[np.int64],
    starts: NDArray[np.int64],
    flags: NDArray[np.uint8],
    faults: NDArray[np.uint8],
) -> None:
    """Write what all kinds of histogram points have in common into row `i`."""
    rows[i, FIRST] = first
    rows[i, SIZE] = end - first
    rows[i, EXEMPLARS] = exemplars
    rows[i, ATTRIBUTES_SCATTERED] = scattered
    times[i] = np.int64(time)
    starts[i] = np.int64(start) if start <= _MAX_TIME else 0
    flags[i] = _STALE if bits & np.uint64(1) != np.uint64(0) else 0
    faults[i] = NO_TIME if time == np.uint64(0) else OUT_OF_BOUNDS if time > _MAX_TIME else 0
