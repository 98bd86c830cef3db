"""Retention goes by the store's clock, not by how long the process has run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.store.engine import EngineOptions
from headrace.store.interfaces import SeriesBatch
from headrace.store.log import Sync
from headrace.store.store import Store, StoreOptions

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.store.interfaces import Labels

START_MS = 1_700_000_040_000
MINUTE_MS = 60_000


async def test_what_is_too_old_by_the_clock_goes_with_the_next_round(tmp_path: Path) -> None:
    """Blocks past the retention are removed and their series forgotten, also after the clock was set back."""
    now_ms = START_MS
    engine_options = EngineOptions(retention_ms=60 * MINUTE_MS, block_ms=MINUTE_MS)
    store = Store(tmp_path, StoreOptions(Sync.NEVER, 0, engine_options), clock_ms=lambda: now_ms)
    store.open()
    engine = store.engine("default")
    sets: list[Labels] = [(("__name__", "old"),), (("__name__", "new"),)]
    for i, time_ms in enumerate((START_MS, START_MS + 50 * MINUTE_MS)):
        now_ms = time_ms
        await engine.append(SeriesBatch(engine.refs(sets[i : i + 1]), np.array([time_ms]), np.ones(1)))
        store.flush(everything=True)
        await store.maintain()
    assert (len(engine.blocks), len(engine.index.refs())) == (2, 2)
    now_ms = START_MS + 70 * MINUTE_MS
    await store.maintain()
    assert (len(engine.blocks), len(engine.index.refs())) == (1, 1)
    now_ms = START_MS + 40 * MINUTE_MS
    await store.maintain()
    now_ms = START_MS + 120 * MINUTE_MS
    await store.maintain()
    assert (len(engine.blocks), len(engine.index.refs())) == (0, 0)
    await store.close()
