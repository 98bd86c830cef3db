# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Protocol Buffers' wire format for kernels.

Every position comes back negative where the bytes do not decode; callers pass it on. Buffers have PAD readable bytes
after the last one.

Source:
    Protocol Buffers, "Encoding".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRUNCATED = -1
"""A field passes the end of its message."""

BAD_WIRE_TYPE = -2
"""A field has a wire type that does not exist, or a group."""

BAD_VARINT = -3
"""A varint has more than ten bytes."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


@kernel
def varint(buf: NDArray[np.uint8], p: int, end: int) -> tuple[np.uint64, int]:
    """Read a varint; return the value and the position after it."""
    value = np.uint64(0)
    shift = np.uint64(0)
    while p < end:
        byte = np.uint64(buf[p])
        p += 1
        value |= (byte & np.uint64(127)) << shift
        if byte < np.uint64(128):
            return value, p
        shift += np.uint64(7)
        if shift > np.uint64(63):
            return value, BAD_VARINT
    return value, TRUNCATED


@kernel
def span(buf: NDArray[np.uint8], p: int, end: int) -> tuple[int, int]:
    """Read a length; return where its body starts and ends, both negative where it passes `end`."""
    size, p = varint(buf, p, end)
    if p < 0:
        return p, p
    if size > np.uint64(end - p):
        return TRUNCATED, TRUNCATED
    return p, p + np.int64(size)


@kernel
def skip(buf: NDArray[np.uint8], p: int, end: int, wire_type: int) -> int:
    """Return the position after a field whose tag has been read."""
    if wire_type == VARINT:
        return varint(buf, p, end)[1]
    if wire_type == BYTES:
        return span(buf, p, end)[1]
    if wire_type == FIXED64:
        p += 8
    elif wire_type == FIXED32:
        p += 4
    else:
        return BAD_WIRE_TYPE
    return p if p <= end else TRUNCATED
