"""Blocks: immutable files of chunks with their series. Layout: docs/format/block.md.

A block is complete in itself: it names its series, so that nothing else is needed to read it.
"""

from __future__ import annotations

import json
import mmap
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cramjam
import numpy as np
import xxhash

from headrace.pipeline.errors import CorruptChunk
from headrace.store import block_kernels as kernels
from headrace.store.codec.chunk_kernels import MAX_SAMPLES, max_size
from headrace.store.records import decode_series, encode_series
from headrace.store.runs import Runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from headrace.store.interfaces import Labels
    from headrace.store.runs import Samples

MAGIC = b"HRBLK\x00\x01\x00"
"""First and last bytes of a block: name and version of the format."""

_HEADER = struct.Struct("<8sB3xI12s36x")
"""Magic, cipher (0: none), key id, nonce, reserved: 64 bytes."""

_SECTION = struct.Struct("<IIQQQ")
"""Kind, compression (0: none, 1: zstd), place, size, checksum."""

_FOOTER = struct.Struct("<IIQ8s")
"""Sections, reserved, checksum of the section table, magic."""

_CHUNKS = 1
_CHUNK_TABLE = 2
_FIRSTS = 3
_REFS = 4
_SERIES = 5
_META = 6

_ZSTD_LEVEL = 3
_PAD = 16
_MAX_SECTION = 1 << 32


@dataclass(frozen=True, slots=True)
class BlockMeta:
    """What a block holds.

    Attributes:
        workspace: Whose it is.
        min_ms: Oldest time.
        max_ms: Newest time.
        samples: Number of samples.
        series: Number of series.
    """

    workspace: str
    min_ms: int
    max_ms: int
    samples: int
    series: int


class BlockWriter:
    """Collects samples, series by series in ascending order of refs, and makes the bytes of a block."""

    def __init__(self, workspace: str) -> None:
        self._workspace = workspace
        self._parts: list[bytes] = []
        self._size = 0
        self._chunks: list[NDArray[np.int64]] = []
        self._counts: list[NDArray[np.int64]] = []
        self._refs: list[NDArray[np.int32]] = []
        self._labels: list[Labels] = []
        self._samples = 0

    def add(self, refs: NDArray[np.int32], labels: Sequence[Labels], samples: Samples) -> None:
        """Take the samples of some series; those without samples are left out.

        Args:
            refs: (n,) int32, above all refs taken before.
            labels: Their label sets.
            samples: Their samples.
        """
        n = len(refs)
        total = int(samples.offsets[-1])
        rooms = n + total // kernels.CHUNK + 1
        out = np.empty(sum(max_size(0) for _ in range(rooms)) + 24 * total + _PAD, np.uint8)
        chunks = np.empty((rooms, 5), np.int64)
        firsts = np.empty(n + 1, np.int64)
        size = kernels.write(
            *samples, out, self._size, chunks, firsts,
            np.empty(kernels.CHUNK, np.uint64), np.empty(kernels.CHUNK, np.int64),
            np.empty(kernels.CHUNK, np.int64), np.empty(kernels.CHUNK, np.float64),
        )  # fmt: skip
        counts = np.diff(firsts)
        kept = counts > 0
        self._parts.append(out[:size].tobytes())
        self._size += size
        self._chunks.append(chunks[: firsts[-1]])
        self._counts.append(counts[kept])
        self._refs.append(refs[kept])
        self._labels += [one for one, keep in zip(labels, kept.tolist(), strict=True) if keep]
        self._samples += total

    def __len__(self) -> int:
        return self._samples

    def finish(self) -> bytes:
        """Return the bytes of the block."""
        chunks = np.concatenate(self._chunks)
        refs = np.concatenate(self._refs)
        firsts = np.concatenate([[0], np.cumsum(np.concatenate(self._counts))]).astype(np.int64)
        meta = {
            "workspace": self._workspace,
            "min_ms": int(chunks[:, 0].min()),
            "max_ms": int(chunks[:, 1].max()),
            "samples": self._samples,
            "series": len(refs),
        }
        return _assemble(
            [
                (_CHUNKS, False, b"".join(self._parts)),
                # Column by column: neighbours are alike, which the entropy stage likes.
                (_CHUNK_TABLE, True, np.ascontiguousarray(chunks.T).tobytes()),
                (_FIRSTS, True, firsts.tobytes()),
                (_REFS, True, refs.tobytes()),
                (_SERIES, True, encode_series(zip(refs.tolist(), self._labels, strict=True))),
                (_META, False, json.dumps(meta).encode()),
            ]
        )


