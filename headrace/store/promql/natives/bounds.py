"""Bounds of the buckets of exponential schemas, to the bit as Prometheus has them.

Source:
    Prometheus, "Native Histograms" specification, section "Schema".
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from headrace.pipeline.native_histograms import MAX_SCHEMA


@cache
def fractions(schema: int) -> list[float]:
    """Return the bounds from 0.5 on and below 1.

    Every second one is a bound of the schema before; the others are their neighbours times the ratio of two bounds.

    >>> fractions(1)
    [0.5, 0.7071067811865475]
    """
    if schema == 0:
        return [0.5]
    coarser = fractions(schema - 1)
    # Where it all begins, the ratio is the double below the square root of two.
    ratio = 2.0 ** (2.0**-schema) if schema > 1 else math.nextafter(math.sqrt(2), 0)
    return [bound for half in coarser for bound in (half, half * ratio)]


FRACTIONS = np.array(fractions(MAX_SCHEMA), np.float64)
"""(256,): those of the finest schema; the others have every second of them, every fourth and so on."""
