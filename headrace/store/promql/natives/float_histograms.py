"""Native histograms as PromQL computes with them: counts are doubles, buckets know their index.

Spans serve storage; operators want to know which bucket a count belongs to. So each bucket has its index beside it, in
ascending order, the positive buckets of a row before its negative ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.pipeline.native_histograms import CUSTOM_BUCKETS, NativeFlag, ResetHint
from headrace.store.promql.natives import float_histogram_kernels as kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.pipeline.native_histograms import NativeHistograms

SAMPLE_BYTES = 16
"""Bytes of a plain sample, time and value: what histograms are counted in."""

_FIXED_BYTES = 176
"""Bytes of a histogram without buckets, in Prometheus, with its time."""

_ITEM_BYTES = 8
"""Bytes of a span, of a bucket and of a custom bound."""


class Columns(NamedTuple):
    """What kernels see of `FloatHistograms`, in the order of its attributes; see there."""

    schema: NDArray[np.int8]
    hint: NDArray[np.uint8]
    zero_threshold: NDArray[np.float64]
    zero_count: NDArray[np.float64]
    total_count: NDArray[np.float64]
    total_sum: NDArray[np.float64]
    starts: NDArray[np.int64]
    positive: NDArray[np.int32]
    indices: NDArray[np.int32]
    counts: NDArray[np.float64]
    bound_starts: NDArray[np.int64]
    bounds: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FloatHistograms:
    """Histograms, one a row.

    Attributes:
        schema: (n,) int8: -4 to 8, or -53 for bounds of their own.
        hint: (n,) uint8 of `ResetHint`.
        zero_threshold: (n,) float64; 0 with custom bounds.
        zero_count: (n,) float64.
        count: (n,) float64.
        sum: (n,) float64.
        starts: (n + 1,) int64; buckets of row i are ``starts[i]:starts[i + 1]``.
        positive: (n,) int32: how many buckets of the row are positive; they come first.
        indices: (b,) int32, strictly ascending within each side of a row.
        counts: (b,) float64.
        bound_starts: (n + 1,) int64; custom bounds of row i are ``bounds[bound_starts[i]:bound_starts[i + 1]]``.
        bounds: (c,) float64 upper bounds, ascending, without +Inf; bucket i ends at bound i, the last one at +Inf.
    """

    schema: NDArray[np.int8]
    hint: NDArray[np.uint8]
    zero_threshold: NDArray[np.float64]
    zero_count: NDArray[np.float64]
    count: NDArray[np.float64]
    sum: NDArray[np.float64]
    starts: NDArray[np.int64]
    positive: NDArray[np.int32]
    indices: NDArray[np.int32]
    counts: NDArray[np.float64]
    bound_starts: NDArray[np.int64]
    bounds: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.schema)

    @property
    def columns(self) -> Columns:
        """The arrays, for kernels."""
        return Columns(*(getattr(self, name) for name in self.__slots__))

    @property
    def custom(self) -> NDArray[np.bool_]:
        """(n,) bool: which have bounds of their own."""
        return np.equal(self.schema, CUSTOM_BUCKETS)

    def take(self, rows: NDArray[np.int64] | NDArray[np.intp]) -> FloatHistograms:
        """Return the given rows, in the given order; (k,) row numbers."""
        columns: dict[str, Any] = {name: getattr(self, name)[rows] for name in _ROWS}
        columns["starts"] = starts = _starts(np.diff(self.starts)[rows])
        columns["indices"], columns["counts"] = np.empty(starts[-1], np.int32), np.empty(starts[-1])
        kernels.gather(
            rows.astype(np.int64), self.starts, self.indices, self.counts, columns["indices"], columns["counts"]
        )
        columns["bound_starts"], columns["bounds"] = _gathered(self.bound_starts, self.bounds, rows)
        return FloatHistograms(**columns)

    def with_hints(self, hint: NDArray[np.uint8]) -> FloatHistograms:
        """Return the same histograms with other hints, (n,)."""
        return replace(self, hint=hint)

    def scaled(self, factors: NDArray[np.float64]) -> FloatHistograms:
        """Multiply everything by (n,) factors; where they are negative, a gauge comes out."""
        negative = np.where(factors < 0, np.uint8(GAUGE), self.hint)
        return replace(
            self,
            hint=negative,
            zero_count=self.zero_count * factors,
            count=self.count * factors,
            sum=self.sum * factors,
            counts=self.counts * np.repeat(factors, np.diff(self.starts)),
        )

    def divided(self, divisors: NDArray[np.float64]) -> FloatHistograms:
        """Divide everything by (n,) divisors; of histograms divided by zero no buckets are left."""
        owners = np.repeat(divisors, np.diff(self.starts))
        divided = replace(
            self,
            hint=np.where(divisors < 0, np.uint8(GAUGE), self.hint),
            zero_count=self.zero_count / divisors,
            count=self.count / divisors,
            sum=self.sum / divisors,
            counts=self.counts / owners,
        )
        return divided if divisors.all() else divided.with_buckets(owners != 0)

    def with_buckets(self, keep: NDArray[np.bool_]) -> FloatHistograms:
        """Return the histograms with the buckets of which (b,) `keep` is true."""
        before = np.concatenate([[0], np.cumsum(keep)]).astype(np.int64)
        middles = self.starts[:-1] + self.positive
        positive = before[middles] - before[self.starts[:-1]]
        return replace(
            self,
            starts=before[self.starts],
            positive=positive.astype(np.int32),
            indices=self.indices[keep],
            counts=self.counts[keep],
        )

    def compact(self) -> FloatHistograms:
        """Leave empty buckets out."""
        keep = self.counts != 0
        return self if keep.all() else self.with_buckets(keep)

    @classmethod
    def of(cls, stored: NativeHistograms, rows: NDArray[np.int64]) -> FloatHistograms:
        """Convert (k,) rows of stored histograms, in this order; none of them may be a stale marker."""
        floats = stored.flags[rows] & np.uint8(NativeFlag.FLOAT_COUNTS) != 0
        starts = _starts(np.diff(stored.bucket_starts)[rows])
        indices, counts = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float64)
        positive = np.empty(len(rows), np.int32)
        kernels.expand(
            rows, stored.flags, stored.span_starts, stored.positive_spans, stored.spans, stored.bucket_starts,
            stored.buckets, positive, indices, counts,
        )  # fmt: skip
        bound_starts, bounds = _gathered(stored.bound_starts, stored.bounds, rows)
        return cls(
            schema=stored.schema[rows],
            hint=stored.hint[rows],
            zero_threshold=stored.zero_threshold[rows],
            zero_count=as_doubles(stored.zero_count[rows], floats),
            count=as_doubles(stored.count[rows], floats),
            sum=stored.sum[rows],
            starts=starts,
            positive=positive,
            indices=indices,
            counts=counts,
            bound_starts=bound_starts,
            bounds=bounds,
        )

    @classmethod
    def empty(cls) -> FloatHistograms:
        """Return no histograms."""
        rows: dict[str, Any] = {name: np.empty(0, dtype) for name, dtype in _ROWS.items()}
        none = np.zeros(1, np.int64)
        return cls(
            **rows,
            starts=none,
            indices=np.empty(0, np.int32),
            counts=np.empty(0),
            bound_starts=none,
            bounds=np.empty(0),
        )

    @classmethod
    def joined(cls, parts: Sequence[FloatHistograms]) -> FloatHistograms:
        """Return the rows of all parts, one part after the other."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.empty()
        columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _JOINED}
        for starts in ("starts", "bound_starts"):
            sizes = np.concatenate([np.diff(getattr(part, starts)) for part in parts])
            columns[starts] = _starts(sizes)
        return cls(**columns)