class Block:
    """A block on disk, memory-mapped.

    Args:
        path: Its file.

    Raises:
        CorruptChunk: The file is not a whole block, or a checksum does not match.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size < _HEADER.size + _FOOTER.size:
                raise CorruptChunk(f"{path.name}: {size} bytes are no block")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._sections = _sections(self._map, path.name)
        meta = json.loads(self._section(_META))
        self.meta = BlockMeta(**meta)
        self.refs = np.frombuffer(self._section(_REFS), np.int32)
        self._firsts = np.frombuffer(self._section(_FIRSTS), np.int64)
        table = np.frombuffer(self._section(_CHUNK_TABLE), np.int64)
        self._chunks = np.ascontiguousarray(table.reshape(5, -1).T)
        place, size, _, _ = self._sections[_CHUNKS]
        self._check_tables(size)
        # The sections after it and the footer give the spare bytes that decoding may read.
        self._buf = np.frombuffer(self._map, np.uint8)[place:]
        self._verified = False

    def series(self) -> list[tuple[int, Labels]]:
        """Return refs and label sets, ascending."""
        return decode_series(self._section(_SERIES))

    def overlaps(self, start_ms: int, end_ms: int) -> bool:
        """Return whether samples may lie in a time range."""
        return self.meta.min_ms <= end_ms and self.meta.max_ms >= start_ms

    def has_samples(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> NDArray[np.bool_]:
        """Return which of `refs` have samples in chunks that touch a time range."""
        rows = self._rows(refs)
        counts = np.empty(len(refs), np.int64)
        kernels.count_samples(rows, start_ms, end_ms, self._firsts, self._chunks, counts)
        return counts > 0

    def last_ms(self) -> NDArray[np.int64]:
        """Return the newest time of each series of the block."""
        newest: NDArray[np.int64] = self._chunks[self._firsts[1:] - 1, 1]
        return newest

    def read(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> Runs:
        """Return the samples of `refs` in a time range.

        Raises:
            CorruptChunk: A chunk does not decode.
        """
        self._verify()
        rows = self._rows(refs)
        counts = np.empty(len(refs), np.int64)
        kernels.count_samples(rows, start_ms, end_ms, self._firsts, self._chunks, counts)
        places = np.zeros(len(refs), np.int64)
        np.cumsum(counts[:-1], out=places[1:])
        room = int(counts.sum())
        times, values = np.empty(room, np.int64), np.empty(room, np.float64)
        status = kernels.read(
            rows, start_ms, end_ms, self._firsts, self._chunks, self._buf, places, times, values, counts,
            np.empty(MAX_SAMPLES, np.uint64),
        )  # fmt: skip
        if status < 0:
            raise CorruptChunk(f"{self.path.name}: a chunk does not decode")
        return Runs(places, counts, times, values)

    def _rows(self, refs: NDArray[np.int32]) -> NDArray[np.int64]:
        at = np.searchsorted(self.refs, refs)
        at[at == len(self.refs)] = 0
        return np.where(self.refs[at] == refs, at, -1).astype(np.int64)

    def _section(self, kind: int) -> bytes:
        place, size, compression, checksum = self._sections[kind]
        data = self._map[place : place + size]
        if xxhash.xxh3_64_intdigest(data) != checksum:
            raise CorruptChunk(f"{self.path.name}: section {kind} has another checksum")
        return bytes(cramjam.zstd.decompress(data)) if compression else data

    def _verify(self) -> None:
        """Check the chunk section once, at first use: opening stays quick however large the block is."""
        if not self._verified:
            self._section(_CHUNKS)
            self._verified = True

    def _check_tables(self, chunk_bytes: int) -> None:
        chunks, firsts = self._chunks, self._firsts
        ok = (
            len(firsts) == len(self.refs) + 1
            and len(self.refs) > 0
            and firsts[0] == 0
            and firsts[-1] == len(chunks)
            and bool((np.diff(firsts) > 0).all())
            and bool((np.diff(self.refs) > 0).all())
            and bool((chunks[:, 2:] >= 0).all())
            and bool((chunks[:, 2] + chunks[:, 3] <= chunk_bytes).all())
            and bool((chunks[:, 4] <= MAX_SAMPLES).all())
        )
        if not ok:
            raise CorruptChunk(f"{self.path.name}: the tables contradict each other")


def _assemble(sections: list[tuple[int, bool, bytes]]) -> bytes:
    parts = [_HEADER.pack(MAGIC, 0, 0, b"")]
    table = []
    at = _HEADER.size
    for kind, compress, data in sections:
        stored = bytes(cramjam.zstd.compress(data, _ZSTD_LEVEL)) if compress else data
        table.append(_SECTION.pack(kind, int(compress), at, len(stored), xxhash.xxh3_64_intdigest(stored)))
        parts.append(stored)
        at += len(stored)
    packed = b"".join(table)
    footer = _FOOTER.pack(len(table), 0, xxhash.xxh3_64_intdigest(packed), MAGIC)
    return b"".join((*parts, packed, footer))


def _sections(data: mmap.mmap, name: str) -> dict[int, tuple[int, int, int, int]]:
    magic, cipher, _, _ = _HEADER.unpack_from(data)
    count, _, checksum, end_magic = _FOOTER.unpack_from(data, len(data) - _FOOTER.size)
    if magic != MAGIC or end_magic != MAGIC:
        raise CorruptChunk(f"{name}: no block of a version that is known here, or cut short")
    if cipher:
        raise CorruptChunk(f"{name}: is encrypted with cipher {cipher}, which is not known here")
    start = len(data) - _FOOTER.size - count * _SECTION.size
    if start < _HEADER.size:
        raise CorruptChunk(f"{name}: its section table is cut short")
    packed = data[start : len(data) - _FOOTER.size]
    if xxhash.xxh3_64_intdigest(packed) != checksum:
        raise CorruptChunk(f"{name}: its section table has another checksum")
    return dict(_section_rows(packed, start, name))


def _section_rows(packed: bytes, end: int, name: str) -> Iterator[tuple[int, tuple[int, int, int, int]]]:
    for kind, compression, place, size, checksum in _SECTION.iter_unpack(packed):
        if place + size > end or size > _MAX_SECTION or compression > 1:
            raise CorruptChunk(f"{name}: section {kind} does not lie in the file")
        yield kind, (place, size, compression, checksum)
