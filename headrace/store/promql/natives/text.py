"""Native histograms as text, as labels of ``count_values`` have them.

Source:
    Prometheus 3.14, ``count_values``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.pipeline.native_histograms import CUSTOM_BUCKETS
from headrace.store.promql.natives.bucket_kernels import unclipped
from headrace.store.promql.notes import brief

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.store.promql.natives.float_histograms import FloatHistograms


def text_of(histograms: FloatHistograms, row: int) -> str:
    """Write one histogram: count, sum and its buckets with observations, the lowest first."""
    parts = [f"count:{brief(float(histograms.count[row]))}", f"sum:{brief(float(histograms.sum[row]))}"]
    return "{" + ", ".join([*parts, *_buckets(histograms, row)]) + "}"


def _buckets(histograms: FloatHistograms, row: int) -> Iterator[str]:
    columns = histograms.columns
    begin, until = int(histograms.starts[row]), int(histograms.starts[row + 1])
    middle = begin + int(histograms.positive[row])
    custom = histograms.schema[row] == CUSTOM_BUCKETS
    for place in range(until - 1, middle - 1, -1):
        yield from _bucket("[", *unclipped(columns, row, place), ")", float(histograms.counts[place]))
    threshold = float(histograms.zero_threshold[row])
    yield from _bucket("[", -threshold, threshold, "]", float(histograms.zero_count[row]))
    for place in range(begin, middle):
        left = "[" if custom and histograms.indices[place] == 0 else "("
        yield from _bucket(left, *unclipped(columns, row, place), "]", float(histograms.counts[place]))


def _bucket(left: str, lower: float, upper: float, right: str, count: float) -> Iterator[str]:
    if count != 0:
        yield f"{left}{brief(lower)},{brief(upper)}{right}:{brief(count)}"
