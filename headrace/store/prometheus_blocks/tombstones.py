"""The ``tombstones`` of a Prometheus block: what was deleted and still lies in it.

Source:
    Prometheus, tsdb/docs/format/tombstones.md.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.errors import CorruptChunk
from headrace.store.prometheus_blocks.checksums import crc32c

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NAME = "tombstones"
_MAGIC = 0x0130BA30
_VERSION = 1
_HEADER = 5


def read(directory: Path) -> dict[int, list[tuple[int, int]]]:
    """Return deleted ranges in milliseconds, both ends included, by id of the series.

    Raises:
        CorruptChunk: The file is damaged.
    """
    path = directory / NAME
    if not path.exists():
        return {}
    data = path.read_bytes()
    if len(data) < _HEADER + 4:
        raise CorruptChunk(f"{path}: is cut short")
    magic, version = struct.unpack_from(">IB", data)
    if magic != _MAGIC or version != _VERSION:
        raise CorruptChunk(f"{path}: is not a tombstone file of version {_VERSION}")
    if crc32c(data[_HEADER:-4]) != int.from_bytes(data[-4:], "big"):
        raise CorruptChunk(f"{path}: has another checksum")
    found: dict[int, list[tuple[int, int]]] = {}
    at = _HEADER
    while at < len(data) - 4:
        series, at = _varint(data, at, path)
        first, at = _varint(data, at, path)
        last, at = _varint(data, at, path)
        found.setdefault(series, []).append((_signed(first), _signed(last)))
    return found


def hide(
    times_ms: NDArray[np.int64], owners: NDArray[np.int64], ids: NDArray[np.int64],
    deleted: dict[int, list[tuple[int, int]]],
) -> NDArray[np.bool_]:  # fmt: skip
    """Return which samples are left.

    Args:
        times_ms: (n,) int64.
        owners: (n,) int64 row of `ids` that each belongs to.
        ids: (rows,) int64 ids of series.
        deleted: From `read`.
    """
    keep = np.ones(len(times_ms), np.bool_)
    for row in np.flatnonzero(np.isin(ids, np.fromiter(deleted, np.int64, len(deleted)))).tolist():
        mine = owners == row
        for first, last in deleted[int(ids[row])]:
            keep &= ~(mine & (times_ms >= first) & (times_ms <= last))
    return keep


def _varint(data: bytes, at: int, path: Path) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data) - 4:
            break
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    raise CorruptChunk(f"{path}: an entry is cut short")


def _signed(raw: int) -> int:
    return (raw >> 1) ^ -(raw & 1)
