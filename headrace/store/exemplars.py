"""Exemplars: columns of them, the record that holds them in the log, and those in memory.

Layouts: docs/format/exemplars.md.

Source:
    OpenMetrics 1.0, "Exemplars", for the limit of 128 characters. What is a repeat and what is out of order is
    Prometheus' rule, except that NaNs with equal bits are equal.
"""

from __future__ import annotations

import struct
import threading
from collections import Counter as Tally
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.kernels.bits import PAD
from headrace.kernels.buffers import padded
from headrace.kernels.growth import grown
from headrace.kernels.siphash_kernels import siphash128_rows
from headrace.pipeline.errors import CorruptChunk
from headrace.store import exemplars_kernels as kernels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

MAX_IN_MEMORY = 100_000
"""Exemplars of a workspace that are kept until a block takes them, by default; the oldest go first."""

_NEVER = np.iinfo(np.int64).min
_HEAD = struct.Struct("<I")


class ExemplarCode(IntEnum):
    """What became of an exemplar."""

    OK = kernels.OK
    DUPLICATE = kernels.DUPLICATE
    """The newest one of its series already; as good as stored."""
    OUT_OF_ORDER = kernels.OUT_OF_ORDER
    TOO_LONG = kernels.TOO_LONG
    INVALID = kernels.INVALID
    TOO_FAR_AHEAD = kernels.TOO_FAR_AHEAD

    @property
    def reason(self) -> str:
        """The reason of a rejection as drop counters name it."""
        return f"exemplar_{self.name.lower()}"

    @property
    def text(self) -> str:
        """The reason of a rejection in words."""
        return _TEXTS[self]


_TEXTS = {
    ExemplarCode.OUT_OF_ORDER: "out of order exemplar",
    ExemplarCode.TOO_LONG: f"label length for exemplar exceeds maximum of {kernels.MAX_RUNES} UTF-8 characters",
    ExemplarCode.INVALID: "the exemplar has labels that are not UTF-8, or a name that is empty or repeated",
    ExemplarCode.TOO_FAR_AHEAD: "the exemplar is out of bounds",
}


class ExemplarBatch(NamedTuple):
    """Exemplars to store.

    Attributes:
        refs: (n,) int32 of series that are known.
        times_ms: (n,) int64.
        values: (n,) float64.
        dated: (n,) bool: whether the time is the sender's.
        buf: uint8 with PAD readable bytes after the last span.
        spans: (l, 4) int32 name offset, name size, value offset, value size; may be reordered.
        starts: (n + 1,) int32; labels of exemplar i are ``spans[starts[i]:starts[i + 1]]``.
    """

    refs: NDArray[np.int32]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    dated: NDArray[np.bool_]
    buf: NDArray[np.uint8]
    spans: NDArray[np.int32]
    starts: NDArray[np.int32]


class ExemplarResult(NamedTuple):
    """What became of exemplars, once they are durable.

    Attributes:
        accepted: Stored ones, repeats of stored ones included.
        codes: (n,) uint8 of `ExemplarCode`.
    """

    accepted: int
    codes: NDArray[np.uint8]


