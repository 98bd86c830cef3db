"""What the ``store`` exporter gives to an engine, and says about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.exporters.store_delivery import append, outcome
from headrace.exporters.store_refs import StoreRefs
from headrace.pipeline.batch import BatchContext
from headrace.pipeline.counters import Counters, Drops
from headrace.pipeline.prometheus_edge import Flat
from headrace.store.engine import EngineOptions
from headrace.store.interfaces import AppendResult, Code
from headrace.store.log import Sync
from headrace.store.matchers import Matcher, MatchType
from headrace.store.store import Store, StoreOptions
from headrace.testing.batches import make_batch, with_native

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from headrace.pipeline.native_histograms import NativeHistograms

NOW_MS = 1_700_000_000_000


def opened(directory: Path, **engine: int) -> Store:
    directory.mkdir(exist_ok=True)
    store = Store(directory, StoreOptions(Sync.NEVER, 0, EngineOptions(**engine)), clock_ms=lambda: NOW_MS)
    store.open()
    return store


async def test_everything_of_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples, histograms by the store's refs, exemplars; what is not taken is counted by kind and named."""
    store = opened(tmp_path)
    engine = store.engine("default")
    given: list[NativeHistograms] = []

    async def append_histograms(rows: NativeHistograms) -> AppendResult:
        given.append(rows)
        return AppendResult(1, np.array([Code.OK, Code.TOO_OLD], np.uint8))

    monkeypatch.setattr(engine, "append_histograms", append_histograms, raising=False)
    batch = with_native(make_batch(["filler", "a"]), ["h", "i"])
    assert batch.exemplars is not None
    batch.exemplars.time_ns[1] += 3_600_000_000_000
    refs = StoreRefs(batch.table, engine)
    drops = Drops(Counters(), "test")
    found = outcome(len(batch), Flat(batch), await append(engine, batch, refs), drops)
    assert given[0].series.tolist() == engine.refs([(("__name__", "h"),), (("__name__", "i"),)]).tolist()
    assert found.rejected == {"too_old": 1}
    assert (found.accepted, found.rejected_histograms, found.rejected_exemplars) == (3, 1, 1)
    assert found.message == "too old sample: series i, timestamp 1700000000000"
    assert found.exemplar_message == "the exemplar is out of bounds: series i"
    assert drops.by_reason() == {"too_old": 1, "exemplar_too_far_ahead": 1}
    everything = (Matcher("__name__", MatchType.REGEX, ".+"),)
    assert len(engine.exemplars(everything, 0, 1 << 60)[1].refs) == 1
    await store.close()


async def test_exemplars_without_a_time(tmp_path: Path) -> None:
    """They get the time at which they came; the same one again is a repeat. None are kept where the limit is zero."""
    for limit in (0, 10):
        store = opened(tmp_path / str(limit), max_exemplars=limit)
        engine = store.engine("default")
        batch = with_native(make_batch(["a"]), ["a"]).with_columns(native=None)
        assert batch.exemplars is not None
        batch.exemplars.time_ns[:] = 0
        for received_ms in (NOW_MS - 5, NOW_MS):
            one = batch.with_columns(context=BatchContext(received_ns=received_ms * 1_000_000))
            appended = await append(engine, one, StoreRefs(one.table, engine))
            found = outcome(1, Flat(one), appended, Drops(Counters(), "test"))
            assert found.rejected_exemplars == 0
        rows = engine.exemplars((Matcher("__name__", MatchType.EQUAL, "a"),), 0, 1 << 60)[1]
        assert rows.times_ms.tolist() == ([NOW_MS - 5] if limit else [])
        await store.close()
