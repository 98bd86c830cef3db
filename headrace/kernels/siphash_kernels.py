# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""SipHash-1-3 with a 128-bit result: the keyed hash that identifies a series by its encoded bytes.

Source:
    Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012; the 128-bit output is the variant of the
    reference implementation, with one compression and three finalisation rounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import load_u64
from headrace.kernels.jit import flat_kernel as kernel

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


@kernel
def _absorb(
    m: np.uint64, v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    v0, v1, v2, v3 = _round(v0, v1, v2, v3 ^ m)
    return v0 ^ m, v1, v2, v3


@kernel
def _finish(v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64) -> tuple[np.uint64, np.uint64]:
    v2 ^= np.uint64(0xEE)
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    low = v0 ^ v1 ^ v2 ^ v3
    v1 ^= np.uint64(0xDD)
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return low, v0 ^ v1 ^ v2 ^ v3


@kernel
def siphash128_rows(
    buf: NDArray[np.uint8], places: NDArray[np.int32], sizes: NDArray[np.int32], k0: np.uint64, k1: np.uint64,
    out: NDArray[np.uint64],
) -> None:  # fmt: skip
    """Hash many byte ranges, two at a time: the rounds of one message fill the waits of the other's.

    Args:
        buf: uint8, C-contiguous, with 8 readable bytes after every range.
        places: (n,) int32 offset of each range; the caller has checked it.
        sizes: (n,) int32 bytes of each range; the caller has checked it.
        k0: Lower half of the secret key.
        k1: Upper half of the secret key.
        out: (n, 2) uint64, what `siphash128` returns for each.
    """
    n = len(places)
    for i in range(0, n - 1, 2):
        a = np.int64(places[i])
        b = np.int64(places[i + 1])
        a_size = np.int64(sizes[i])
        b_size = np.int64(sizes[i + 1])
        v0 = k0 ^ _C0
        v1 = k1 ^ _C1
        v2 = k0 ^ _C2
        v3 = k1 ^ _C3
        w0, w1, w2, w3 = v0, v1, v2, v3
        a_words = a_size >> 3
        b_words = b_size >> 3
        both = min(a_words, b_words)
        for j in range(both):
            v0, v1, v2, v3 = _absorb(load_u64(buf, a + 8 * j), v0, v1, v2, v3)
            w0, w1, w2, w3 = _absorb(load_u64(buf, b + 8 * j), w0, w1, w2, w3)
        for j in range(both, a_words):
            v0, v1, v2, v3 = _absorb(load_u64(buf, a + 8 * j), v0, v1, v2, v3)
        for j in range(both, b_words):
            w0, w1, w2, w3 = _absorb(load_u64(buf, b + 8 * j), w0, w1, w2, w3)
        m = np.uint64(a_size & 0xFF) << np.uint64(56) | load_u64(buf, a + 8 * a_words) & _TAIL[a_size & 7]
        v0, v1, v2, v3 = _absorb(m, v0, v1, v2, v3)
        m = np.uint64(b_size & 0xFF) << np.uint64(56) | load_u64(buf, b + 8 * b_words) & _TAIL[b_size & 7]
        w0, w1, w2, w3 = _absorb(m, w0, w1, w2, w3)
        out[i, 0], out[i, 1] = _finish(v0, v1, v2, v3)
        out[i + 1, 0], out[i + 1, 1] = _finish(w0, w1, w2, w3)
    if n & 1:
        out[n - 1, 0], out[n - 1, 1] = siphash128(buf, np.int64(places[n - 1]), np.int64(sizes[n - 1]), k0, k1)
