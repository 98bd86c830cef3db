"""Query results with native histograms as JSON.

Source:
    Prometheus, "HTTP API", section "Native histograms"; bounds: "Native Histograms" specification, section "Schema".
"""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.native_histograms import CUSTOM_BUCKETS
from headrace.store.api.envelope import encode
from headrace.store.api.results import format_time, format_value
from headrace.store.promql.natives import as_doubles, counts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.pipeline.native_histograms import NativeHistograms
    from headrace.store.labels import LabelTable
    from headrace.store.promql.natives import NativeRanges, Natives

_LARGEST_EXPONENT = 1024

_OPEN_LEFT = 0
_OPEN_RIGHT = 1
_OPEN = 2
_CLOSED = 3
"""Rules of buckets: (lower, upper], [lower, upper), (lower, upper), [lower, upper]."""

Bucket = tuple[float, float, float, int]
"""Lower bound, upper bound, count, rule."""


@cache
def _fractions(schema: int) -> list[float]:
    """Return the bounds from 0.5 on and below 1, to the bit as Prometheus has them.

    Every second one is a bound of the schema before; the others are their neighbours times the ratio of two bounds.
    """
    if schema == 0:
        return [0.5]
    coarser = _fractions(schema - 1)
    # Where it all begins, the ratio is the double below the square root of two.
    ratio = 2.0 ** (2.0**-schema) if schema > 1 else math.nextafter(math.sqrt(2), 0)
    return [bound for half in coarser for bound in (half, half * ratio)]


def bound(schema: int, index: int) -> float:
    """Return the upper bound of a bucket of an exponential schema; the last one that is finite is the largest double.

    Args:
        schema: Above -53.
        index: The bucket's.
    """
    exponent, part = (index >> schema, index & ((1 << schema) - 1)) if schema >= 0 else (index << -schema, 0)
    if exponent == _LARGEST_EXPONENT and part == 0:
        return math.nextafter(math.inf, 0)
    try:
        return math.ldexp(_fractions(schema)[part] if part else 0.5, exponent + 1)
    except OverflowError:
        return math.inf


def _spanned(spans: list[list[int]]) -> Iterator[int]:
    """Yield the indices of the buckets of some spans."""
    index = 0
    for offset, length in spans:
        index += offset
        yield from range(index, index + length)
        index += length


def _custom(index: int, bounds: list[float]) -> float:
    if index < 0:
        return -math.inf
    return bounds[index] if index < len(bounds) else math.inf


def _clipped(lower: float, upper: float, threshold: float) -> tuple[float, float]:
    """Cut off what the zero bucket covers."""
    if upper < 0 and upper > -threshold:
        return lower, -threshold
    if 0 < lower < threshold:
        return threshold, upper
    return lower, upper


def _exponential(lower: float, upper: float, count: float, threshold: float) -> Bucket:
    rule = (_OPEN_RIGHT if upper <= 0 else _CLOSED) if lower < 0 else (_OPEN_LEFT if upper > 0 else _OPEN)
    return (*_clipped(lower, upper, threshold), count, rule)


def buckets_of(histograms: NativeHistograms, row: int) -> list[Bucket]:
    """Return the buckets of one histogram that are not empty, lowest bounds first."""
    one = histograms
    spans = one.spans[one.span_starts[row] : one.span_starts[row + 1]].tolist()
    counts = one.buckets[one.bucket_starts[row] : one.bucket_starts[row + 1]]
    floats = np.full(len(counts), bool(one.flags[row] & 1))
    values = as_doubles(counts, floats).tolist()
    schema, positive = int(one.schema[row]), int(one.positive_spans[row])
    indices = [*_spanned(spans[:positive]), *_spanned(spans[positive:])]
    if schema == CUSTOM_BUCKETS:
        bounds = one.bounds[one.bound_starts[row] : one.bound_starts[row + 1]].tolist()
        found = [
            (_custom(i - 1, bounds), _custom(i, bounds), value, _CLOSED if i == 0 else _OPEN_LEFT)
            for i, value in zip(indices, values, strict=True)
        ]
        return [bucket for bucket in found if bucket[2] != 0]
    threshold = float(one.zero_threshold[row])
    above = sum(length for _, length in spans[:positive])
    rows = list(zip(indices, values, strict=True))
    below = [_exponential(-bound(schema, i), -bound(schema, i - 1), value, threshold) for i, value in rows[above:]]
    upper = [_exponential(bound(schema, i - 1), bound(schema, i), value, threshold) for i, value in rows[:above]]
    zero = float(as_doubles(one.zero_count[row : row + 1], (one.flags[row : row + 1] & 1) != 0)[0])
    middle = [(-threshold, threshold, zero, _CLOSED)]
    return [bucket for bucket in (*reversed(below), *middle, *upper) if bucket[2] != 0]


def histogram(histograms: NativeHistograms, row: int) -> str:
    """Return one histogram as JSON."""
    count = format_value(float(counts_of(histograms.take(np.array([row])))[0]))
    text = f'{{"count":"{count}","sum":"{format_value(float(histograms.sum[row]))}"'
    found = [
        f'[{rule},"{format_value(lower)}","{format_value(upper)}","{format_value(value)}"]'
        for lower, upper, value, rule in buckets_of(histograms, row)
    ]
    return text + (f',"buckets":[{",".join(found)}]' if found else "") + "}"


def vector_result(labels: LabelTable, time_ms: int, values: NDArray[np.float64], natives: Natives) -> bytes:
    """Return the result of kind ``vector``: (n,) values of n label sets at one time, or histograms in their place."""
    time = format_time(time_ms)
    rows = []
    for row, (value, native) in enumerate(zip(values.tolist(), natives.rows[:, 0].tolist(), strict=True)):
        if native >= 0:
            text = f'"histogram":[{time},{histogram(natives.histograms, native)}]'
        else:
            text = f'"value":[{time},"{format_value(value)}"]'
        rows.append(b'{"metric":' + encode(labels.labels(row)) + b"," + text.encode("ascii") + b"}")
    return b"[" + b",".join(rows) + b"]"


def matrix_result(
    labels: LabelTable,
    offsets: NDArray[np.int64],
    times_ms: NDArray[np.int64],
    values: NDArray[np.float64],
    natives: NativeRanges,
    native_times_ms: NDArray[np.int64],
) -> bytes:
    """Return the result of kind ``matrix``.

    Args:
        labels: n label sets, in the order of the answer.
        offsets: (n + 1,); samples of series i are ``offsets[i]:offsets[i + 1]``.
        times_ms: (offsets[-1],) milliseconds.
        values: (offsets[-1],) values.
        natives: Histograms of the same series.
        native_times_ms: Milliseconds of these.
    """
    rows = []
    bounds = zip(pairwise(offsets.tolist()), pairwise(natives.offsets.tolist()), strict=True)
    for row, ((begin, end), (first, last)) in enumerate(bounds):
        parts = [b'{"metric":' + encode(labels.labels(row))]
        if end > begin:
            samples = zip(times_ms[begin:end].tolist(), values[begin:end].tolist(), strict=True)
            written = ",".join(f'[{format_time(time)},"{format_value(value)}"]' for time, value in samples)
            parts.append(b'"values":[' + written.encode("ascii") + b"]")
        if last > first:
            times = native_times_ms[first:last].tolist()
            points = (f"[{format_time(t)},{histogram(natives.histograms, first + k)}]" for k, t in enumerate(times))
            parts.append(b'"histograms":[' + ",".join(points).encode("ascii") + b"]")
        rows.append(b",".join(parts) + b"}")
    return b"[" + b",".join(rows) + b"]"
