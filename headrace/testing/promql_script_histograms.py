"""Native histograms as the test scripts write them: one at a time, buckets by index, slow and plain.

Source:
    Prometheus, PromQL test language: ``{{schema:0 sum:5 count:4 buckets:[1 2 1]}}``; "Native Histograms"
    specification, sections "Schema" and "Counter reset considerations".
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.native_histograms import CUSTOM_BUCKETS, NativeFlag, NativeHistograms, ResetHint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.store.promql.natives.float_histograms import FloatHistograms

HINTS = {hint.name.lower(): hint for hint in ResetHint}

_FIELD = re.compile(r"\s*([a-z_]+):(\[[^\]]*\]|[^\s\[\]]+)")
_NUMBERS = {"sum", "count", "z_bucket", "z_bucket_w"}
_LISTS = {"buckets", "n_buckets", "custom_values"}
_INTEGERS = {"schema", "offset", "n_offset"}

Buckets = dict[int, float]


@dataclass(frozen=True, slots=True)
class Histogram:
    """One native histogram.

    Attributes:
        positive: Counts by index of bucket; those of 0 are left out.
        negative: Likewise.
        bounds: Custom upper bounds.
        hint: What it says about resets; None where a script does not say.
    """

    schema: int = 0
    count: float = 0.0
    sum: float = 0.0
    zero_threshold: float = 0.0
    zero_count: float = 0.0
    positive: Buckets = field(default_factory=dict)
    negative: Buckets = field(default_factory=dict)
    bounds: tuple[float, ...] = ()
    hint: ResetHint | None = None

    def __str__(self) -> str:
        parts = [f"schema:{self.schema} count:{self.count!r} sum:{self.sum!r}"]
        if self.zero_count or self.zero_threshold:
            parts.append(f"z_bucket:{self.zero_count!r} z_bucket_w:{self.zero_threshold!r}")
        if self.bounds:
            parts.append(f"custom_values:[{' '.join(map(repr, self.bounds))}]")
        for sign, buckets in (("", self.positive), ("n_", self.negative)):
            if buckets:
                first = min(buckets)
                counts = [repr(buckets.get(i, 0.0)) for i in range(first, max(buckets) + 1)]
                parts.append(f"{sign}offset:{first} {sign}buckets:[{' '.join(counts)}]")
        if self.hint is not None:
            parts.append(f"counter_reset_hint:{self.hint.name.lower()}")
        return "{{" + " ".join(parts) + "}}"

    def plus(self, other: Histogram, sign: int) -> Histogram:
        """Add another one, or take it away with a `sign` of -1.

        Raises:
            ValueError: Their buckets do not go together.
        """
        if self.bounds != other.bounds or (self.schema == CUSTOM_BUCKETS) != (other.schema == CUSTOM_BUCKETS):
            raise ValueError("histograms with other custom buckets")
        schema = min(self.schema, other.schema)
        one, two = _coarser(self, schema), _coarser(other, schema)
        return Histogram(
            schema=schema,
            count=one.count + sign * two.count,
            sum=one.sum + sign * two.sum,
            zero_threshold=_common_threshold(one, two),
            zero_count=one.zero_count + sign * two.zero_count,
            positive=_added(one.positive, two.positive, sign),
            negative=_added(one.negative, two.negative, sign),
            bounds=one.bounds,
            hint=_common_hint(one.hint, two.hint),
        )


def read_histogram(text: str) -> Histogram:
    """Read what stands between double braces.

    Raises:
        ValueError: It is not understood.

    >>> str(read_histogram("sum:5 buckets:[1 2]"))
    '{{schema:0 count:0.0 sum:5.0 offset:0 buckets:[1.0 2.0]}}'
    """
    found: dict[str, float] = {}
    lists: dict[str, list[float]] = {}
    hint: ResetHint | None = None
    position = 0
    while match := _FIELD.match(text, position):
        position = match.end()
        key, value = match.groups()
        if key in _LISTS and value.startswith("["):
            lists[key] = [float(item) for item in value[1:-1].split()]
        elif key in _NUMBERS or key in _INTEGERS:
            found[key] = float(value)
        elif key == "counter_reset_hint":
            hint = HINTS[value]
        else:
            raise ValueError(f"no such part of a histogram: {key!r}")
    if text[position:].strip():
        raise ValueError(f"cannot read {text[position:]!r} of a histogram")
    return Histogram(
        schema=int(found.get("schema", 0)),
        count=found.get("count", 0.0),
        sum=found.get("sum", 0.0),
        zero_threshold=found.get("z_bucket_w", 0.0),
        zero_count=found.get("z_bucket", 0.0),
        positive=_numbered(lists.get("buckets", []), int(found.get("offset", 0))),
        negative=_numbered(lists.get("n_buckets", []), int(found.get("n_offset", 0))),
        bounds=tuple(lists.get("custom_values", [])),
        hint=hint,
    )


def _numbered(counts: Sequence[float], offset: int) -> Buckets:
    return {offset + i: count for i, count in enumerate(counts) if count != 0}


def _coarser(histogram: Histogram, schema: int) -> Histogram:
    """Merge buckets so that the histogram has a lower schema."""
    by = histogram.schema - schema
    if not by:
        return histogram
    return replace(
        histogram,
        schema=schema,
        positive=_merged(histogram.positive, by),
        negative=_merged(histogram.negative, by),
    )


def _merged(buckets: Mapping[int, float], by: int) -> Buckets:
    out: Buckets = {}
    for index, count in buckets.items():
        place = ((index - 1) >> by) + 1
        out[place] = out.get(place, 0.0) + count
    return out


def _common_threshold(one: Histogram, two: Histogram) -> float:
    widest = max(one.zero_threshold, two.zero_threshold)
    for histogram in (one, two):
        lowest = min([*histogram.positive, *histogram.negative], default=None)
        if histogram.zero_threshold < widest and lowest is not None and _lower_bound(histogram, lowest) < widest:
            raise ValueError("histograms whose zero buckets overlap others")
    return widest


def _lower_bound(histogram: Histogram, index: int) -> float:
    return math.exp2((index - 1) * 2.0**-histogram.schema)


def _added(one: Mapping[int, float], two: Mapping[int, float], sign: int) -> Buckets:
    total = {i: one.get(i, 0.0) + sign * two.get(i, 0.0) for i in sorted({*one, *two})}
    return {i: count for i, count in total.items() if count != 0}


def _common_hint(one: ResetHint | None, two: ResetHint | None) -> ResetHint | None:
    if one == two:
        return one
    return ResetHint.GAUGE if ResetHint.GAUGE in {one, two} else ResetHint.UNKNOWN


@dataclass(frozen=True, slots=True)
class Timed:
    """A histogram of a series.

    Attributes:
        time_ms: When it was taken.
        start_ms: Since when it counts, 0 for unknown.
    """

    time_ms: int
    start_ms: int
    histogram: Histogram


def as_columns(rows: Sequence[tuple[int, Timed]]) -> NativeHistograms:
    """Return columns of histograms with their series' ids; counts are doubles."""
    spans, counts = zip(*(_spans(row.histogram) for _, row in rows), strict=True) if rows else ((), ())
    all_counts = [count for some in counts for count in some]
    return NativeHistograms(
        series=np.array([series for series, _ in rows], np.int32),
        time_ms=np.array([row.time_ms for _, row in rows], np.int64),
        start_ms=np.array([row.start_ms for _, row in rows], np.int64),
        flags=np.full(len(rows), NativeFlag.FLOAT_COUNTS, np.uint8),
        hint=np.array([row.histogram.hint or 0 for _, row in rows], np.uint8),
        schema=np.array([row.histogram.schema for _, row in rows], np.int8),
        zero_threshold=np.array([row.histogram.zero_threshold for _, row in rows], np.float64),
        zero_count=np.array([row.histogram.zero_count for _, row in rows], np.float64).view(np.uint64),
        count=np.array([row.histogram.count for _, row in rows], np.float64).view(np.uint64),
        sum=np.array([row.histogram.sum for _, row in rows], np.float64),
        span_starts=_starts([len(some) for some in spans]),
        positive_spans=np.array([_runs(row.histogram.positive) for _, row in rows], np.int32),
        spans=np.array([span for some in spans for span in some], np.int32).reshape(-1, 2),
        bucket_starts=_starts([len(some) for some in counts]),
        buckets=np.array(all_counts, np.float64).view(np.uint64),
        bound_starts=_starts([len(row.histogram.bounds) for _, row in rows]),
        bounds=np.array([bound for _, row in rows for bound in row.histogram.bounds], np.float64),
    )


