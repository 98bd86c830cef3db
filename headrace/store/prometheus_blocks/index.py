"""The ``index`` of a Prometheus block: its series with their labels, and where their chunks are."""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import PAD
from headrace.kernels.buffers import padded
from headrace.pipeline.errors import CorruptChunk
from headrace.store.index import LabelSets
from headrace.store.prometheus_blocks import index_kernels as kernels
from headrace.store.prometheus_blocks.checksums import crc32c, crc32c_tables

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_MAGIC = 0xBAAAD700
_VERSION = 2
_HEADER = 5
_TOC = struct.Struct(">6QI")
_SIZE = struct.Struct(">I")
_MAX_TABLE = (1 << 31) - PAD - 1

_FAULTS = {
    kernels.TRUNCATED: "an entry ends outside its section",
    kernels.CHECKSUM: "an entry has another checksum",
    kernels.BAD_SYMBOL: "an entry names a symbol that does not exist",
    kernels.BAD_TEXT: "a symbol is not valid UTF-8",
    kernels.BAD_TIMES: "an entry has chunks whose times or places contradict each other",
}


class PrometheusIndex:
    """An index file, read whole: all checksums that matter are checked on opening.

    Args:
        path: The file.

    Raises:
        CorruptChunk: It is damaged, or of a version that is not known here.

    Attributes:
        ids: (n,) int64: what tombstones call each series.
        chunk_starts: (n + 1,) int64; chunks of series i are ``chunk_starts[i]:chunk_starts[i + 1]``.
        chunk_times: (chunks, 2) int64 milliseconds: first and last.
        chunk_refs: (chunks,) int64: segment in the upper 32 bits, offset in it in the lower ones.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                if file.seek(0, 2) < _HEADER + _TOC.size:
                    raise CorruptChunk(f"{path}: is cut short")
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise CorruptChunk(f"{path}: {error.strerror}") from None
        data = np.frombuffer(self._map, np.uint8)
        places = self._toc()
        self._read_symbols(places[0])
        self._check_section("postings table", places[5])
        end = next((place for place in (places[2], places[4], places[3], places[5]) if place), len(data) - _TOC.size)
        self._read_series(data, places[1], end)

    def __len__(self) -> int:
        return len(self.ids)

    def label_sets(self, rows: NDArray[np.int64]) -> LabelSets:
        """Return the label sets of some series, by number."""
        sizes = self._label_starts[rows + 1] - self._label_starts[rows]
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(sizes, out=starts[1:])
        places = np.repeat(self._label_starts[rows] - starts[:-1], sizes) + np.arange(int(starts[-1]))
        spans = self._symbols[self._pairs[places].ravel()]
        return LabelSets(self._text, np.ascontiguousarray(spans), starts.astype(np.int32))

    def _fault(self, what: str) -> CorruptChunk:
        return CorruptChunk(f"{self._path}: {what}")

    def _toc(self) -> tuple[int, ...]:
        data = self._map
        magic, version = struct.unpack_from(">IB", data)
        if magic != _MAGIC:
            raise self._fault("is no index of Prometheus")
        if version != _VERSION:
            raise self._fault(f"version {version} is not known here, only {_VERSION}")
        at = len(data) - _TOC.size
        *places, checksum = _TOC.unpack_from(data, at)
        if crc32c(data[at : at + 48]) != checksum:
            raise self._fault("the table of contents has another checksum")
        if any(place > at for place in places) or not places[0] or not places[1]:
            raise self._fault("the table of contents points outside the file")
        return tuple(places)

    def _section(self, name: str, place: int) -> bytes:
        """Return the content of a section that begins with its size and ends with its checksum."""
        size = _SIZE.unpack_from(self._map, place)[0] if place + 8 <= len(self._map) else len(self._map)
        if place + 8 + size > len(self._map) or size > _MAX_TABLE:
            raise self._fault(f"the {name} does not lie in the file")
        content = self._map[place + 4 : place + 4 + size]
        if crc32c(content) != _SIZE.unpack_from(self._map, place + 4 + size)[0]:
            raise self._fault(f"the {name} has another checksum")
        return content

    def _check_section(self, name: str, place: int) -> None:
        if place:
            self._section(name, place)

    def _read_symbols(self, place: int) -> None:
        content = self._section("symbol table", place)
        count = _SIZE.unpack_from(content)[0] if len(content) >= _SIZE.size else -1
        if not 0 <= count <= len(content):
            raise self._fault("the symbol table is cut short")
        self._text = padded(content)
        self._symbols = np.empty((count, 2), np.int32)
        status = kernels.symbols(self._text, _SIZE.size, len(content), self._symbols)
        if status < 0:
            raise self._fault(f"symbol table: {_FAULTS[status]}")

    def _read_series(self, data: NDArray[np.uint8], start: int, end: int) -> None:
        out = np.zeros(4, np.int64)
        status = kernels.count_series(data, start, end, crc32c_tables(), out)
        if status < 0:
            raise self._fault(f"series at byte {out[kernels.POSITION]}: {_FAULTS[status]}")
        n, labels, chunks = (int(out[i]) for i in (kernels.SERIES, kernels.LABELS, kernels.CHUNKS))
        self.ids = np.empty(n, np.int64)
        self._label_starts = np.empty(n + 1, np.int64)
        self._pairs = np.empty((labels, 2), np.int32)
        self.chunk_starts = np.empty(n + 1, np.int64)
        self.chunk_times = np.empty((chunks, 2), np.int64)
        self.chunk_refs = np.empty(chunks, np.int64)
        status = kernels.read_series(
            data, start, end, len(self._symbols), self.ids, self._label_starts, self._pairs, self.chunk_starts,
            self.chunk_times, self.chunk_refs, out,
        )  # fmt: skip
        if status < 0:
            raise self._fault(f"series at byte {out[kernels.POSITION]}: {_FAULTS[status]}")
