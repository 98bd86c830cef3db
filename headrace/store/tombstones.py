"""What was deleted and may still lie in blocks or in the head. Layout: docs/format/block.md."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from headrace.pipeline.errors import CorruptChunk
from headrace.store.runs import Runs, merge

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from headrace.pipeline.native_histograms import NativeHistograms
    from headrace.store.block import Block
    from headrace.store.files import Files

NAME = "tombstones"
_MAGIC = b"HRTMB\x00\x01\x00"
_HEAD = struct.Struct("<8sQI")
_ROW = struct.Struct("<qqqI")


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Samples of some series within a time range, both ends inclusive.

    Attributes:
        start_ms: First time.
        end_ms: Last time.
        below: Only blocks with smaller numbers are meant: what came later is not deleted.
        refs: (n,) int32, ascending.
    """

    start_ms: int
    end_ms: int
    below: int
    refs: NDArray[np.int32]


class Tombstones:
    """An immutable set of tombstones."""

    def __init__(self, rows: tuple[Tombstone, ...] = ()) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def with_row(self, row: Tombstone) -> Tombstones:
        """Return the set with one more."""
        return Tombstones((*self.rows, row))

    def of_block(self, number: int) -> Tombstones:
        """Return those that are about block `number`."""
        return Tombstones(tuple(row for row in self.rows if row.below > number)) if self.rows else self

    def touch(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> bool:
        """Return whether any tombstone is about one of `refs` within a time range."""
        return any(
            row.start_ms <= end_ms and row.end_ms >= start_ms and bool(np.isin(refs, row.refs).any())
            for row in self.rows
        )

    def apply(self, refs: NDArray[np.int32], runs: Runs) -> Runs:
        """Return the samples of `refs` without the deleted ones."""
        if not self.rows or not len(runs.times_ms):
            return runs
        samples = merge([runs], len(refs))
        counts = np.diff(samples.offsets)
        keep = np.ones(len(samples.times_ms), np.bool_)
        for row in self.rows:
            hit = np.isin(refs, row.refs)
            if hit.any():
                inside = (samples.times_ms >= row.start_ms) & (samples.times_ms <= row.end_ms)
                keep &= ~(inside & np.repeat(hit, counts))
        if keep.all():
            return runs
        kept = np.zeros(len(samples.offsets), np.int64)
        np.cumsum(keep, out=(running := np.empty(len(keep), np.int64)))
        ends = samples.offsets[1:]
        kept[1:] = np.where(ends > 0, running[ends - 1], 0)
        return Runs(kept[:-1], np.diff(kept), samples.times_ms[keep], samples.values[keep])

    def apply_histograms(self, histograms: NativeHistograms) -> NativeHistograms:
        """Return the histograms without the deleted ones."""
        keep = np.ones(len(histograms), np.bool_)
        for row in self.rows:
            inside = (histograms.time_ms >= row.start_ms) & (histograms.time_ms <= row.end_ms)
            keep &= ~(inside & np.isin(histograms.series, row.refs))
        return histograms.select(keep)

    def encode(self) -> bytes:
        """Return the bytes of all rows."""
        return b"".join(
            _ROW.pack(row.start_ms, row.end_ms, row.below, len(row.refs)) + row.refs.tobytes() for row in self.rows
        )

    @classmethod
    def decode(cls, data: bytes | bytearray | memoryview, at: int = 0) -> Tombstones:
        """Read what `encode` wrote, from byte `at` to the end.

        Raises:
            CorruptChunk: It ends early.
        """
        rows = []
        try:
            while at < len(data):
                start, end, below, n = _ROW.unpack_from(data, at)
                at += _ROW.size
                rows.append(Tombstone(start, end, below, np.frombuffer(data, np.int32, n, at).copy()))
                at += 4 * n
        except (struct.error, ValueError) as error:
            raise CorruptChunk(f"tombstones: {error}") from None
        return cls(tuple(rows))

    def write(self, files: Files, directory: Path) -> None:
        """Put them in place, durable."""
        body = self.encode()
        data = _HEAD.pack(_MAGIC, xxhash.xxh3_64_intdigest(body), len(self.rows)) + body
        files.write_whole(directory / NAME, data)

    @classmethod
    def read(cls, directory: Path) -> Tombstones:
        """Read what `write` wrote; empty where there is nothing.

        Raises:
            CorruptChunk: The file is damaged.
        """
        path = directory / NAME
        if not path.exists():
            return cls()
        data = path.read_bytes()
        if len(data) < _HEAD.size:
            raise CorruptChunk(f"{path}: {len(data)} bytes are no tombstones")
        magic, checksum, _ = _HEAD.unpack_from(data)
        if magic != _MAGIC or xxhash.xxh3_64_intdigest(memoryview(data)[_HEAD.size :]) != checksum:
            raise CorruptChunk(f"{path}: has another checksum")
        return cls.decode(data, _HEAD.size)


def read_block(block: Block, tombstones: Tombstones, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> Runs:
    """Return the samples of `refs` in a block and a time range, without the deleted ones.

    Raises:
        CorruptChunk: A chunk does not decode.
    """
    return tombstones.of_block(block.number).apply(refs, block.read(refs, start_ms, end_ms))


def read_block_histograms(
    block: Block, tombstones: Tombstones, refs: NDArray[np.int32], start_ms: int, end_ms: int
) -> NativeHistograms:
    """Return the native histograms of `refs` in a block and a time range, without the deleted ones.

    Raises:
        CorruptChunk: A chunk does not decode.
    """
    found = block.read_histograms(refs, start_ms, end_ms)
    return tombstones.of_block(block.number).apply_histograms(found)
