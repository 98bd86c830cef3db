"""Computed durations: their values and what is refused once the times of a query are known."""

from __future__ import annotations

import pytest

from headrace.store.promql.errors import InvalidDuration
from headrace.store.promql.evaluation import Span
from headrace.store.promql.language.ast import Binary, MatrixSelector, Subquery, VectorSelector
from headrace.store.promql.language.durations import resolve
from headrace.store.promql.language.parser import ALL_FEATURES, parse

SPAN = Span(50_000, 60_000, 5000)


def resolved(query: str, span: Span = SPAN) -> object:
    """Parse and resolve."""
    return resolve(parse(query, ALL_FEATURES), span, query)


@pytest.mark.parametrize(
    ("duration", "ms"),
    [
        ("1h30m % 1h", 1_800_000), ("30m1s-30m1s % 1m", 1_800_000), ("2 ^ 3 ^ 2", 512_000), ("-5m+35m", 1_800_000),
        ("step()", 5000), ("range()", 10_000), ("1+(STep()-3)*2", 5000), ("max_of(min_of(step()+1,1h),1ms)", 6000),
        ("-(-5)", 5000), ("-2 ^ 2 + 10", 6000), ("1 / 3", 333), ("(7)", 7000), ("1.9999 * 1", 1999),
    ],
)  # fmt: skip
def test_ranges(duration: str, ms: int) -> None:
    """Arithmetic is in seconds and cut to milliseconds; unary minus binds looser than a power."""
    expr = resolved(f"a[{duration}]")
    assert isinstance(expr, MatrixSelector)
    assert (expr.range_ms, expr.range_expr) == (ms, None)


@pytest.mark.parametrize(
    ("offset", "ms"),
    [("-step()", -5000), ("(2 * -2)", -4000), ("range()", 10_000), ("+min_of(1, 2)", 1000), ("(0)", 0)],
)
def test_offsets(offset: str, ms: int) -> None:
    """An offset may be negative or nothing."""
    expr = resolved(f"a offset {offset}")
    assert isinstance(expr, VectorSelector)
    assert (expr.offset_ms, expr.offset_expr) == (ms, None)


def test_subqueries() -> None:
    """All three durations of a subquery, and those inside, are resolved."""
    expr = resolved("rate(a[step()])[range()*1:step()/5] offset -range()")
    assert isinstance(expr, Subquery)
    assert (expr.range_ms, expr.step_ms, expr.offset_ms) == (10_000, 1000, -10_000)
    assert "Expression" not in repr(expr)


def test_nothing_to_do() -> None:
    """A tree without computed durations is the same object afterwards."""
    expr = parse("sum by (a) (rate(b[5m:1m] offset 1h)) + -topk(1, c) > bool 2")
    assert resolve(expr, SPAN) is expr


def test_one_time() -> None:
    """At a single time, step and range are nothing."""
    expr = resolved("a offset range() + b offset step()", Span(50_000, 50_000, 0))
    assert isinstance(expr, Binary)
    assert isinstance(expr.lhs, VectorSelector)
    assert expr.lhs.offset_ms == 0


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("a[5 - 10]", "2:8: duration must be greater than 0"),
        ("a[step() - 5]", "2:12: duration must be greater than 0"),
        ("a[5 / (step() - 5)]", "2:17: division by zero"),
        ("a[5 % (0 * 1)]", "2:12: modulo by zero"),
        ("a[10 ^ 400]", "2:10: duration is NaN or infinite"),
        ("a[(-1) ^ 0.5]", "2:12: duration is NaN or infinite"),
        ("a offset (1y * 1000)", "10:19: duration is out of range"),
        ('{b="é"}[1 - 1]', "9:14: duration must be greater than 0"),
    ],
)
def test_refusals(query: str, why: str) -> None:
    """What cannot be a duration is refused with byte offsets of the expression."""
    with pytest.raises(InvalidDuration) as caught:
        resolved(query)
    assert str(caught.value) == why
