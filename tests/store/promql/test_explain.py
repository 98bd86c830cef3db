"""Plans of queries, and what their nodes took."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from headrace.store.promql.errors import ParseError
from headrace.store.promql.evaluate import Evaluator, InvalidType
from headrace.store.promql.evaluation import Span
from headrace.testing.store_fakes import MemoryQueryable

if TYPE_CHECKING:
    from headrace.store.promql.explain import Plan

SPAN = Span(600_000, 1_200_000, 60_000)


@pytest.fixture
def evaluator() -> Evaluator:
    """Evaluate over ten series of 100 samples, of two jobs."""
    store = MemoryQueryable()
    for i in range(10):
        times = list(range(0, 1_500_000, 15_000))
        store.add({"__name__": "m_total", "i": str(i), "job": str(i % 2)}, times, [float(t) for t in times])
    return Evaluator(store)


def described(plan: Plan) -> list[str]:
    return list(plan.lines())


def test_an_aggregation_over_rows_is_pushed_down(evaluator: Evaluator) -> None:
    """The plan says what is pushed down, and what reading it takes; nothing is evaluated."""
    plan = evaluator.explain("sum by (job) (rate(m_total[5m])) > 1", SPAN, analyze=False)
    assert described(plan) == [
        ">",
        "├─ sum by (job)  [pushed down: 1 batches into 2 groups]",
        "│  └─ rate()  [one walk of each series]",
        "│     └─ m_total[5m]  [10 series, about 600 samples]",
        "└─ 1",
    ]
    assert {node.measured for node in plan.walk()} == {None}


def test_other_aggregations_are_gathered(evaluator: Evaluator) -> None:
    """What needs all rows at once is said to, and so is what is evaluated once."""
    lines = described(evaluator.explain("quantile(0.5, m_total) + max(m_total @ 900)", SPAN, analyze=False))
    assert lines[1].startswith("├─ quantile  [gathered]")
    assert "once for all steps" in next(line for line in lines if "max" in line)
    assert "as its parameter turns out" in described(
        evaluator.explain("topk(scalar(m_total), m_total)", SPAN, analyze=False)
    )[0]  # fmt: skip


def test_subqueries_look_at_steps_of_their_own(evaluator: Evaluator) -> None:
    """A selector in a subquery is asked for the times of its steps."""
    lines = described(evaluator.explain("max_over_time(m_total[5m:1m])", SPAN, analyze=False))
    assert lines[0] == "max_over_time()  [window by window]"
    assert lines[2] == "   └─ m_total  [10 series, about 760 samples]"


def test_analysis_measures_each_node(evaluator: Evaluator) -> None:
    """Samples, rows and bytes are those of the evaluation, and times add up."""
    plan = evaluator.explain("sum by (job) (rate(m_total[5m]))", SPAN, analyze=True)
    assert plan.measured is not None
    assert (plan.measured.times, plan.measured.series) == (1, 2)
    assert plan.measured.size_bytes == 2 * 11 * 9
    result = evaluator.range("sum by (job) (rate(m_total[5m]))", *SPAN)
    assert plan.measured.samples == result.statistics.total == 10 * 11 * 20
    rate = plan.below[0].measured
    assert rate is not None
    assert rate.series == 10
    assert 0 < rate.seconds < plan.measured.seconds


def test_faults_are_those_of_evaluation(evaluator: Evaluator) -> None:
    """What cannot be evaluated cannot be explained."""
    with pytest.raises(ParseError):
        evaluator.explain("sum(", SPAN, analyze=False)
    with pytest.raises(InvalidType):
        evaluator.explain("m_total[5m]", SPAN, analyze=False)
