"""How many samples a query looks at, counted as Prometheus does.

Source:
    Prometheus 3.14, ``totalQueryableSamples`` and ``peakSamples`` of the HTTP API.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.store.promql import statistics_kernels as kernels
from headrace.store.promql.natives.float_histograms import sample_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.store.promql.values import Ranges, Vector


@dataclass(frozen=True, slots=True)
class QueryStatistics:
    """Samples of one query.

    Attributes:
        total: Samples that selectors handed on, each as often as it was looked at.
        per_step: (steps,) int64, the same by step of the query; adds up to `total`.
        peak: Most samples that were held at a time, roughly.
    """

    total: int
    per_step: NDArray[np.int64]
    peak: int


class SampleCount:
    """Counts while a query runs.

    Args:
        steps: How many steps the query has.
    """

    def __init__(self, steps: int) -> None:
        self._per_step = np.zeros(steps, np.int64)
        self._held = 0
        self._peak = 0

    def add(self, samples: NDArray[np.int64] | int) -> None:
        """Count samples of each step, (steps,), or so many at every step."""
        self._per_step += samples

    @contextmanager
    def apart(self, steps: int) -> Iterator[SampleCount]:
        """Count what is looked at inside by itself, for steps of its own."""
        outer, self._per_step = self._per_step, np.zeros(steps, np.int64)
        inside = SampleCount(0)
        try:
            yield inside
        finally:
            inside._per_step = self._per_step
            self._per_step = outer

    @property
    def per_step(self) -> NDArray[np.int64]:
        """A copy of what was counted so far."""
        return self._per_step.copy()

    @property
    def total(self) -> int:
        """Samples of all steps."""
        return int(self._per_step.sum())

    def hold(self, samples: int) -> None:
        """Take note that so many more samples are in memory; fewer, where negative."""
        self._held += samples
        self._peak = max(self._peak, self._held)

    def result(self) -> QueryStatistics:
        """Return what was counted."""
        return QueryStatistics(self.total, self._per_step, self._peak)


def in_vector(vector: Vector) -> NDArray[np.int64]:
    """Return (steps,) how many samples an instant vector has; a histogram counts as several."""
    found: NDArray[np.int64] = np.count_nonzero(vector.present, axis=0)
    if vector.natives is not None:
        sizes = np.append(sample_sizes(vector.natives.histograms), 0)
        found = found + sizes[vector.natives.rows].sum(axis=0)
    return found


def in_windows(ranges: Ranges) -> NDArray[np.int64]:
    """Return (steps of the windows,) how many samples lie in the windows of all series."""
    ends = ranges.ends
    found = np.zeros(ends.size if ends.step_ms else 1, np.int64)
    window = ranges.range_ms + ranges.beyond.before_ms + ranges.beyond.after_ms
    kernels.changes(ranges.times_ms, ends.start_ms + ranges.beyond.after_ms, ends.step_ms or 1, window, found)
    return np.cumsum(found) + natives_in_windows(ranges)


def natives_in_windows(ranges: Ranges) -> NDArray[np.int64]:
    """Return (steps of the windows,) as how many samples the native histograms in them count."""
    if ranges.natives is None:
        return np.zeros(ranges.ends.size, np.int64)
    histograms, ends = ranges.natives.histograms, ranges.ends.times_ms()
    order = np.argsort(ranges.natives.times_ms, kind="stable")
    before = np.concatenate([[0], np.cumsum(sample_sizes(histograms)[order])]).astype(np.int64)
    times = ranges.natives.times_ms[order]
    last, first = (np.searchsorted(times, bound, "right") for bound in (ends, ends - ranges.range_ms))
    return before[last] - before[first]
