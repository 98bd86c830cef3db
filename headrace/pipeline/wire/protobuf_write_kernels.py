# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Protocol Buffers' wire format for kernels that write.

Source:
    Protocol Buffers, "Encoding".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import load_u64, store_u64
from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def varint_size(value: int) -> int:
    """Return the bytes that a varint of the 64 bits of `value` takes."""
    rest = np.uint64(value)
    size = 1
    while rest >= np.uint64(128):
        rest >>= np.uint64(7)
        size += 1
    return size


@kernel
def sized(size: int) -> int:
    """Return the bytes of a field of `size` bytes with its tag, of one byte, and its length."""
    return 1 + varint_size(size) + size


@kernel
def put_varint(out: NDArray[np.uint8], p: int, value: int) -> int:
    """Write the 64 bits of `value` as a varint; return the position after it."""
    rest = np.uint64(value)
    while rest >= np.uint64(128):
        out[p] = np.uint8((rest & np.uint64(127)) | np.uint64(128))
        rest >>= np.uint64(7)
        p += 1
    out[p] = np.uint8(rest)
    return p + 1


@kernel
def copy(source: NDArray[np.uint8], at: int, size: int, out: NDArray[np.uint8], p: int) -> int:
    """Copy ``source[at:at + size]`` to `p`; return the position after it. Both have PAD bytes to spare."""
    for k in range(0, size, 8):
        store_u64(out, p + k, load_u64(source, at + k))
    return p + size
