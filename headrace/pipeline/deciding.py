"""Decisions about new series that give way to others now and then."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Deciding

_SLICE_S = 0.005
"""Longest time that decisions about new series hold the loop at a stretch."""

_SLICE_IDS = 32
"""Decisions between two looks at the clock."""


async def decide(processor: Deciding, batch: MetricBatch) -> None:
    """Have a processor decide about all new series of a batch."""
    ids = processor.undecided(batch)
    started = time.perf_counter()
    for first in range(0, len(ids), _SLICE_IDS):
        processor.decide(batch, ids[first : first + _SLICE_IDS])
        if time.perf_counter() - started > _SLICE_S:
            await asyncio.sleep(0)
            started = time.perf_counter()
