"""What would take too much memory is refused before it is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.store.engine import EngineOptions
from headrace.store.interfaces import SeriesBatch
from headrace.store.log import Sync
from headrace.store.matchers import Matcher, MatchType
from headrace.store.promql.errors import ExecutionError
from headrace.store.promql.evaluate import Evaluator, EvaluatorOptions
from headrace.store.promql.evaluation import TOO_MANY_SAMPLES
from headrace.store.scan import EngineScan
from headrace.store.store import Store, StoreOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from headrace.store.engine import Engine

START_MS = 1_700_000_000_000
SERIES = 100
OPTIONS = EvaluatorOptions(max_samples=5000)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    options = StoreOptions(Sync.NEVER, 0, EngineOptions(max_future_ms=1 << 50))
    made = Store(tmp_path, options)
    made.open()
    engine = made.engine("default")
    refs = engine.refs([(("__name__", "m"), ("i", str(i))) for i in range(SERIES)])
    for step in range(3):
        times = np.full(SERIES, START_MS + step * 15_000, np.int64)
        await engine.append(SeriesBatch(refs, times, np.ones(SERIES)))
    yield made
    await made.close()


def ask(engine: Engine, query: str, steps: int) -> int:
    """Evaluate at so many steps; return how many series there are."""
    step_ms = 30_000 // max(steps - 1, 1)
    return len(Evaluator(engine, OPTIONS).range(query, START_MS, START_MS + (steps - 1) * step_ms, step_ms).value)  # type: ignore[arg-type]  # a vector


@pytest.mark.parametrize("query", ["m", "m offset 1s", "rate(m[1m])", "quantile_over_time(0.5, (m[1m]))", "abs(-m)"])
def test_too_many_points_are_refused_before_samples_are_read(
    store: Store, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the number of series and steps alone."""

    def read(*_: object, **__: object) -> None:
        raise AssertionError("bug: samples are read")

    monkeypatch.setattr(EngineScan, "read", read)
    with pytest.raises(ExecutionError, match=TOO_MANY_SAMPLES):
        ask(store.engine("default"), query, 51)


def test_what_fits_is_answered(store: Store) -> None:
    """The limit itself is allowed, and so are few series of many."""
    engine = store.engine("default")
    assert ask(engine, "m", 50) == SERIES
    assert ask(engine, "m{i='7'}", 1000) == 1


async def test_deleted_series_do_not_count(store: Store) -> None:
    """An estimate that may be too large refuses nothing."""
    await store.delete("default", [Matcher("i", MatchType.NOT_EQUAL, "7")], 0, START_MS * 2)
    assert ask(store.engine("default"), "m", 1000) == 1


def test_windows_of_subqueries_are_limited(store: Store) -> None:
    """By the series and the steps around, however few the steps inside are."""
    engine = store.engine("default")
    with pytest.raises(ExecutionError, match=TOO_MANY_SAMPLES):
        ask(engine, "max_over_time(m[30s:15s])", 51)
    assert ask(engine, "absent_over_time(n[30s:15s])", 51) == 1
    assert ask(engine, "max_over_time(m[30s:15s])", 50) == SERIES
