# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""A kernel for the remote write 1.0 requests that senders make all day: labels and samples, and nothing else.

It reads a request in one pass, and gives up at whatever is unusual: exemplars, histograms, metadata, unknown fields,
fields out of order, long names. `remote_write_kernels` then reads the request from the start, and finds what is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import float_bits, load_f64, load_u64
from headrace.kernels.jit import flat_kernel as kernel
from headrace.kernels.siphash_kernels import siphash128_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOT_PLAIN = -1

# Cells of what was found.
SERIES = 0
SAMPLES = 1
OLDEST = 2
NEWEST = 3
STALE = 4
FOUND = 5

_LABEL = 10
_SAMPLE = 18
_VALUE = 9
_TIME = 16
_CONTINUED = np.uint64(0x8080808080808080)
_STALE_BITS = np.uint64(0x7FF0000000000002)


@kernel
def _short_varint(word: np.uint64, size: int) -> np.int64:
    """Return the number in the first `size` bytes of a word, 1 to 8, which have to be one varint; else -1."""
    unused = np.uint64(64 - 8 * size)
    x = word << unused >> unused
    # All bytes but the last go on.
    if x & _CONTINUED != _CONTINUED << unused >> unused >> np.uint64(8):
        return np.int64(-1)
    x &= np.uint64(0x7F7F7F7F7F7F7F7F)
    x = x & np.uint64(0x007F007F007F007F) | (x & np.uint64(0x7F007F007F007F00)) >> np.uint64(1)
    x = x & np.uint64(0x00003FFF00003FFF) | (x & np.uint64(0x3FFF00003FFF0000)) >> np.uint64(2)
    return np.int64(x & np.uint64(0x0FFFFFFF) | (x & np.uint64(0x0FFFFFFF00000000)) >> np.uint64(4))


@kernel
def read_plain(
    buf: NDArray[np.uint8], n: int, k0: np.uint64, k1: np.uint64, places: NDArray[np.int32],
    sizes: NDArray[np.int32], keys: NDArray[np.uint64], owner: NDArray[np.int32], times: NDArray[np.int64],
    values: NDArray[np.float64], found: NDArray[np.int64],
) -> int:  # fmt: skip
    """Read a request.

    Args:
        buf: The request, uint8, with 16 readable bytes behind it.
        n: Its bytes.
        k0: Lower half of the key that raw keys are hashed with.
        k1: Upper half.
        places: (most series,) int32 out: where the labels of each series begin.
        sizes: (most series,) int32 out: their bytes.
        keys: (most series, 2) uint64 out: raw keys, those that `remote_write_kernels.read_v1` gives.
        owner: (most samples,) int32 out: series of each sample.
        times: (most samples,) int64 out, milliseconds.
        values: (most samples,) float64 out.
        found: (FOUND,) int64 out: series, samples, oldest and newest time, stale markers.

    Returns:
        0, or NOT_PLAIN: something is unusual, or there is more than the outputs take.
    """
    p = 0
    s = 0
    m = 0
    oldest = np.int64(9223372036854775807)
    newest = -oldest
    stale = 0
    while p < n:
        if buf[p] != _LABEL or s == len(places):
            return NOT_PLAIN
        size = np.int64(buf[p + 1])
        p += 2
        if size >= 128:
            if buf[p] >= 128:
                return NOT_PLAIN
            size = size & 127 | np.int64(buf[p]) << 7
            p += 1
        end = p + size
        if end > n:
            return NOT_PLAIN
        places[s] = p
        begin = p
        while p < end and buf[p] == _LABEL:
            size = np.int64(buf[p + 1])
            if size >= 128:
                if buf[p + 2] >= 128:
                    return NOT_PLAIN
                size = (size & 127 | np.int64(buf[p + 2]) << 7) + 1
            p += 2 + size
        sizes[s] = p - begin
        while p < end:
            if buf[p] != _SAMPLE or m == len(times):
                return NOT_PLAIN
            size = np.int64(buf[p + 1])
            p += 2
            last = p + size
            value = 0.0
            # A value of 0 is left out.
            if buf[p] == _VALUE:
                value = load_f64(buf, p + 1)
                p += 9
            size = last - p - 1
            if last > end or size < 1 or size > 8 or buf[p] != _TIME:
                return NOT_PLAIN
            time = _short_varint(load_u64(buf, p + 1), size)
            if time < 0:
                return NOT_PLAIN
            owner[m] = s
            times[m] = time
            values[m] = value
            oldest = min(oldest, time)
            newest = max(newest, time)
            stale += float_bits(value) == _STALE_BITS
            m += 1
            p = last
        if p != end:
            return NOT_PLAIN
        s += 1
    siphash128_rows(buf, places[:s], sizes[:s], k0, k1, keys)
    found[SERIES] = s
    found[SAMPLES] = m
    found[OLDEST] = oldest
    found[NEWEST] = newest
    found[STALE] = stale
    return 0
