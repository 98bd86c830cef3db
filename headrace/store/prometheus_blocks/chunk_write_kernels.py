# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that write chunks of doubles in Prometheus' encoding, and the frames of a streamed remote read.

Source:
    Prometheus, tsdb/docs/format/chunks.md; remote read API, ``ChunkedReadResponse``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import float_bits
from headrace.kernels.jit import flat_kernel as kernel
from headrace.store.prometheus_blocks.bit_write_kernels import NO_WINDOW, put_bits, put_uvarint, put_xor, zigzagged
from headrace.store.prometheus_blocks.crc32c_kernels import crc32c

if TYPE_CHECKING:
    from numpy.typing import NDArray

XOR = 1

# Tags of protobuf fields.
_CHUNK = 18
_LABELS_AND_CHUNKS = 10
_MIN_TIME = 8
_MAX_TIME = 16
_TYPE = 24
_DATA = 34
_QUERY_INDEX = 16


@kernel
def varint_size(value: np.uint64) -> int:
    """Return the bytes that a varint takes."""
    size = np.int64(1)
    while value >= np.uint64(128):
        value = value >> np.uint64(7)
        size += 1
    return size


@kernel
def put_varint(out: NDArray[np.uint8], p: int, value: np.uint64) -> int:
    """Write a varint at a byte; return the byte behind it."""
    return put_uvarint(out, 8 * p, value) >> 3


@kernel
def put_chunk(
    out: NDArray[np.uint8], p: int, first_ms: int, last_ms: int, encoding: int, data: NDArray[np.uint8], size: int
) -> int:
    """Write the message ``Chunk`` with its tag; return the byte behind it."""
    low, high, length = np.uint64(first_ms), np.uint64(last_ms), np.uint64(size)
    body = 5 + varint_size(low) + varint_size(high) + varint_size(length) + size
    out[p] = _CHUNK
    p = put_varint(out, p + 1, np.uint64(body))
    out[p] = _MIN_TIME
    p = put_varint(out, p + 1, low)
    out[p] = _MAX_TIME
    p = put_varint(out, p + 1, high)
    out[p], out[p + 1], out[p + 2] = _TYPE, encoding, _DATA
    p = put_varint(out, p + 3, length)
    for k in range(size):
        out[p + k] = data[k]
    return np.int64(p + size)


@kernel
def _put_time_change(out: NDArray[np.uint8], at: int, change: int) -> int:
    """Write by how much a time step differs from the one before."""
    if change == 0:
        return put_bits(out, at, np.uint64(0), 1)
    bits = np.uint64(change)
    if -(1 << 13) < change <= 1 << 13:
        return put_bits(out, put_bits(out, at, np.uint64(2), 2), bits, 14)
    if -(1 << 16) < change <= 1 << 16:
        return put_bits(out, put_bits(out, at, np.uint64(6), 3), bits, 17)
    if -(1 << 19) < change <= 1 << 19:
        return put_bits(out, put_bits(out, at, np.uint64(14), 4), bits, 20)
    return put_bits(out, put_bits(out, at, np.uint64(15), 4), bits, 64)


@kernel
def _write_one(
    times: NDArray[np.int64], values: NDArray[np.float64], first: int, until: int, data: NDArray[np.uint8]
) -> int:
    """Write one chunk; return its bytes."""
    at = put_bits(data, 0, np.uint64(until - first), 16)
    at = put_uvarint(data, at, zigzagged(times[first]))
    before = float_bits(values[first])
    at = put_bits(data, at, before, 64)
    leading, trailing = np.int64(NO_WINDOW), np.int64(0)
    step = np.int64(0)
    for i in range(first + 1, until):
        now = times[i] - times[i - 1]
        if i == first + 1:
            at = put_uvarint(data, at, np.uint64(now))
        else:
            at = _put_time_change(data, at, now - step)
        step = now
        bits = float_bits(values[i])
        at, leading, trailing = put_xor(data, at, bits, before, leading, trailing)
        before = bits
    return np.int64((at + 7) >> 3)


@kernel
def write_chunks(
    times: NDArray[np.int64], values: NDArray[np.float64], starts: NDArray[np.int64], ends: NDArray[np.int64],
    data: NDArray[np.uint8], out: NDArray[np.uint8], bounds: NDArray[np.int64],
) -> int:  # fmt: skip
    """Write chunks of doubles, each as a message ``Chunk`` with its tag.

    Args:
        times: Milliseconds, ascending within a chunk.
        values: Doubles.
        starts: (n,) int64 first sample of each chunk.
        ends: (n,) int64 one past the last, at most 65535 more.
        data: Room for one chunk: 24 bytes, and 20 a sample.
        out: Room for all, and 48 bytes more for each.
        bounds: (n + 1,) int64 out: where each message begins in `out`, and where the last one ends.

    Returns:
        The bytes written.
    """
    p = np.int64(0)
    bounds[0] = 0
    for i in range(len(starts)):
        size = _write_one(times, values, starts[i], ends[i], data)
        p = put_chunk(out, p, times[starts[i]], times[ends[i] - 1], XOR, data, size)
        bounds[i + 1] = p
    return p


@kernel
def write_frames(
    firsts: NDArray[np.int64], places: NDArray[np.int64], sizes: NDArray[np.int64], messages: NDArray[np.uint8],
    label_bounds: NDArray[np.int64], labels: NDArray[np.uint8], query: int, max_bytes: int,
    tables: NDArray[np.uint32], out: NDArray[np.uint8],
) -> int:  # fmt: skip
    """Write frames of ``ChunkedReadResponse``, each about one series: length, CRC-32C, message.

    Args:
        firsts: (s + 1,) int64: chunks of series i are ``firsts[i]:firsts[i + 1]``.
        places: (c,) int64 where the message of each chunk begins in `messages`.
        sizes: (c,) int64 its bytes.
        messages: Messages ``Chunk`` with their tags.
        label_bounds: (s + 1,) int64 bytes of each series' labels.
        labels: Messages ``Label`` with their tags.
        query: Number of the query.
        max_bytes: A frame is closed once it has as many.
        tables: (8, 256) uint32 from `checksums.crc32c_tables`.
        out: Room for all messages, and for each the labels of its series and 48 bytes.

    Returns:
        The bytes written.
    """
    p = np.int64(0)
    for series in range(len(firsts) - 1):
        own = label_bounds[series + 1] - label_bounds[series]
        chunk = firsts[series]
        while chunk < firsts[series + 1]:
            last, body = chunk, own
            while last < firsts[series + 1] and (last == chunk or body < max_bytes):
                body += sizes[last]
                last += 1
            whole = 1 + varint_size(np.uint64(body)) + body
            if query:
                whole += 1 + varint_size(np.uint64(query))
            p = put_varint(out, p, np.uint64(whole))
            begin = p + 4
            out[begin] = _LABELS_AND_CHUNKS
            p = put_varint(out, begin + 1, np.uint64(body))
            for k in range(label_bounds[series], label_bounds[series + 1]):
                out[p] = labels[k]
                p += 1
            for one in range(chunk, last):
                for k in range(places[one], places[one] + sizes[one]):
                    out[p] = messages[k]
                    p += 1
            if query:
                out[p] = _QUERY_INDEX
                p = put_varint(out, p + 1, np.uint64(query))
            checksum = np.uint64(crc32c(out, begin, p, tables))
            for k in range(4):
                out[begin - 4 + k] = np.uint8(checksum >> np.uint64(24 - 8 * k) & np.uint64(255))
            chunk = last
    return p