_ROWS: dict[str, type[np.generic]] = {
    "schema": np.int8,
    "hint": np.uint8,
    "zero_threshold": np.float64,
    "zero_count": np.float64,
    "count": np.float64,
    "sum": np.float64,
    "positive": np.int32,
}

_JOINED = (*_ROWS, "indices", "counts", "bounds")

UNKNOWN, GAUGE = int(ResetHint.UNKNOWN), int(ResetHint.GAUGE)
"""Hints that PromQL gives."""


def _starts(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where contents of these sizes begin, and where the last ones end."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _gathered(
    starts: NDArray[np.int64], contents: NDArray[np.float64], rows: NDArray[np.int64] | NDArray[np.intp]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the contents of some rows, and where each row's begin."""
    begins = _starts(np.diff(starts)[rows])
    if not begins[-1]:
        return begins, np.empty(0)
    return begins, contents[np.repeat(starts[rows] - begins[:-1], np.diff(begins)) + np.arange(begins[-1])]


def as_doubles(counts: NDArray[np.uint64], are_doubles: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return counts as doubles, of which some are the bits of doubles already."""
    return np.where(are_doubles, counts.view(np.float64), counts.astype(np.float64))


def sample_sizes(histograms: FloatHistograms) -> NDArray[np.int64]:
    """Return how many samples each histogram counts as, (n,) int64: as many as fit into its bytes in Prometheus.

    Each is taken to have the buckets that were written, empty ones included. In Prometheus it has those of all
    histograms of its chunk: the same number where a series never changes its buckets, else maybe a larger one.
    """
    spans = np.empty(len(histograms), np.int64)
    kernels.count_runs(histograms.starts, histograms.positive, histograms.indices, spans)
    items = spans + np.diff(histograms.starts) + np.diff(histograms.bound_starts)
    sizes: NDArray[np.int64] = (_FIXED_BYTES + _ITEM_BYTES * items) // SAMPLE_BYTES
    return sizes
