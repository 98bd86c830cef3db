"""Native histograms as plain rows, to make them and to compare them bit by bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.native_histograms import CUSTOM_BUCKETS, NativeFlag, NativeHistograms

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

STALE_BITS = 0x7FF0000000000002
_FLOAT = int(NativeFlag.FLOAT_COUNTS)
_STALE = int(NativeFlag.STALE)
_BITS = 1 << 64


@dataclass(frozen=True, slots=True)
class Row:
    """One histogram; doubles as their bits, so that rows compare bit by bit."""

    flags: int = 0
    hint: int = 0
    start_ms: int = 0
    schema: int = 0
    threshold_bits: int = 0
    zero_count: int = 0
    count: int = 0
    sum_bits: int = 0
    positive: tuple[tuple[int, int], ...] = ()
    negative: tuple[tuple[int, int], ...] = ()
    buckets: tuple[int, ...] = ()
    bounds_bits: tuple[int, ...] = ()


STALE = Row(flags=_STALE, sum_bits=STALE_BITS)


def bits(value: float) -> int:
    """Return the bits of a double."""
    return int(np.float64(value).view(np.uint64))


def columns(series: Sequence[int], times_ms: Sequence[int], rows: Sequence[Row]) -> NativeHistograms:
    """Return rows as columns."""

    def starts(sizes: Sequence[int]) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(np.array(sizes, np.int64))]).astype(np.int64)

    def floats(values: Sequence[int]) -> np.ndarray:
        return np.array(values, np.uint64).view(np.float64)

    spans = [span for row in rows for span in (*row.positive, *row.negative)]
    return NativeHistograms(
        series=np.array(series, np.int32),
        time_ms=np.array(times_ms, np.int64),
        start_ms=np.array([row.start_ms for row in rows], np.int64),
        flags=np.array([row.flags for row in rows], np.uint8),
        hint=np.array([row.hint for row in rows], np.uint8),
        schema=np.array([row.schema for row in rows], np.int8),
        zero_threshold=floats([row.threshold_bits for row in rows]),
        zero_count=np.array([row.zero_count for row in rows], np.uint64),
        count=np.array([row.count for row in rows], np.uint64),
        sum=floats([row.sum_bits for row in rows]),
        span_starts=starts([len(row.positive) + len(row.negative) for row in rows]),
        positive_spans=np.array([len(row.positive) for row in rows], np.int32),
        spans=np.array(spans, np.int32).reshape(-1, 2),
        bucket_starts=starts([len(row.buckets) for row in rows]),
        buckets=np.array([count for row in rows for count in row.buckets], np.uint64),
        bound_starts=starts([len(row.bounds_bits) for row in rows]),
        bounds=floats([bound for row in rows for bound in row.bounds_bits]),
    )


def rows_of(histograms: NativeHistograms) -> list[tuple[int, int, Row]]:
    """Return (series, time, row) of each histogram."""
    found = []
    for i in range(len(histograms)):
        at = histograms.span_starts
        spans = [tuple(span) for span in histograms.spans[at[i] : at[i + 1]].tolist()]
        positive = int(histograms.positive_spans[i])
        buckets = histograms.buckets[histograms.bucket_starts[i] : histograms.bucket_starts[i + 1]]
        bounds = histograms.bounds[histograms.bound_starts[i] : histograms.bound_starts[i + 1]]
        row = Row(
            int(histograms.flags[i]), int(histograms.hint[i]), int(histograms.start_ms[i]), int(histograms.schema[i]),
            bits(histograms.zero_threshold[i]), int(histograms.zero_count[i]), int(histograms.count[i]),
            int(histograms.sum[i : i + 1].view(np.uint64)[0]), tuple(spans[:positive]), tuple(spans[positive:]),
            tuple(buckets.tolist()), tuple(bounds.view(np.uint64).tolist()),
        )  # fmt: skip
        found.append((int(histograms.series[i]), int(histograms.time_ms[i]), row))
    return found


class Growing:
    """A series of histograms as a client makes them: counts and layouts that grow, sometimes change, sometimes end.

    Args:
        pick: Source of all choices.
    """

    def __init__(self, pick: random.Random) -> None:
        self._pick = pick
        self._restart()

    def _restart(self) -> None:
        pick = self._pick
        self.schema = pick.choice([CUSTOM_BUCKETS, -4, 0, 3, 8])
        self.floats = pick.random() < 0.3
        self.counts: dict[int, dict[int, int]] = {1: {}, -1: {}}
        self.zero = 0
        self.sum = 0.0
        self.start_ms = pick.choice([0, 1_700_000_000_000])
        self.bounds = (
            tuple(bits(k * 0.25) for k in range(pick.randint(1, 300))) if self.schema == CUSTOM_BUCKETS else ()
        )

    def next(self) -> Row:
        """Return the next row."""
        pick = self._pick
        if pick.random() < 0.03:
            return STALE
        if pick.random() < 0.03:
            self._restart()
        signs = (1,) if self.schema == CUSTOM_BUCKETS else (1, -1)
        for _ in range(pick.randint(0, 6)):
            index = pick.choice([pick.randint(0, 6), pick.randint(-40, 40)])
            index = abs(index) % (len(self.bounds) + 1) if self.bounds else index
            counts = self.counts[pick.choice(signs)]
            counts[index] = counts.get(index, 0) + pick.choice([0, 1, 1, 17, 1 << 55])
        self.zero += pick.choice([0, 0, 3]) if self.schema != CUSTOM_BUCKETS else 0
        self.sum += pick.choice([0.0, 1.5, 0.1, -3.0])
        return self._row()

    def _row(self) -> Row:
        pick = self._pick
        positive, negative = (self._spans(self.counts[sign]) for sign in (1, -1))
        buckets = [count % _BITS for sign in (1, -1) for _, count in sorted(self.counts[sign].items())]
        zero = self.zero
        count = pick.choice([(zero + sum(buckets)) % _BITS, pick.randrange(_BITS)]) if pick.random() < 0.1 else (
            zero + sum(buckets)
        ) % _BITS  # fmt: skip
        if self.floats:
            buckets = [bits(bucket / 3) for bucket in buckets]
            zero, count = bits(zero), bits(count)
        return Row(
            _FLOAT if self.floats else 0, pick.choice([0, 0, 0, 1, 2, 3]), self.start_ms, self.schema,
            0 if self.bounds else bits(2.0**-128), zero, count,
            pick.choice([bits(self.sum)] * 20 + [0x7FF8000000000001, 0x7FF0000000000003, 1 << 63]),
            positive, negative, tuple(buckets), self.bounds,
        )  # fmt: skip

    def _spans(self, counts: dict[int, int]) -> tuple[tuple[int, int], ...]:
        spans: list[tuple[int, int]] = []
        end = 0
        for index in sorted(counts):
            # Neighbours may stand in two spans, with none between them.
            if spans and index == end and self._pick.random() < 0.95:
                spans[-1] = (spans[-1][0], spans[-1][1] + 1)
            else:
                spans.append((index - end, 1))
            end = index + 1
        return tuple(spans)
