# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that read the index of a Prometheus block.

Source:
    Prometheus, tsdb/docs/format/index.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import kernel
from headrace.kernels.utf8_kernels import is_utf8
from headrace.store.prometheus_blocks.bit_stream_kernels import read_bits, read_varint, zigzag
from headrace.store.prometheus_blocks.crc32c_kernels import crc32c

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRUNCATED = -1
CHECKSUM = -2
BAD_SYMBOL = -3
BAD_TEXT = -4
BAD_TIMES = -5

SERIES = 0
LABELS = 1
CHUNKS = 2
POSITION = 3

_ALIGNED = 16


@kernel
def symbols(buf: NDArray[np.uint8], pos: int, end: int, spans: NDArray[np.int32]) -> int:
    """Find the texts of the symbol table.

    Args:
        buf: The table, with PAD readable bytes behind it.
        pos: Its first text.
        end: One past its last.
        spans: (n, 2) int32 out: offset and size of each.

    Returns:
        One past the last byte, TRUNCATED, or BAD_TEXT where one is not UTF-8.
    """
    for i in range(len(spans)):
        pos, size = read_varint(buf, pos, end)
        if pos < 0 or size > np.uint64(end - pos):
            return TRUNCATED
        spans[i, 0], spans[i, 1] = pos, np.int64(size)
        if not is_utf8(buf, pos, np.int64(size)):
            return BAD_TEXT
        pos += np.int64(size)
    return pos


@kernel
def count_series(buf: NDArray[np.uint8], pos: int, end: int, tables: NDArray[np.uint32], out: NDArray[np.int64]) -> int:
    """Count series, labels and chunks, and check each entry.

    Args:
        buf: The index.
        pos: First byte of the series.
        end: One past the last.
        tables: (8, 256) uint32 from `checksums.crc32c_tables`.
        out: (4,) int64 out: SERIES, LABELS, CHUNKS, and the POSITION of an entry that is damaged.

    Returns:
        0, TRUNCATED or CHECKSUM.
    """
    out[:] = 0
    while pos < end:
        pos = (pos + _ALIGNED - 1) // _ALIGNED * _ALIGNED
        if pos >= end:
            break
        out[POSITION] = pos
        at, size = read_varint(buf, pos, end)
        if at < 0:
            return TRUNCATED
        if not size:
            # Padding between sections.
            pos += _ALIGNED
            continue
        if size > np.uint64(end - at) or at + np.int64(size) + 4 > end:
            return TRUNCATED
        stop = at + np.int64(size)
        if np.uint64(crc32c(buf, at, stop, tables)) != read_bits(buf, 8 * stop, 32):
            return CHECKSUM
        at, labels = read_varint(buf, at, stop)
        if at < 0 or labels > np.uint64(stop - at):
            return TRUNCATED
        for _ in range(2 * np.int64(labels)):
            at, _symbol = read_varint(buf, at, stop)
            if at < 0:
                return TRUNCATED
        at, chunks = read_varint(buf, at, stop)
        if at < 0 or chunks > np.uint64(stop - at):
            return TRUNCATED
        out[SERIES] += 1
        out[LABELS] += np.int64(labels)
        out[CHUNKS] += np.int64(chunks)
        pos = stop + 4
    return 0


@kernel
def read_series(
    buf: NDArray[np.uint8], pos: int, end: int, symbol_count: int, ids: NDArray[np.int64],
    label_starts: NDArray[np.int64], pairs: NDArray[np.int32], chunk_starts: NDArray[np.int64],
    chunk_times: NDArray[np.int64], chunk_refs: NDArray[np.int64], out: NDArray[np.int64],
) -> int:  # fmt: skip
    """Read the series that `count_series` counted.

    Args:
        buf: The index.
        pos: First byte of the series.
        end: One past the last.
        symbol_count: How many symbols there are.
        ids: (n,) int64 out: what tombstones call each series.
        label_starts: (n + 1,) int64 out.
        pairs: (labels, 2) int32 out: symbols of name and value.
        chunk_starts: (n + 1,) int64 out.
        chunk_times: (chunks, 2) int64 out: first and last time.
        chunk_refs: (chunks,) int64 out: segment and offset, 32 bits each.
        out: (4,) int64 out: as for `count_series`.

    Returns:
        0, TRUNCATED, BAD_SYMBOL or BAD_TIMES.
    """
    out[:] = 0
    label_starts[0] = chunk_starts[0] = 0
    while pos < end:
        pos = (pos + _ALIGNED - 1) // _ALIGNED * _ALIGNED
        if pos >= end:
            break
        out[POSITION] = pos
        at, size = read_varint(buf, pos, end)
        if not size:
            pos += _ALIGNED
            continue
        stop = at + np.int64(size)
        row = out[SERIES]
        ids[row] = pos // _ALIGNED
        at, labels = read_varint(buf, at, stop)
        for _ in range(np.int64(labels)):
            for side in range(2):
                at, symbol = read_varint(buf, at, stop)
                if symbol >= np.uint64(symbol_count):
                    return BAD_SYMBOL
                pairs[out[LABELS], side] = np.int64(symbol)
            out[LABELS] += 1
        label_starts[row + 1] = out[LABELS]
        status = _read_chunks(buf, at, stop, chunk_times, chunk_refs, out)
        if status < 0:
            return status
        chunk_starts[row + 1] = out[CHUNKS]
        out[SERIES] += 1
        pos = stop + 4
    return 0


@kernel
def _read_chunks(
    buf: NDArray[np.uint8], at: int, stop: int, chunk_times: NDArray[np.int64], chunk_refs: NDArray[np.int64],
    out: NDArray[np.int64],
) -> int:  # fmt: skip
    at, chunks = read_varint(buf, at, stop)
    newest = np.int64(0)
    ref = np.int64(0)
    for k in range(np.int64(chunks)):
        at, first = read_varint(buf, at, stop)
        if at < 0:
            return TRUNCATED
        oldest = zigzag(first) if k == 0 else newest + np.int64(first)
        at, length = read_varint(buf, at, stop)
        if at < 0:
            return TRUNCATED
        newest = oldest + np.int64(length)
        at, step = read_varint(buf, at, stop)
        if at < 0:
            return TRUNCATED
        ref = np.int64(step) if k == 0 else ref + zigzag(step)
        if newest < oldest or ref < 0:
            return BAD_TIMES
        place = out[CHUNKS]
        chunk_times[place, 0], chunk_times[place, 1], chunk_refs[place] = oldest, newest, ref
        out[CHUNKS] += 1
    return 0
