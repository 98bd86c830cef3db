"""Blocks: immutable files of chunks with their series. Layout: docs/format/block.md.

A block is complete in itself: it names its series, so that nothing else is needed to read it.
"""

from __future__ import annotations

import json
import mmap
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import cramjam
import numpy as np
import xxhash

from headrace.pipeline.errors import CorruptChunk, StoreFailed
from headrace.pipeline.native_histograms import NativeHistograms
from headrace.store import block_kernels as kernels
from headrace.store import scan_kernels
from headrace.store.block_writer import (
    CIPHER_NONE,
    FIRST_OPTIONAL,
    FOOTER,
    HEADER,
    MAGIC,
    SECTION,
    Section,
    header_check,
)
from headrace.store.codec.histograms import HistogramChunks
from headrace.store.codec.histograms_kernels import MAX_ROWS
from headrace.store.codec.scratch import MAX_SAMPLES, scratch
from headrace.store.exemplar_blocks import KINDS as EXEMPLAR_KINDS
from headrace.store.exemplar_blocks import ExemplarSection
from headrace.store.runs import Runs, SeriesSamples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from enum import IntEnum
    from pathlib import Path

    from numpy.typing import NDArray

_MAX_TABLE = 1 << 31


@dataclass(frozen=True, slots=True)
class BlockMeta:
    """What a block holds.

    Attributes:
        workspace: Whose it is.
        min_ms: Oldest time.
        max_ms: Newest time.
        samples: Number of samples.
        series: Number of series.
        level: How often its samples have been merged into a larger block; 0 for one that the head wrote.
        sources: Numbers of the blocks that it was merged from, which go once it is in place.
    """

    workspace: str
    min_ms: int
    max_ms: int
    samples: int
    series: int
    level: int = 0
    sources: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """Return it as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> BlockMeta:
        """Read what `encode` wrote."""
        meta = cls(**json.loads(data))
        return replace(meta, sources=tuple(meta.sources))


@dataclass(frozen=True, slots=True)
class _Place:
    start: int
    size: int
    compressed: bool
    checksum: int


class Block:
    """A block on disk, memory-mapped.

    Args:
        path: Its file.

    Raises:
        CorruptChunk: The file is not a whole block, or a checksum does not match.
        StoreFailed: It is a block of another version, or encrypted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = int(path.stem)
        with path.open("rb") as file:
            self.size_bytes = file.seek(0, 2)
            if self.size_bytes < HEADER.size + FOOTER.size:
                raise CorruptChunk(f"{path.name}: {self.size_bytes} bytes are no block")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._sections = _sections(self._map, path.name)
        missing = [s.name for s in Section if s < FIRST_OPTIONAL and s not in self._sections]
        if missing:
            raise CorruptChunk(f"{path.name}: has no section {missing[0]}")
        try:
            self.meta = BlockMeta.decode(self._section(Section.META))
        except (ValueError, TypeError) as error:
            raise CorruptChunk(f"{path.name}: {error}") from None
        self.refs: NDArray[np.int32] = np.cumsum(self._column(Section.REFS, np.int32), dtype=np.int32)
        self.histograms = self._histograms()
        """Native histograms, None where there are none."""
        self.tables = self._tables()
        self._verified = False
        self._histograms_verified = False

    def series_records(self) -> bytes:
        """Return refs and label sets, ascending, as `headrace.store.records` encodes them."""
        return self._section(Section.SERIES)

    def optional(self, kind: IntEnum) -> bytes | None:
        """Return a section that a block need not have, None where it has not.

        Raises:
            CorruptChunk: It has another checksum.
        """
        return self._section(kind) if kind in self._sections else None

    def overlaps(self, start_ms: int, end_ms: int) -> bool:
        """Return whether samples may lie in a time range."""
        return self.meta.min_ms <= end_ms and self.meta.max_ms >= start_ms

    @property
    def all_refs(self) -> NDArray[np.int32]:
        """The refs of all series, ascending: `refs` have samples, those of `histograms` have histograms."""
        return self.refs if self.histograms is None else np.union1d(self.refs, self.histograms.refs)

    def last_ms(self) -> NDArray[np.int64]:
        """Return the newest time of the samples of each of `refs`."""
        return self._extents[1]

    @cached_property
    def _extents(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Oldest and newest time of the samples of each of `refs`."""
        firsts, chunk_times, rows = self.tables.firsts, self.tables.chunk_times, self.tables.time_rows
        return rows[1, chunk_times[firsts[:-1]]], rows[2, chunk_times[firsts[1:] - 1]]

    def present(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> NDArray[np.bool_]:
        """Return which of `refs` have samples in a time range.

        Raises:
            CorruptChunk: A chunk does not decode.
        """
        rows = self._rows(refs)
        known = rows >= 0
        own = rows[known]
        oldest, newest = self._extents
        found = known.copy()
        # Where the first or the last sample of a series is within the range, nothing has to be decoded.
        first, last = oldest[own], newest[own]
        sure = ((first >= start_ms) & (first <= end_ms)) | ((last >= start_ms) & (last <= end_ms))
        around = (first < start_ms) & (last > end_ms)
        sure[around] = self._count(own[around], start_ms, end_ms) > 0
        found[known] = sure
        return found

    def read(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> Runs:
        """Return the samples of `refs` in a time range.

        Raises:
            CorruptChunk: A chunk does not decode.
        """
        rows = self._rows(refs)
        counts = self._count(rows, start_ms, end_ms)
        room = SeriesSamples.room(counts)
        self.read_into(rows, start_ms, end_ms, room, share=False)
        return Runs(room.places, counts, room.times_ms, room.values)

    def rows_of(self, refs: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the row of each ref among those with samples, -1 for none."""
        return self._rows(refs)

    def count(self, rows: NDArray[np.int64], start_ms: int, end_ms: int) -> NDArray[np.int64]:
        """Return how many samples rows that `rows_of` gave have in a time range.

        Raises:
            CorruptChunk: A chunk does not decode.
        """
        return self._count(rows, start_ms, end_ms)

    def read_into(
        self, rows: NDArray[np.int64], start_ms: int, end_ms: int, room: SeriesSamples, *, share: bool
    ) -> None:
        """Put the samples of rows that `rows_of` gave behind what `room` has of them; its `counts` grow.

        Args:
            rows: (n,) int64.
            start_ms: First time, inclusive.
            end_ms: Last time, inclusive.
            room: Of n series, with places for what `count` said.
            share: Whether series that have their times in common point to the same ones; the room is empty then.

        Raises:
            CorruptChunk: A chunk does not decode.
        """
        tables, some = self.tables, scratch()
        most = int((tables.firsts[rows + 1] - tables.firsts[rows]).max(initial=1))
        status = scan_kernels.read_shared(
            rows, start_ms, min(end_ms, _LATEST), *tables, share, np.empty((most, 2), np.int64),
            np.empty(MAX_SAMPLES + 128, np.int64), some.integers, some.widths, room.places, room.counts,
            room.time_places, room.times_ms, room.values,
        )  # fmt: skip
        if status < 0:
            raise CorruptChunk(f"{self.path.name}: a chunk does not decode")

    def read_histograms(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> NativeHistograms:
        """Return the histograms of `refs`, ascending, in a time range: sorted by ref and time.

        Raises:
            CorruptChunk: A chunk does not decode.
        """
        chunks = self._verified_histograms()
        return NativeHistograms.empty() if chunks is None else chunks.read(refs, start_ms, end_ms)

    def histograms_present(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> NDArray[np.bool_]:
        """Return which of `refs` have histograms in a time range.

        Raises:
            CorruptChunk: A chunk does not decode.
        """
        chunks = self._verified_histograms()
        return np.zeros(len(refs), np.bool_) if chunks is None else chunks.present(refs, start_ms, end_ms)

    def verify(self, *, exemplars: bool = True) -> None:
        """Check the checksums of all sections, save those of exemplars where these do not count.

        Raises:
            CorruptChunk: One does not match.
        """
        for section in self._sections:
            if exemplars or section not in EXEMPLAR_KINDS:
                self._section(section)

    def check(self) -> None:
        """Check the checksums of samples now, which else the first to read some does.

        Raises:
            CorruptChunk: One does not match.
        """
        self._verify()

    def skip_checksums(self) -> None:
        """Read samples although the checksum of their columns does not match; for who salvages what is left."""
        self._verified = True

    def section_sizes(self) -> dict[str, int]:
        """Return the bytes of each section as stored, by name."""
        return {section.name.lower(): place.size for section, place in self._sections.items()}

    def _count(self, rows: NDArray[np.int64], start_ms: int, end_ms: int) -> NDArray[np.int64]:
        self._verify()
        counts = np.empty(len(rows), np.int64)
        times = np.empty(MAX_SAMPLES + 128, np.int64)
        if kernels.count_samples(rows, start_ms, min(end_ms, _LATEST), self.tables, times, scratch(), counts) < 0:
            raise CorruptChunk(f"{self.path.name}: a time column does not decode")
        return counts

    def _rows(self, refs: NDArray[np.int32]) -> NDArray[np.int64]:
        if not len(self.refs):
            return np.full(len(refs), -1, np.int64)
        if len(refs) == len(self.refs) and np.array_equal(refs, self.refs):
            return np.arange(len(refs))
        at = self.refs.searchsorted(refs)
        at[at == len(self.refs)] = 0
        return np.where(self.refs[at] == refs, at, -1).astype(np.int64)

    def _verify(self) -> None:
        """Check the columns once, at first use: opening stays quick however large the block is."""
        if not self._verified:
            self._section(Section.TIMES)
            self._section(Section.VALUES)
            self._verified = True

    def _verified_histograms(self) -> HistogramChunks | None:
        if self.histograms is not None and not self._histograms_verified:
            self._section(Section.HISTOGRAMS)
            self._histograms_verified = True
        return self.histograms

    def _section(self, kind: IntEnum) -> bytes:
        place = self._sections[kind]
        with memoryview(self._map) as whole, whole[place.start : place.start + place.size] as data:
            if xxhash.xxh3_64_intdigest(data) != place.checksum:
                raise CorruptChunk(f"{self.path.name}: section {kind.name} has another checksum")
            if kind in {Section.TIMES, Section.VALUES, Section.HISTOGRAMS}:
                return b""
            return bytes(cramjam.zstd.decompress(data)) if place.compressed else bytes(data)

    def _column(self, kind: Section, dtype: type[np.generic]) -> NDArray[np.generic]:
        data = self._section(kind)
        if len(data) % np.dtype(dtype).itemsize:
            raise CorruptChunk(f"{self.path.name}: section {kind.name} has {len(data)} bytes")
        return np.frombuffer(data, dtype)

    def _tables(self) -> kernels.Tables:
        """Read the tables and check that no column lies outside its section."""
        firsts = _running(self._column(Section.FIRSTS, np.uint32))
        sizes = self._column(Section.TIME_SIZES, np.uint32)
        rows = np.frombuffer(self._column(Section.TIME_ROWS, np.int64), np.int64)
        chunk_times = np.cumsum(self._column(Section.CHUNK_TIMES, np.int32), dtype=np.int32)
        time_places = _running(sizes) + self._sections[Section.TIMES].start
        value_places = _running(self._column(Section.VALUE_SIZES, np.uint32)) + self._sections[Section.VALUES].start
        chunk_values = self._chunk_values(len(value_places) - 1)
        ok = (
            len(firsts) == len(self.refs) + 1
            and len(self.refs) + (self.histograms is not None) > 0
            and firsts[-1] == len(chunk_times) == len(chunk_values)
            and len(rows) == 3 * len(sizes)
            and bool((np.diff(firsts) > 0).all())
            and bool((np.diff(self.refs, prepend=np.int32(-1)) > 0).all())
            and time_places[-1] == self._sections[Section.TIMES].start + self._sections[Section.TIMES].size
            and value_places[-1] == self._sections[Section.VALUES].start + self._sections[Section.VALUES].size
            and bool(((chunk_times >= 0) & (chunk_times < len(sizes))).all())
            and bool(((chunk_values >= 0) & (chunk_values < len(value_places) - 1)).all())
        )
        rows = rows.reshape(3, -1) if ok else rows
        if not ok or not bool(((rows[0] > 0) & (rows[0] <= MAX_SAMPLES)).all()):
            raise CorruptChunk(f"{self.path.name}: the tables contradict each other")
        buf = np.frombuffer(self._map, np.uint8)
        return kernels.Tables(firsts, chunk_times, chunk_values, time_places, rows, value_places, buf)

    def _histograms(self) -> HistogramChunks | None:
        """Read the tables of histograms and check that no chunk lies outside its section."""
        if Section.HISTOGRAMS not in self._sections:
            return None
        kinds = (Section.HISTOGRAM_SIZES, Section.HISTOGRAM_ROWS, Section.HISTOGRAM_FIRSTS, Section.HISTOGRAM_REFS)
        missing = [kind.name for kind in kinds if kind not in self._sections]
        if missing:
            raise CorruptChunk(f"{self.path.name}: has no section {missing[0]}")
        place = self._sections[Section.HISTOGRAMS]
        places = _running(self._column(Section.HISTOGRAM_SIZES, np.uint32)) + place.start
        rows = np.frombuffer(self._column(Section.HISTOGRAM_ROWS, np.int64), np.int64)
        firsts = _running(self._column(Section.HISTOGRAM_FIRSTS, np.uint32))
        refs = np.cumsum(self._column(Section.HISTOGRAM_REFS, np.int32), dtype=np.int32)
        ok = (
            0 < len(refs) == len(firsts) - 1
            and firsts[-1] == len(places) - 1
            and len(rows) == 3 * (len(places) - 1)
            and bool((np.diff(firsts) > 0).all())
            and bool((np.diff(refs, prepend=np.int32(-1)) > 0).all())
            and places[-1] == place.start + place.size
            and bool(((rows[: len(places) - 1] > 0) & (rows[: len(places) - 1] <= MAX_ROWS)).all())
        )
        if not ok:
            raise CorruptChunk(f"{self.path.name}: the tables of histograms contradict each other")
        count, first, last = rows.reshape(3, -1)
        buf = np.frombuffer(self._map, np.uint8)
        return HistogramChunks(self.path.name, refs, firsts, count, first, last, places, buf)

    def _chunk_values(self, columns: int) -> NDArray[np.int32]:
        """Undo the coding of the value column of each chunk: 0 is the next new one, -k the k-th before that."""
        back = self._column(Section.CHUNK_VALUES, np.int32)
        new = back == 0
        following = np.cumsum(new, dtype=np.int32) - new
        if int(new.sum()) != columns:
            raise CorruptChunk(f"{self.path.name}: the chunks name {int(new.sum())} value columns of {columns}")
        values: NDArray[np.int32] = (following + back).astype(np.int32)
        return values


_KINDS = frozenset(map(int, Section))
_LATEST = np.iinfo(np.int64).max - 1


def _running(sizes: NDArray[np.generic]) -> NDArray[np.int64]:
    out = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=out[1:])
    return out


def _sections(data: mmap.mmap, name: str) -> dict[IntEnum, _Place]:
    magic, cipher, key, _ = HEADER.unpack_from(data)
    count, check, checksum, end_magic = FOOTER.unpack_from(data, len(data) - FOOTER.size)
    # Both ends say which version it is; where they differ, one is damaged.
    if magic[:6] == MAGIC[:6] and magic != MAGIC and magic == end_magic:
        raise StoreFailed(f"{name}: a block of version {magic[6]}, which is not known here")
    if magic != MAGIC or end_magic != MAGIC:
        raise CorruptChunk(f"{name}: no block, or cut short")
    if check and header_check(data[: HEADER.size]) != check:
        raise CorruptChunk(f"{name}: its header is damaged")
    if cipher != CIPHER_NONE or key:
        raise StoreFailed(f"{name}: is encrypted with cipher {cipher}, key {key}, which is not known here")
    start = len(data) - FOOTER.size - count * SECTION.size
    if start < HEADER.size:
        raise CorruptChunk(f"{name}: its section table is cut short")
    packed = data[start : len(data) - FOOTER.size]
    if xxhash.xxh3_64_intdigest(packed) != checksum:
        raise CorruptChunk(f"{name}: its section table has another checksum")
    return dict(_section_rows(packed, start, name))


def _section_rows(packed: bytes, end: int, name: str) -> Iterator[tuple[IntEnum, _Place]]:
    for kind, compression, place, size, raw_size, checksum in SECTION.iter_unpack(packed):
        if place + size > end or raw_size > _MAX_TABLE or compression > 1:
            raise CorruptChunk(f"{name}: section {kind} does not lie in the file")
        # Sections of later versions that readers of this one need not know.
        if kind in _KINDS:
            yield Section(kind), _Place(place, size, bool(compression), checksum)
        elif kind in EXEMPLAR_KINDS:
            yield ExemplarSection(kind), _Place(place, size, bool(compression), checksum)