def _starts(sizes: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.concatenate([[0], np.cumsum(np.array(sizes, np.int64))]).astype(np.int64)


def spans_of(buckets: Mapping[int, float]) -> tuple[list[tuple[int, int]], list[float]]:
    """Return the spans (offset, length) that hold buckets, and their counts."""
    spans: list[tuple[int, int]] = []
    after: int | None = None  # one past the last bucket
    for index in sorted(buckets):
        if index == after:
            spans[-1] = (spans[-1][0], spans[-1][1] + 1)
        else:
            spans.append((index if after is None else index - after, 1))
        after = index + 1
    return spans, [buckets[index] for index in sorted(buckets)]


def _spans(histogram: Histogram) -> tuple[list[tuple[int, int]], list[float]]:
    """Return spans and counts, the positive ones first."""
    positive, negative = spans_of(histogram.positive), spans_of(histogram.negative)
    return positive[0] + negative[0], positive[1] + negative[1]


def _runs(buckets: Mapping[int, float]) -> int:
    return sum(1 for index in buckets if index - 1 not in buckets)


def histogram_at(columns: FloatHistograms, row: int) -> Histogram:
    """Return one row of columns; buckets of 0 are left out."""
    begin, end = int(columns.starts[row]), int(columns.starts[row + 1])
    buckets = list(zip(columns.indices[begin:end].tolist(), columns.counts[begin:end].tolist(), strict=True))
    middle = int(columns.positive[row])
    return Histogram(
        schema=int(columns.schema[row]),
        count=float(columns.count[row]),
        sum=float(columns.sum[row]),
        zero_threshold=float(columns.zero_threshold[row]),
        zero_count=float(columns.zero_count[row]),
        positive={index: n for index, n in buckets[:middle] if n != 0},
        negative={index: n for index, n in buckets[middle:] if n != 0},
        bounds=tuple(columns.bounds[columns.bound_starts[row] : columns.bound_starts[row + 1]].tolist()),
        hint=ResetHint(int(columns.hint[row])),
    )
