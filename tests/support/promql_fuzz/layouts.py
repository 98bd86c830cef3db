"""Histograms whose samples both sides count alike.

A histogram counts as many samples as its buckets take memory. The peer gives all histograms of a chunk the buckets of
any of them, and when a chunk begins depends on how well it compresses: nothing of which a query could know. Ours has
the buckets that were written. Both agree where all histograms that may share a chunk have the same buckets.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.testing.promql_script_histograms import Histogram

if TYPE_CHECKING:
    from collections.abc import Sequence

Points = list[tuple[int, float | Histogram]]


def alike(points: Sequence[tuple[int, float | Histogram]]) -> Points:
    """Give the histograms of a series that have the same kinds of buckets the same buckets, of which some are empty."""
    above: dict[object, dict[int, float]] = defaultdict(dict)
    below: dict[object, dict[int, float]] = defaultdict(dict)
    for _, value in points:
        if isinstance(value, Histogram):
            above[_kind(value)] |= dict.fromkeys(value.positive, 0.0)
            below[_kind(value)] |= dict.fromkeys(value.negative, 0.0)

    def filled(value: float | Histogram) -> float | Histogram:
        if not isinstance(value, Histogram):
            return value
        kind = _kind(value)
        return replace(value, positive=above[kind] | value.positive, negative=below[kind] | value.negative)

    return [(time_ms, filled(value)) for time_ms, value in points]


def _kind(histogram: Histogram) -> object:
    """Return what never differs within a chunk."""
    return histogram.schema, histogram.zero_threshold, histogram.bounds
