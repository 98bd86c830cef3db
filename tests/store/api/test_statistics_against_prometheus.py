"""What ``stats`` adds to an answer of a real Prometheus and of this API, over HTTP: the same members and counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api_lab import ApiLab
from headrace.store.api.backend import Backend
from headrace.store.api.promql import PromQLService
from headrace.store.promql.evaluate import EvaluatorOptions
from headrace.store.promql.language.parser import ALL_FEATURES
from headrace.testing.store_fakes import MemoryQueryable
from prometheus_oracle import Oracle, Series
from running import Programs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.peer

SERIES = [
    Series({"__name__": "m", "i": str(i)}, [(t, float(t * (i + 1) % 97)) for t in range(0, 600_000, 15_000 + i * 1000)])
    for i in range(3)
]
QUERIES = (
    "m", "sum(m)", "rate(m[1m])", "sum by (i) (rate(m[90s]))", "max_over_time(m[5m:30s])", "m @ 100", "m + on (i) m",
    "avg_over_time(m[1m] offset 1m)", "absent(nothing)", "time()", "1",
    "max_over_time(sum(m)[2m:20s])", "m or rate(m[1m] @ end())", "topk(1, m)",
)  # fmt: skip
TIMES = (
    ("query", {"time": "300"}),
    ("query", {"time": "300.123"}),
    ("query_range", {"start": "60", "end": "660", "step": "30"}),
    ("query_range", {"start": "60.5", "end": "90", "step": "0.251"}),
)


@pytest.fixture(scope="module")
def prometheus(peers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    folder = tmp_path_factory.mktemp("statistics")
    with Programs(folder) as programs:
        oracle = Oracle(programs, peers, folder / "peer")
        oracle.write(SERIES)
        yield oracle
        oracle.stop()


@pytest.fixture
async def ours() -> AsyncIterator[ApiLab]:
    api = ApiLab()
    store = MemoryQueryable()
    for one in SERIES:
        times, values = zip(*one.points, strict=True)
        store.add(one.labels, [*times], [*values])
    options = EvaluatorOptions(per_step_statistics=True, parser=ALL_FEATURES)
    api.backends["default"] = Backend(api.index, PromQLService(store, options))
    await api.start()
    yield api
    await api.close()


@pytest.mark.parametrize("stats", ["all", "true", "1", ""])
@pytest.mark.parametrize("query", QUERIES)
async def test_statistics_are_prometheus_own(query: str, stats: str, prometheus: Oracle, ours: ApiLab) -> None:
    """Counts are equal, of each step too; of times, that they are told; of the peak, that there is one."""
    for path, times in TIMES:
        form = {"query": query, "stats": stats, **times}
        theirs = prometheus.ask(path, **form)["data"].get("stats")
        own = (await ours.ask(f"/api/v1/{path}", "POST", form=[*form.items()])).json["data"].get("stats")
        assert comparable(own) == comparable(theirs), (path, times)


def comparable(stats: dict[str, Any] | None) -> Any:
    """Leave out what cannot be equal."""
    if stats is None:
        return None
    samples = {**stats["samples"]}
    assert isinstance(samples.pop("peakSamples"), int)
    assert all(isinstance(value, float | int) for value in stats["timings"].values())
    return {**stats, "timings": set(stats["timings"]), "samples": samples}
