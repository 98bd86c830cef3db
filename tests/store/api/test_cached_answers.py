"""Answers over HTTP that come from the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from api_lab import ApiLab
from headrace.store.api.backend import Backend
from headrace.store.api.promql import PromQLService
from headrace.store.api.result_cache import ResultCache
from headrace.store.api.reuse import WorkspaceCache
from headrace.store.changes import ChangeLog
from headrace.store.promql.evaluate import EvaluatorOptions
from headrace.testing.store_fakes import MemoryQueryable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RANGE = (("query", "m"), ("start", "0"), ("end", "3000"), ("step", "2"))


class CachedLab(ApiLab):
    """An API whose workspace has one series and a cache."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = ChangeLog()
        self.cache = ResultCache(1 << 20)
        self.store = MemoryQueryable()
        self.store.add({"__name__": "m"}, [0, 1_000_000], [1.0, 2.0])
        known = WorkspaceCache(self.cache, self.changes)
        self.backends["default"] = Backend(self.index, PromQLService(self.store, EvaluatorOptions(), known), known)


@pytest.fixture
async def lab() -> AsyncIterator[CachedLab]:
    made = CachedLab()
    await made.start()
    yield made
    await made.close()


@pytest.mark.parametrize("coding", ["", "gzip", "zstd"])
async def test_a_reload_is_answered_with_the_same_bytes(lab: CachedLab, coding: str) -> None:
    """Whatever the coding, and without an evaluation."""
    headers = {"Accept-Encoding": coding}
    first = await lab.ask("/api/v1/query_range", headers=headers, form=RANGE)
    again = await lab.ask("/api/v1/query_range", "POST", headers=headers, form=RANGE)
    plain = await lab.ask("/api/v1/query_range", form=RANGE)
    instant = [await lab.get("/api/v1/query", ("query", "m"), ("time", "5")) for _ in range(2)]

    assert first.raw == again.raw
    assert first.headers.get("Content-Encoding", "") == again.headers.get("Content-Encoding", "") == coding
    assert first.json == plain.json
    assert first.json["data"]["result"][0]["values"][0] == [0, "1"]
    assert instant[0].raw == instant[1].raw
    assert (lab.cache.statistics.hits, lab.cache.statistics.misses) == (3, 2)


@pytest.mark.parametrize("extra", [("nocache", "1"), ("stats", "all"), ("explain", "plan")])
async def test_who_wants_no_old_results_gets_none(lab: CachedLab, extra: tuple[str, str]) -> None:
    """Nor does who wants to know what an evaluation takes."""
    first = await lab.get("/api/v1/query_range", *RANGE, extra)
    again = await lab.get("/api/v1/query_range", *RANGE, extra)

    assert first.json["data"]["result"] == again.json["data"]["result"]
    assert (lab.cache.statistics.hits, lab.cache.statistics.misses, len(lab.cache)) == (0, 0, 0)


async def test_what_has_changed_is_evaluated(lab: CachedLab) -> None:
    """An answer is never older than what is acknowledged."""
    before = (await lab.get("/api/v1/query_range", *RANGE)).json["data"]["result"]
    lab.store.add({"__name__": "m", "a": "b"}, [2_500_000], [3.0])
    lab.changes.note(2_500_000)
    after = (await lab.get("/api/v1/query_range", *RANGE)).json["data"]["result"]

    assert [row["metric"] for row in after] == [{"__name__": "m"}, {"__name__": "m", "a": "b"}]
    assert after[0] == before[0]
    assert after[1]["values"][0] == [2500, "3"]
    assert lab.cache.statistics.partial == 1


async def test_errors_are_not_kept(lab: CachedLab) -> None:
    """They are found again each time."""
    for _ in range(2):
        reply = await lab.get("/api/v1/query_range", ("query", "m["), *RANGE[1:])
        assert reply.status == 400
    assert len(lab.cache) == 0
