"""SipHash-1-3 with a 128-bit result: the keyed hash that identifies a series by its encoded bytes.

Source:
    Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012; the 128-bit output is the variant of the
    reference implementation, with one compression and three finalisation rounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import load_u64
from headrace.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_C0 = np.uint64(0x736F6D6570736575)
_C1 = np.uint64(0x646F72616E646F6D ^ 0xEE)
_C2 = np.uint64(0x6C7967656E657261)
_C3 = np.uint64(0x7465646279746573)
_TAIL = np.array([(1 << 8 * n) - 1 for n in range(8)], np.uint64)


@kernel
def _round(
    v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    v0 += v1
    v2 += v3
    v1 = ((v1 << np.uint64(13)) | (v1 >> np.uint64(51))) ^ v0
    v3 = ((v3 << np.uint64(16)) | (v3 >> np.uint64(48))) ^ v2
    v0 = (v0 << np.uint64(32)) | (v0 >> np.uint64(32))
    v2 += v1
    v0 += v3
    v1 = ((v1 << np.uint64(17)) | (v1 >> np.uint64(47))) ^ v2
    v3 = ((v3 << np.uint64(21)) | (v3 >> np.uint64(43))) ^ v0
    v2 = (v2 << np.uint64(32)) | (v2 >> np.uint64(32))
    return v0, v1, v2, v3


@kernel
def siphash128(
    buf: NDArray[np.uint8], pos: int, size: int, k0: np.uint64, k1: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """Hash ``buf[pos:pos + size]``.

    Args:
        buf: uint8, C-contiguous, with 8 readable bytes after the hashed ones.
        pos: Offset of the first byte; the caller has checked it.
        size: Number of bytes; the caller has checked it.
        k0: Lower half of the secret key.
        k1: Upper half of the secret key.

    Returns:
        Lower and upper half of the hash.
    """
    v0 = k0 ^ _C0
    v1 = k1 ^ _C1
    v2 = k0 ^ _C2
    v3 = k1 ^ _C3
    words = size >> 3
    for i in range(words):
        m = load_u64(buf, pos + 8 * i)
        v3 ^= m
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= m
    rest = size & 7
    m = (np.uint64(size & 0xFF) << np.uint64(56)) | (load_u64(buf, pos + 8 * words) & _TAIL[rest])
    v3 ^= m
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0 ^= m
    v2 ^= np.uint64(0xEE)
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    low = v0 ^ v1 ^ v2 ^ v3
    v1 ^= np.uint64(0xDD)
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return low, v0 ^ v1 ^ v2 ^ v3
