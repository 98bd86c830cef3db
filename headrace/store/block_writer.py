"""Writing blocks, a part at a time, so that memory does not depend on how large they get."""

from __future__ import annotations

import contextlib
import secrets
import struct
from enum import IntEnum
from typing import TYPE_CHECKING

import cramjam
import numpy as np
import xxhash

from headrace.kernels.key_table import KeyTable
from headrace.store import block_kernels as kernels
from headrace.store.codec import histograms as native
from headrace.store.codec.chunk_kernels import max_size
from headrace.store.codec.scratch import scratch
from headrace.store.runs import Samples

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from headrace.pipeline.native_histograms import NativeHistograms
    from headrace.store.block import BlockMeta
    from headrace.store.files import Files

MAGIC = b"HRBLK\x00\x02\x00"
"""First and last bytes of a block: name and version of the format."""

HEADER = struct.Struct("<8sB3xI12s36x")
"""Magic, cipher, key id, nonce, reserved: 64 bytes."""

SECTION = struct.Struct("<IIQQQQ")
"""Kind, compression (0: none, 1: zstd), place, size as stored, size as read, checksum of what is stored."""

FOOTER = struct.Struct("<IIQ8s")
"""Sections, check of the header, checksum of the section table, magic."""

CIPHER_NONE = 0

_HEADER = HEADER.pack(MAGIC, CIPHER_NONE, 0, b"")

_ZSTD_LEVEL = 6
_SERIES_ZSTD_LEVEL = 9
_MAX_REMEMBERED = 1 << 18
_SAMPLES_AT_ONCE = 1 << 18


def header_check(header: bytes) -> int:
    """Return the low half of the header's XXH3-64, which the footer holds; 0 stands for none."""
    return xxhash.xxh3_64_intdigest(header) & 0xFFFFFFFF


class Section(IntEnum):
    """What a section holds; see docs/format/block.md."""

    VALUES = 1
    TIMES = 2
    TIME_SIZES = 3
    TIME_ROWS = 4
    VALUE_SIZES = 5
    CHUNK_TIMES = 6
    CHUNK_VALUES = 7
    FIRSTS = 8
    REFS = 9
    SERIES = 10
    META = 11
    HISTOGRAMS = 12
    HISTOGRAM_SIZES = 13
    HISTOGRAM_ROWS = 14
    HISTOGRAM_FIRSTS = 15
    HISTOGRAM_REFS = 16


FIRST_OPTIONAL = Section.HISTOGRAMS
"""Sections from here on are only there where a block has what they hold."""

_STREAMED = frozenset({Section.VALUES, Section.HISTOGRAMS})


