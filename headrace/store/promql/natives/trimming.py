"""Histograms trimmed to the observations on one side of a number: the operators ``</`` and ``>/``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.store.promql.natives import trim_kernels as kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.store.promql.natives.float_histograms import FloatHistograms


def trimmed(histograms: FloatHistograms, limits: NDArray[np.float64], *, upper: bool) -> FloatHistograms:
    """Keep the observations below (n,) limits, or without `upper` above them; counts of parts are interpolated."""
    out = replace(
        histograms,
        zero_count=histograms.zero_count.copy(),
        count=histograms.count.copy(),
        sum=histograms.sum.copy(),
        counts=histograms.counts.copy(),
    )
    untouched = np.empty(len(histograms), np.bool_)
    kernels.trim(out.columns, limits, upper, untouched)
    if untouched.all():
        return out
    return out.with_buckets((out.counts != 0) | np.repeat(untouched, np.diff(out.starts)))
