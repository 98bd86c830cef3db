"""What stands in the records of the log. Layout: docs/format/wal.md."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.errors import CorruptChunk
from headrace.store.interfaces import MetadataRow, SeriesBatch

if TYPE_CHECKING:
    from collections.abc import Iterable

SERIES = 1
"""New series: refs and their labels."""

SAMPLES = 2
"""Samples by ref."""

METADATA = 3
"""Types, helps and units of families."""

REMOVED = 4
"""All records of the workspace up to here are void: it was removed. Without a payload."""

LATE = 5
"""Samples by ref that came out of order."""

DELETED = 6
"""A tombstone, as the tombstone file holds it: late samples before this record that it is about are void."""

HISTOGRAMS = 7
"""Native histograms by ref; see `headrace.store.histogram_records`."""

LATE_HISTOGRAMS = 8
"""Native histograms by ref that came out of order."""

_SAMPLES_HEAD = struct.Struct("<IBq")

_NARROW = 0
_WIDE = 1


def encode_samples(batch: SeriesBatch) -> bytes:
    """Write samples as columns: refs, times as offsets from the first (4 bytes where they fit), values."""
    n = len(batch.refs)
    first = int(batch.times_ms[0]) if n else 0
    offsets = batch.times_ms - first
    narrow = bool(n) and int(np.abs(offsets).max()) < 1 << 31
    times = offsets.astype(np.int32) if narrow else offsets
    head = _SAMPLES_HEAD.pack(n, _NARROW if narrow else _WIDE, first)
    return b"".join((head, batch.refs.tobytes(), times.tobytes(), batch.values.tobytes()))


def decode_samples(payload: bytes | bytearray | memoryview) -> SeriesBatch:
    """Read what `encode_samples` wrote.

    Raises:
        CorruptChunk: The size is not what the head says.
    """
    if len(payload) < _SAMPLES_HEAD.size:
        raise CorruptChunk("samples record: shorter than its head")
    n, form, first = _SAMPLES_HEAD.unpack_from(payload)
    time_size = 4 if form == _NARROW else 8
    at = _SAMPLES_HEAD.size
    if form > _WIDE or len(payload) != at + n * (12 + time_size):
        raise CorruptChunk(f"samples record: {len(payload)} bytes do not hold {n} samples")
    refs = np.frombuffer(payload, np.int32, n, at).copy()
    offsets = np.frombuffer(payload, np.int32 if form == _NARROW else np.int64, n, at + 4 * n)
    values = np.frombuffer(payload, np.float64, n, at + (4 + time_size) * n).copy()
    return SeriesBatch(refs, offsets.astype(np.int64) + first, values)


def encode_metadata(rows: Iterable[MetadataRow]) -> bytes:
    """Write metadata of families."""
    return json.dumps([list(row) for row in rows], ensure_ascii=False).encode()


def decode_metadata(payload: bytes | bytearray | memoryview) -> list[MetadataRow]:
    """Read what `encode_metadata` wrote.

    Raises:
        CorruptChunk: It is not what `encode_metadata` writes.
    """
    try:
        return [MetadataRow(*(str(text) for text in row)) for row in json.loads(bytes(payload))]
    except (ValueError, TypeError) as error:
        raise CorruptChunk(f"metadata record: {error}") from None