class Exemplars(NamedTuple):
    """Columns of exemplars.

    Attributes:
        refs: (n,) int32.
        times_ms: (n,) int64.
        values: (n,) float64.
        starts: (n + 1,) int64; label set i is ``labels[starts[i]:starts[i + 1]]``.
        labels: uint8, PAD readable bytes after the last; layout in `exemplars_kernels`.
    """

    refs: NDArray[np.int32]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    starts: NDArray[np.int64]
    labels: NDArray[np.uint8]

    def take(self, rows: NDArray[np.int64]) -> Exemplars:
        """Return some rows, (k,) int64, in the given order."""
        sizes = self.starts[rows + 1] - self.starts[rows]
        starts = _running(sizes)
        labels = np.zeros(int(starts[-1]) + PAD, np.uint8)
        kernels.gather(self.labels, self.starts, rows, starts, labels)
        return Exemplars(self.refs[rows], self.times_ms[rows], self.values[rows], starts, labels)

    def select(self, keep: NDArray[np.bool_]) -> Exemplars:
        """Return the rows where (n,) bool `keep` is true."""
        return self if keep.all() else self.take(np.flatnonzero(keep).astype(np.int64))

    def ordered(self) -> Exemplars:
        """Return the rows by ref and time; what is equal in both stays in its order."""
        return self.take(np.lexsort((self.times_ms, self.refs)).astype(np.int64))

    def hashes(self) -> NDArray[np.uint64]:
        """Return (n, 2) hashes of the label sets; the same ones at any time, so that their order lasts."""
        out = np.zeros((len(self.refs), 2), np.uint64)
        sizes = np.diff(self.starts).astype(np.int32)
        zero = np.uint64(0)
        siphash128_rows(self.labels, self.starts[:-1].astype(np.int32), sizes, zero, zero, out)
        return out

    def label_set(self, row: int) -> dict[str, str]:
        """Return the labels of a row, by ascending name."""
        data = self.labels[self.starts[row] : self.starts[row + 1]].tobytes()
        texts = []
        at = 0
        while at < len(data):
            size = data[at] | data[at + 1] << 8
            texts.append(data[at + 2 : at + 2 + size].decode())
            at += 2 + size
        return dict(zip(texts[::2], texts[1::2], strict=True))

    @classmethod
    def empty(cls) -> Exemplars:
        """Return no exemplars."""
        return cls(
            np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0), np.zeros(1, np.int64), np.zeros(PAD, np.uint8)
        )

    @classmethod
    def joined(cls, parts: Sequence[Exemplars]) -> Exemplars:
        """Return the rows of all parts, one part after the other."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.empty()
        sizes = np.concatenate([np.diff(part.starts) for part in parts])
        labels = [part.labels[part.starts[0] : part.starts[-1]] for part in parts]
        return cls(
            np.concatenate([part.refs for part in parts]),
            np.concatenate([part.times_ms for part in parts]),
            np.concatenate([part.values for part in parts]),
            _running(sizes),
            np.concatenate([*labels, np.zeros(PAD, np.uint8)]),
        )


def of_batch(batch: ExemplarBatch) -> tuple[Exemplars, NDArray[np.uint8]]:
    """Return the exemplars whose labels are fine, and (n,) uint8 codes of all: OK, TOO_LONG or INVALID."""
    n = len(batch.refs)
    sizes, codes = np.empty(n, np.int64), np.empty(n, np.uint8)
    spans = np.ascontiguousarray(batch.spans)
    kernels.measure(batch.buf, spans, batch.starts, sizes, codes)
    rows = np.flatnonzero(codes == kernels.OK).astype(np.int64)
    starts = _running(sizes[rows])
    labels = np.zeros(int(starts[-1]) + PAD, np.uint8)
    kernels.encode(batch.buf, spans, batch.starts, rows, labels)
    return Exemplars(batch.refs[rows], batch.times_ms[rows], batch.values[rows], starts, labels), codes


def encode(rows: Exemplars) -> bytes:
    """Write exemplars as a log record: count, refs, times, values, sizes of label sets, label sets."""
    sizes = np.diff(rows.starts).astype(np.uint16)
    labels = rows.labels[rows.starts[0] : rows.starts[-1]]
    columns = (rows.refs, rows.times_ms, rows.values, sizes, labels)
    return _HEAD.pack(len(rows.refs)) + b"".join(column.tobytes() for column in columns)


def decode(payload: bytes | bytearray | memoryview) -> Exemplars:
    """Read what `encode` wrote.

    Raises:
        CorruptChunk: The size is not what the count says, or labels are not well formed.
    """
    if len(payload) < _HEAD.size:
        raise CorruptChunk("exemplars record: shorter than its head")
    (n,) = _HEAD.unpack_from(payload)
    at = _HEAD.size
    if len(payload) < at + 22 * n:
        raise CorruptChunk(f"exemplars record: {len(payload)} bytes do not hold {n} exemplars")
    refs = np.frombuffer(payload, np.int32, n, at).copy()
    times = np.frombuffer(payload, np.int64, n, at + 4 * n).copy()
    values = np.frombuffer(payload, np.float64, n, at + 12 * n).copy()
    starts = _running(np.frombuffer(payload, np.uint16, n, at + 20 * n))
    return checked(Exemplars(refs, times, values, starts, padded(bytes(payload[at + 22 * n :]))), "exemplars record")


def checked(rows: Exemplars, where: str) -> Exemplars:
    """Return `rows`, read from disk, whose labels have all bytes of `labels` but the padding.

    Raises:
        CorruptChunk: Labels are not well formed, or a ref is negative.
    """
    size = len(rows.labels) - PAD
    if rows.starts[-1] != size or not kernels.well_formed(rows.labels, rows.starts):
        raise CorruptChunk(f"{where}: labels of {size} bytes are not well formed")
    if len(rows.refs) and int(rows.refs.min()) < 0:
        raise CorruptChunk(f"{where}: ref {int(rows.refs.min())}")
    return rows


@dataclass(slots=True, eq=False)
class _Part:
    """Exemplars of one append."""

    rows: Exemplars
    segment: int


@dataclass(slots=True)
class ExemplarHead:
    """Exemplars that are in no block yet, and the newest one of each series.

    One thread writes; readers take the lock. A part is replaced, never changed.

    Attributes:
        limit: Most exemplars in memory.
        codes: Exemplars by what became of them, since the workspace was opened.
        evicted: How many went because of the limit before a block took them.
    """

    limit: int = MAX_IN_MEMORY
    codes: Tally[ExemplarCode] = field(default_factory=Tally)
    evicted: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _parts: list[_Part] = field(default_factory=list)
    _size: int = 0
    _times: NDArray[np.int64] = field(default_factory=lambda: np.full(256, _NEVER, np.int64))
    _values: NDArray[np.float64] = field(default_factory=lambda: np.zeros(256))
    _hashes: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(256, np.uint64))

    def __len__(self) -> int:
        return self._size

    def append(
        self, batch: ExemplarBatch, latest_ms: int, next_ref: int, floor: int
    ) -> tuple[_Part | None, NDArray[np.uint8]]:
        """Take exemplars; return the part that they make, to be logged, and (n,) uint8 of `ExemplarCode`.

        Args:
            batch: What is sent.
            latest_ms: Newest time taken.
            next_ref: All refs are below it.
            floor: The part's record will lie in no segment of the log with a smaller number.
        """
        self._fit(next_ref)
        rows, codes = of_batch(batch)
        fine = codes == kernels.OK
        taken = self._admit(rows, batch.dated[fine], latest_ms)
        codes[fine] = taken
        for code, amount in enumerate(np.bincount(codes).tolist()):
            if amount:
                self.codes[ExemplarCode(code)] += amount
        return self._add(rows.select(taken == kernels.OK), floor), codes

    def replay(self, rows: Exemplars, segment: int, next_ref: int) -> None:
        """Take exemplars of the log; what blocks hold already is older than the newest of its series, or a repeat."""
        self._fit(next_ref)
        codes = self._admit(rows, np.ones(len(rows.refs), np.bool_), np.iinfo(np.int64).max)
        self._add(rows.select(codes == kernels.OK), segment)

    def restore(self, rows: Exemplars, next_ref: int) -> None:
        """Learn which exemplars are the newest from those of a block, sorted by ref and time."""
        self._fit(next_ref)
        self._admit(rows, np.ones(len(rows.refs), np.bool_), np.iinfo(np.int64).max)

    def logged(self, part: _Part, segment: int) -> None:
        """Note in which segment of the log a part lies."""
        part.segment = segment

    def select(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> Exemplars:
        """Return the exemplars of `refs` in a time range, in the order in which they came."""
        return chosen(self._rows(), refs, start_ms, end_ms)

    def refs(self) -> NDArray[np.int32]:
        """Return the refs of all exemplars in memory, distinct and ascending."""
        return np.unique(self._rows().refs)

    def needed_segment(self) -> int | None:
        """Return the first segment of the log that holds exemplars of no block; None without any."""
        with self._lock:
            return min((part.segment for part in self._parts), default=None)

    def snapshot(self) -> list[_Part]:
        """Return the parts that are there now, for a flush."""
        with self._lock:
            return list(self._parts)

    def forget(self, parts: Sequence[_Part], below_ms: int) -> None:
        """Drop the exemplars of `parts` before a time: blocks hold them now."""
        mine = set(map(id, parts))
        self._keep(lambda part: part.rows.times_ms >= below_ms if id(part) in mine else None)

    def drop(self, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> None:
        """Drop exemplars of some series in a time range: they are deleted."""

        def kept(part: _Part) -> NDArray[np.bool_]:
            rows = part.rows
            inside = (rows.times_ms >= start_ms) & (rows.times_ms <= end_ms)
            result: NDArray[np.bool_] = ~(inside & np.isin(rows.refs, refs))
            return result

        self._keep(kept)

    def drop_before(self, limit_ms: int) -> None:
        """Drop the exemplars that are older than the retention."""
        self._keep(lambda part: part.rows.times_ms >= limit_ms)

    def forget_series(self, refs: NDArray[np.int32]) -> None:
        """Forget the newest exemplars of series that are gone."""
        self._times[refs[refs < len(self._times)]] = _NEVER

    def _fit(self, next_ref: int) -> None:
        self._times = grown(self._times, next_ref, _NEVER)
        self._values = grown(self._values, next_ref)
        self._hashes = grown(self._hashes, next_ref)

    def _admit(self, rows: Exemplars, dated: NDArray[np.bool_], latest_ms: int) -> NDArray[np.uint8]:
        codes = np.zeros(len(rows.refs), np.uint8)
        hashes = np.ascontiguousarray(rows.hashes()[:, 0])
        kernels.admit(
            rows.refs, rows.times_ms, rows.values, dated, hashes, latest_ms, self._times, self._values, self._hashes,
            _NEVER, codes,
        )  # fmt: skip
        return codes

    def _add(self, rows: Exemplars, segment: int) -> _Part | None:
        if not len(rows.refs):
            return None
        part = _Part(rows, segment)
        with self._lock:
            self._parts.append(part)
            self._size += len(rows.refs)
            while self._size > self.limit:
                self._evict(self._size - self.limit)
        return part

    def _evict(self, amount: int) -> None:
        oldest = self._parts[0]
        gone = min(amount, len(oldest.rows.refs))
        self.evicted += gone
        self._size -= gone
        if gone == len(oldest.rows.refs):
            self._parts.pop(0)
        else:
            oldest.rows = oldest.rows.take(np.arange(gone, len(oldest.rows.refs)))

    def _keep(self, decide: _Decide) -> None:
        with self._lock:
            for part in self._parts:
                keep = decide(part)
                if keep is not None:
                    part.rows = part.rows.select(keep)
            self._parts = [part for part in self._parts if len(part.rows.refs)]
            self._size = sum(len(part.rows.refs) for part in self._parts)

    def _rows(self) -> Exemplars:
        with self._lock:
            parts = [part.rows for part in self._parts]
        return Exemplars.joined(parts)


if TYPE_CHECKING:
    from collections.abc import Callable

    _Decide = Callable[[_Part], NDArray[np.bool_] | None]


def chosen(rows: Exemplars, refs: NDArray[np.int32], start_ms: int, end_ms: int) -> Exemplars:
    """Return the exemplars of `refs` in a time range, both ends inclusive."""
    inside = (rows.times_ms >= start_ms) & (rows.times_ms <= end_ms)
    inside[inside] = np.isin(rows.refs[inside], refs)
    return rows.select(inside)


def by_series(rows: Exemplars) -> Iterator[tuple[int, range]]:
    """Yield each ref of sorted rows, with the numbers of its rows."""
    firsts = np.flatnonzero(np.diff(rows.refs, prepend=np.int32(-1))).tolist()
    for first, last in pairwise([*firsts, len(rows.refs)]):
        yield int(rows.refs[first]), range(first, last)


def _running(sizes: NDArray[np.generic]) -> NDArray[np.int64]:
    out = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=out[1:])
    return out