class BlockWriter:
    """Collects samples and then histograms, both series by series in ascending order of refs, and writes a block.

    Args:
        files: Does the writing.
        path: Where the block will be; until then it grows in a file beside it.
    """

    def __init__(self, files: Files, path: Path) -> None:
        self._files = files
        self._path = path
        self._temporary = path.with_name(path.name + ".tmp")
        files.remove(self._temporary)
        self._fd = files.create(self._temporary)
        self._placed = False
        try:
            files.write(self._fd, _HEADER)
        except OSError:
            self.abandon()
            raise
        self._at = HEADER.size
        self._streamed = {section: xxhash.xxh3_64() for section in _STREAMED}
        self._histograms_at = 0
        self._refs = np.empty(0, np.int32)
        self._histogram_table: list[NDArray[np.int64]] = []
        self._parts: dict[Section, list[bytes]] = {section: [] for section in Section}
        self._chunk_values: list[NDArray[np.int32]] = []
        self._times_known = KeyTable()
        self._values_known = KeyTable()
        self._state = np.zeros(kernels.STATE, np.int64)
        self._state[kernels.LAST_COUNT] = -1
        self._last_times = np.zeros(kernels.CHUNK, np.int64)
        self._secret = np.frombuffer(secrets.token_bytes(16), np.uint64)
        self._room = scratch()
        self._last_ref = 0
        self.samples = 0
        """Samples and histograms taken so far."""
        self.series = 0
        """Series taken so far; one with both counts once."""
        self.min_ms = np.iinfo(np.int64).max
        """Oldest time so far."""
        self.max_ms = np.iinfo(np.int64).min
        """Newest time so far."""
        self.extra: Mapping[IntEnum, bytes] = {}
        """Optional sections, by kind; `finish` writes them after the others."""

    def add(self, refs: NDArray[np.int32], samples: Samples) -> None:
        """Take the samples of some series.

        Args:
            refs: (n,) int32, ascending, above all refs taken before; each has samples.
            samples: Their samples.
        """
        if not len(refs):
            return
        if self._histograms_at:
            raise AssertionError("bug: samples after histograms")
        done = 0
        while done < len(refs):
            done = self._add_some(samples, done)
        deltas = np.diff(refs, prepend=np.int32(self._last_ref))
        self._last_ref = int(refs[-1])
        self._parts[Section.REFS].append(deltas.astype(np.int32).tobytes())
        self.series += len(refs)
        self.samples += int(samples.offsets[-1])
        self.min_ms = min(self.min_ms, int(samples.times_ms.min()))
        self.max_ms = max(self.max_ms, int(samples.times_ms.max()))

    def add_histograms(self, histograms: NativeHistograms) -> None:
        """Take native histograms of some series; all samples of the block have been added before.

        Args:
            histograms: Their `series` are refs: ascending, within a series strictly by time. A call may go on with
                the last series of the call before. Of a ref and time that has a sample there is no histogram.

        Raises:
            InvalidInput: The columns of a row contradict each other; nothing of the call is taken.
            OSError: The disk refused.
        """
        if not len(histograms):
            return
        histograms = native.canonical(histograms)
        if not self._histograms_at:
            self._refs = np.cumsum(np.frombuffer(b"".join(self._parts[Section.REFS]), np.int32), dtype=np.int32)
            self._histograms_at, self._last_ref = self._at, -1
        for part in native.encode(histograms):
            self._streamed[Section.HISTOGRAMS].update(part.data)
            self._write(part.data)
            self._histogram_table.append(np.column_stack([part.refs, part.table]))
        refs = np.unique(histograms.series)
        refs = refs[refs > self._last_ref]
        self._last_ref = int(histograms.series[-1])
        self.series += len(refs) - int(np.isin(refs, self._refs).sum())
        self.samples += len(histograms)
        self.min_ms = min(self.min_ms, int(histograms.time_ms.min()))
        self.max_ms = max(self.max_ms, int(histograms.time_ms.max()))

    def finish(self, meta: BlockMeta, series: bytes) -> None:
        """Put the block in place, durable.

        Args:
            meta: What it holds.
            series: Refs and label sets of all series taken, as `headrace.store.records` encodes them.
        """
        if self._chunk_values:
            self._parts[Section.CHUNK_VALUES] = [_coded(self._chunk_values)]
            rows = [np.frombuffer(part, np.int64).reshape(3, -1) for part in self._parts[Section.TIME_ROWS]]
            self._parts[Section.TIME_ROWS] = [np.concatenate(rows, 1).tobytes()]
        self._parts[Section.SERIES] = [series]
        self._parts[Section.META] = [meta.encode()]
        end = self._at
        table = [self._streamed_row(Section.VALUES, HEADER.size, self._histograms_at or end)]
        if self._histogram_table:
            self._finish_histograms()
            table.append(self._streamed_row(Section.HISTOGRAMS, self._histograms_at, end))
        table.extend(
            self._put(section, b"".join(self._parts.pop(section)))
            for section in Section
            if section not in _STREAMED and (section < FIRST_OPTIONAL or self._parts[section])
        )
        table.extend(self._put(kind, data) for kind, data in self.extra.items())
        packed = b"".join(table)
        self._write(packed + FOOTER.pack(len(table), header_check(_HEADER), xxhash.xxh3_64_intdigest(packed), MAGIC))
        self._files.sync(self._fd)
        self._close()
        self._files.replace(self._temporary, self._path)
        self._placed = True

    def abandon(self) -> None:
        """Leave nothing behind; safe after `finish`."""
        if self._placed:
            return
        with contextlib.suppress(OSError):
            if self._fd >= 0:
                self._close()
            self._files.remove(self._temporary)
            # The block is not in force: it may be in place though, where making that durable has failed.
            self._files.remove(self._path)

    def _close(self) -> None:
        self._files.close(self._fd)
        self._fd = -1

    def _finish_histograms(self) -> None:
        refs, sizes, *rows = np.concatenate(self._histogram_table).T
        starts = np.flatnonzero(np.diff(refs, prepend=-1))
        parts = self._parts
        parts[Section.HISTOGRAM_SIZES] = [sizes.astype(np.uint32).tobytes()]
        parts[Section.HISTOGRAM_ROWS] = [np.stack(rows).tobytes()]
        parts[Section.HISTOGRAM_FIRSTS] = [np.diff(starts, append=len(refs)).astype(np.uint32).tobytes()]
        parts[Section.HISTOGRAM_REFS] = [np.diff(refs[starts], prepend=0).astype(np.int32).tobytes()]

    def _streamed_row(self, section: Section, start: int, end: int) -> bytes:
        """Return the row of the table for a section that was written as its parts came."""
        return SECTION.pack(section, 0, start, end - start, 0, self._streamed[section].intdigest())

    def _put(self, section: IntEnum, data: bytes) -> bytes:
        compressed = section not in {Section.TIMES, Section.META}
        level = _SERIES_ZSTD_LEVEL if section is Section.SERIES else _ZSTD_LEVEL
        stored = bytes(cramjam.zstd.compress(data, level)) if compressed else data
        row = (section, int(compressed), self._at, len(stored), len(data), xxhash.xxh3_64_intdigest(stored))
        self._write(stored)
        return SECTION.pack(*row)

    def _write(self, data: bytes | memoryview) -> None:
        self._files.write(self._fd, data)
        self._at += len(data)

    def _add_some(self, samples: Samples, done: int) -> int:
        """Write series from `done` on, as many as fit; return one past the last."""
        last = int(np.searchsorted(samples.offsets, samples.offsets[done] + _SAMPLES_AT_ONCE, "right"))
        last = min(max(last - 1, done + 1), len(samples.offsets) - 1)
        total = int(samples.offsets[last] - samples.offsets[done])
        series = last - done
        chunks = series + total // kernels.CHUNK + 1
        if self._values_known.size > _MAX_REMEMBERED:
            self._values_known = KeyTable()
        self._times_known.reserve(chunks)
        self._values_known.reserve(chunks)
        self._state[[kernels.CHUNKS, kernels.TIME_BYTES, kernels.VALUE_BYTES]] = 0
        room = chunks * int(max_size(0)) + int(max_size(total))
        columns = kernels.Columns(
            self._state,
            np.zeros(series + 1, np.int64),
            np.empty(chunks, np.int32), np.empty(chunks, np.int32), np.empty((chunks, 4), np.int64),
            np.empty(chunks, np.int64), np.empty(room, np.uint8), np.empty(room, np.uint8), self._last_times,
            *self._times_known.arrays, *self._values_known.arrays, self._secret,
        )  # fmt: skip
        times_before, values_before = int(self._state[kernels.TIMES]), int(self._state[kernels.VALUES])
        some = Samples(samples.offsets[done : last + 1], samples.times_ms, samples.values)
        kernels.write(*some, columns, self._room)
        self._take(columns, times_before, values_before)
        return last

    def _take(self, columns: kernels.Columns, times_before: int, values_before: int) -> None:
        state = self._state
        chunks, new_times = int(state[kernels.CHUNKS]), int(state[kernels.TIMES]) - times_before
        new_values = int(state[kernels.VALUES]) - values_before
        self._times_known.size += new_times
        self._values_known.size += new_values
        part = columns.values[: int(state[kernels.VALUE_BYTES])].data
        self._streamed[Section.VALUES].update(part)
        self._write(part)
        parts = self._parts
        parts[Section.TIMES].append(columns.times[: int(state[kernels.TIME_BYTES])].tobytes())
        rows = columns.time_rows[:new_times]
        parts[Section.TIME_SIZES].append(rows[:, 0].astype(np.uint32).tobytes())
        parts[Section.TIME_ROWS].append(rows[:, 1:].T.tobytes())
        parts[Section.VALUE_SIZES].append(columns.value_sizes[:new_values].astype(np.uint32).tobytes())
        times = columns.chunk_times[:chunks]
        parts[Section.CHUNK_TIMES].append(np.diff(times, prepend=self._chunk_time).astype(np.int32).tobytes())
        self._chunk_time = times[-1]
        self._chunk_values.append(columns.chunk_values[:chunks])
        parts[Section.FIRSTS].append(np.diff(columns.firsts).astype(np.uint32).tobytes())

    _chunk_time = np.int32(0)


def _coded(parts: list[NDArray[np.int32]]) -> bytes:
    """Write the value column of each chunk as 0 for the next new one, -k for the k-th before that."""
    values = np.concatenate(parts)
    largest = np.maximum.accumulate(values)
    new = np.diff(largest, prepend=np.int32(-1)) > 0
    following = largest + 1 - new
    coded: NDArray[np.int32] = (values - following).astype(np.int32)
    return coded.tobytes()
