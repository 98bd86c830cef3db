# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels of Prometheus' chunk segments: finding chunks, and decoding those of doubles.

Source:
    Prometheus, tsdb/docs/format/chunks.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import bits_float
from headrace.kernels.jit import kernel
from headrace.store.prometheus_blocks.bit_stream_kernels import (
    TRUNCATED,
    read_bits,
    read_varint,
    read_xor,
    zigzag,
)
from headrace.store.prometheus_blocks.crc32c_kernels import crc32c

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What is wrong with a chunk.
FINE = 0
OUTSIDE = 1
CHECKSUM = 2
IMPOSSIBLE = 3
BITS = 4

XOR = 1
HISTOGRAM = 2
FLOAT_HISTOGRAM = 3

_HEAD = 2


@kernel
def locate(
    buf: NDArray[np.uint8], offsets: NDArray[np.int64], tables: NDArray[np.uint32], starts: NDArray[np.int64],
    ends: NDArray[np.int64], encodings: NDArray[np.uint8], counts: NDArray[np.int64], faults: NDArray[np.uint8],
) -> int:  # fmt: skip
    """Find chunks in a segment and check them.

    Args:
        buf: The segment.
        offsets: (n,) int64 where each chunk begins.
        tables: (8, 256) uint32 from `checksums.crc32c_tables`.
        starts: (n,) int64 out: first byte of the data, the count of samples.
        ends: (n,) int64 out: one past the last byte of the data.
        encodings: (n,) uint8 out.
        counts: (n,) int64 out: samples.
        faults: (n,) uint8 out: what is wrong, FINE for nothing.

    Returns:
        How many have a fault.
    """
    bad = 0
    for i in range(len(offsets)):
        starts[i], ends[i], encodings[i], counts[i], faults[i] = 0, 0, 0, 0, OUTSIDE
        at = offsets[i]
        if 0 <= at < len(buf):
            pos, size = read_varint(buf, at, len(buf))
            if pos > 0 and size < np.uint64(len(buf)) and pos + 1 + np.int64(size) + 4 <= len(buf):
                end = pos + 1 + np.int64(size)
                faults[i] = FINE
                if np.uint64(crc32c(buf, pos, end, tables)) != read_bits(buf, 8 * end, 32):
                    faults[i] = CHECKSUM
                elif size < np.uint64(_HEAD):
                    faults[i] = IMPOSSIBLE
                else:
                    starts[i], ends[i], encodings[i] = pos + 1, end, buf[pos]
                    counts[i] = np.int64(buf[pos + 1]) << 8 | np.int64(buf[pos + 2])
                    # Each sample takes at least one bit of time and one of value.
                    if 2 * counts[i] > 8 * np.int64(size):
                        faults[i], counts[i] = IMPOSSIBLE, 0
        bad += faults[i] != FINE
    return bad


@kernel
def _delta_of_delta(buf: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """Return the position behind a change of time steps, and the change."""
    head = read_bits(buf, at, 4)
    width = 64
    if head < np.uint64(8):
        return np.int64(at + 1 if at < end else TRUNCATED), np.int64(0)
    if head < np.uint64(12):
        width, at = 14, at + 2
    elif head < np.uint64(14):
        width, at = 17, at + 3
    else:
        width, at = 20 if head == np.uint64(14) else 64, at + 4
    if at + width > end:
        return np.int64(TRUNCATED), np.int64(0)
    bits = read_bits(buf, at, width)
    change = np.int64(bits)
    if width < 64 and bits > np.uint64(1) << np.uint64(width - 1):
        change -= np.int64(1) << np.int64(width)
    return np.int64(at + width), change


@kernel
def _decode(
    buf: NDArray[np.uint8], pos: int, end: int, n: int, place: int, times: NDArray[np.int64],
    values: NDArray[np.float64],
) -> int:  # fmt: skip
    """Decode one chunk; return FINE or BITS."""
    pos, raw = read_varint(buf, pos + _HEAD, end)
    if pos < 0 or pos + 8 > end:
        return BITS
    time = zigzag(raw)
    bits = read_bits(buf, 8 * pos, 64)
    pos += 8
    times[place], values[place] = time, bits_float(bits)
    if n == 1:
        return FINE
    pos, raw = read_varint(buf, pos, end)
    if pos < 0:
        return BITS
    step = np.int64(raw)
    at = np.int64(8 * pos)
    last = np.int64(8 * end)
    leading = np.int64(0)
    trailing = np.int64(0)
    for i in range(1, n):
        if i > 1:
            at, change = _delta_of_delta(buf, at, last)
            if at < 0:
                return BITS
            step += change
        time += step
        at, bits, leading, trailing = read_xor(buf, at, last, bits, leading, trailing)
        if at < 0:
            return BITS
        times[place + i], values[place + i] = time, bits_float(bits)
    return FINE


@kernel
def decode(
    buf: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64], counts: NDArray[np.int64],
    places: NDArray[np.int64], times: NDArray[np.int64], values: NDArray[np.float64], faults: NDArray[np.uint8],
) -> int:  # fmt: skip
    """Decode chunks of doubles that `locate` found.

    Args:
        buf: The segment.
        starts: (n,) int64, as `locate` gave them; so are the next two.
        ends: (n,) int64.
        counts: (n,) int64.
        places: (n,) int64: where the samples of each go.
        times: int64 out, milliseconds.
        values: float64 out.
        faults: (n,) uint8 out: FINE or BITS.

    Returns:
        How many have a fault.
    """
    bad = 0
    for i in range(len(starts)):
        faults[i] = FINE
        if counts[i]:
            faults[i] = _decode(buf, starts[i], ends[i], counts[i], places[i], times, values)
        bad += faults[i] != FINE
    return bad
