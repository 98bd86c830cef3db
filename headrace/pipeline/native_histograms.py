"""Native histograms as columns, in Prometheus' own terms: exact spans, exact counts.

Source:
    Prometheus, "Native Histograms" specification, sections "Data model" and "Schema"; remote write 2.0, ``Histogram``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.pipeline import gather_kernels as kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CUSTOM_BUCKETS = -53
"""Schema of histograms whose bounds are given one by one."""

MIN_SCHEMA = -4
"""Coarsest exponential schema."""

MAX_SCHEMA = 8
"""Finest exponential schema."""


class ResetHint(IntEnum):
    """What a histogram says about resets since the one before it."""

    UNKNOWN = 0
    RESET = 1
    NOT_RESET = 2
    GAUGE = 3


class NativeFlag(IntFlag):
    """Bits of the flags column."""

    FLOAT_COUNTS = 1
    """Counts are the bits of doubles; without it they are unsigned integers."""

    STALE = 2
    """A stale marker: the sum is the stale NaN, and there is nothing else."""


@dataclass(frozen=True, slots=True)
class NativeHistograms:
    """Native histograms: one row a point; buckets hold absolute counts, in ascending order of index.

    Counts are kept as 64 bits: an unsigned integer, or a double where the row is flagged FLOAT_COUNTS.

    Attributes:
        series: (n,) int32: id in a series table, or ref of the store.
        time_ms: (n,) int64, Unix milliseconds.
        start_ms: (n,) int64 created timestamp, 0 for unknown.
        flags: (n,) uint8 of `NativeFlag`.
        hint: (n,) uint8 of `ResetHint`.
        schema: (n,) int8: MIN_SCHEMA to MAX_SCHEMA, or CUSTOM_BUCKETS.
        zero_threshold: (n,) float64; 0 with custom buckets.
        zero_count: (n,) uint64; 0 with custom buckets.
        count: (n,) uint64.
        sum: (n,) float64.
        span_starts: (n + 1,) int64; spans of row i are ``spans[span_starts[i]:span_starts[i + 1]]``.
        positive_spans: (n,) int32: how many spans of the row are positive; they come first.
        spans: (s, 2) int32: offset (of the first span: index of its first bucket, else the gap before it), length.
        bucket_starts: (n + 1,) int64; counts of row i are ``buckets[bucket_starts[i]:bucket_starts[i + 1]]``, as many
            as its spans are long, the positive ones first.
        buckets: (b,) uint64.
        bound_starts: (n + 1,) int64; custom bounds of row i are ``bounds[bound_starts[i]:bound_starts[i + 1]]``.
        bounds: (c,) float64 upper bounds, ascending, without +Inf; none for exponential schemas.
    """

    series: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    start_ms: NDArray[np.int64]
    flags: NDArray[np.uint8]
    hint: NDArray[np.uint8]
    schema: NDArray[np.int8]
    zero_threshold: NDArray[np.float64]
    zero_count: NDArray[np.uint64]
    count: NDArray[np.uint64]
    sum: NDArray[np.float64]
    span_starts: NDArray[np.int64]
    positive_spans: NDArray[np.int32]
    spans: NDArray[np.int32]
    bucket_starts: NDArray[np.int64]
    buckets: NDArray[np.uint64]
    bound_starts: NDArray[np.int64]
    bounds: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.series)

    @property
    def size_bytes(self) -> int:
        """Bytes that the columns take."""
        return sum(getattr(self, name).nbytes for name in self.__slots__)

    def take(self, rows: NDArray[np.int64]) -> NativeHistograms:
        """Return the given rows, in the given order; (k,) int64 row numbers."""
        columns: dict[str, Any] = {name: getattr(self, name)[rows] for name in _ROWS}
        for starts, contents in _RAGGED:
            at = getattr(self, starts)
            columns[starts], columns[contents] = _gathered(at, getattr(self, contents), rows)
        return NativeHistograms(**columns)

    def select(self, keep: NDArray[np.bool_]) -> NativeHistograms:
        """Return the rows where (n,) bool `keep` is true."""
        return self if keep.all() else self.take(np.flatnonzero(keep))

    @classmethod
    def empty(cls) -> NativeHistograms:
        """Return no histograms."""
        rows: dict[str, Any] = {name: np.empty(0, dtype) for name, dtype in _ROWS.items()}
        starts: dict[str, Any] = {name: np.zeros(1, np.int64) for name, _ in _RAGGED}
        spans = np.empty((0, 2), np.int32)
        return cls(**rows, **starts, spans=spans, buckets=np.empty(0, np.uint64), bounds=np.empty(0, np.float64))

    @classmethod
    def joined(cls, parts: Sequence[NativeHistograms]) -> NativeHistograms:
        """Return the rows of all parts, one part after the other."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.empty()
        columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ROWS}
        for starts, contents in _RAGGED:
            columns[contents] = np.concatenate([getattr(part, contents) for part in parts])
            sizes = np.concatenate([np.diff(getattr(part, starts)) for part in parts])
            columns[starts] = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return cls(**columns)


_ROWS: dict[str, type[np.generic]] = {
    "series": np.int32,
    "time_ms": np.int64,
    "start_ms": np.int64,
    "flags": np.uint8,
    "hint": np.uint8,
    "schema": np.int8,
    "zero_threshold": np.float64,
    "zero_count": np.uint64,
    "count": np.uint64,
    "sum": np.float64,
    "positive_spans": np.int32,
}

_RAGGED = (("span_starts", "spans"), ("bucket_starts", "buckets"), ("bound_starts", "bounds"))


def _gathered(
    starts: NDArray[np.int64], contents: NDArray[Any], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return where the contents of the gathered rows start, and these; all contents are of 64 bits."""
    begins = np.concatenate([[0], np.cumsum(np.diff(starts)[rows])]).astype(np.int64)
    out = np.empty((begins[-1], *contents.shape[1:]), contents.dtype)
    words, found = (np.ascontiguousarray(array).view(np.uint64).ravel() for array in (contents, out))
    kernels.gather(rows.astype(np.int64), starts, words, found)
    return begins, out
