"""Parts of a query that are written more than once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from headrace.store.promql.evaluate import Evaluator, EvaluatorOptions
from headrace.store.promql.values import Vector
from headrace.testing.store_fakes import MemoryQueryable

if TYPE_CHECKING:
    from headrace.store.promql.evaluate import Result

QUERY = "ceil(abs(sum by (i) (a))) + ceil(abs(sum by (i) (a)))"
STEPS = 10


class Counted(Evaluator):
    """Counts how often it is asked whether the query is over: once for each node that is evaluated."""

    def ask(self, query: str) -> tuple[Result, int]:
        asked = 0

        def check() -> None:
            nonlocal asked
            asked += 1

        return self.range(query, 0, (STEPS - 1) * 1000, 1000, check=check), asked


@pytest.fixture(scope="module")
def store() -> MemoryQueryable:
    found = MemoryQueryable()
    for name in "ab":
        for i in range(4):
            found.add({"__name__": name, "i": str(i)}, [0, 5000], [1.0 + i, -2.0])
    return found


def ask(store: MemoryQueryable, query: str, most: int) -> tuple[list[list[float]], int, int]:
    result, nodes = Counted(store, EvaluatorOptions(max_samples=most)).ask(query)
    assert isinstance(result.value, Vector)
    return result.value.values.tolist(), result.statistics.total, nodes


def test_remembered_parts_take_no_more_room_than_a_query_may(store: MemoryQueryable) -> None:
    """Where they would, they are evaluated again; values and counts of samples are the same."""
    *expected, few = ask(store, QUERY, 1000)
    *found, more = ask(store, QUERY, 2 * 4 * STEPS)
    assert found == expected
    assert few < more


def test_a_part_is_evaluated_once(store: MemoryQueryable) -> None:
    """The second time takes no node at all."""
    nodes = {query: ask(store, query, 1000)[2] for query in ("abs(a) + abs(a)", "abs(a) + abs(b)", "abs(a) + 1")}
    assert nodes["abs(a) + abs(a)"] < nodes["abs(a) + 1"] < nodes["abs(a) + abs(b)"]
