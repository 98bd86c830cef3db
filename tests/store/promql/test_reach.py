"""What the steps of queries depend on."""

from __future__ import annotations

import pytest

from headrace.store.promql.evaluation import Span
from headrace.store.promql.language.parser import ParserOptions, parse
from headrace.store.promql.reach import NEVER, Reach, reach_of

SPAN = Span(1_000_000, 2_000_000, 1000)
LANGUAGE = ParserOptions(experimental_functions=True)


@pytest.mark.parametrize(
    ("query", "reach"),
    [
        ("m", Reach(0)),
        ("1 + time()", Reach()),
        ("m offset 5s", Reach(-5000)),
        ("m offset -5s", Reach(5000)),
        ("rate(m[5m]) + m offset 1s", Reach(0)),
        ("rate(m[5m] offset 1m)", Reach(-60_000)),
        ("m @ 10", Reach(NEVER, 10_000)),
        ("m @ 10 offset -5s", Reach(NEVER, 15_000)),
        ("m @ end()", Reach(NEVER, 2_000_000, bounded=True)),
        ("m @ start() offset 1s + n", Reach(0, 999_000, bounded=True)),
        ("max_over_time(m[1h:1m])", Reach(0)),
        ("max_over_time((m offset -5s)[1h:1m] offset 3s)", Reach(2000)),
        ("max_over_time(m[1h:1m] @ 50)", Reach(NEVER, 50_000)),
        ("max_over_time((m offset 1s)[1h:1m] @ 50)", Reach(NEVER, 49_000)),
        ("max_over_time((m @ 60)[1h:1m] @ 50)", Reach(NEVER, 60_000)),
        ("topk(scalar(m offset -1s), n)", Reach(1000)),
        ("topk(3, n @ 10)", Reach(NEVER, 10_000)),
        ("topk(scalar(m), n @ 10)", Reach(0, 10_000, bounded=True)),
        ("topk(scalar(m @ 10), n)", Reach(0, 10_000, bounded=True)),
        ("rate({job='a'}[5m])", Reach(0, bounded=True)),
        ("last_over_time({job='a'}[5m])", Reach(0)),
        ("abs({job='a'})", Reach(0)),
        ("rate(m[5m]) or {job='a'}", Reach(0)),
        ("max_over_time((m or n)[5m:1m])", Reach(0, bounded=True)),
        ("max_over_time((sum by (job) (m) / sum by (job) (n))[5m:1m])", Reach(0)),
        ("max_over_time(rate(m[1m])[5m:1m])", Reach(0)),
        ("max_over_time(sum by (__name__) (m)[5m:1m])", Reach(0, bounded=True)),
        ("max_over_time(topk(1, {job='a'})[5m:1m])", Reach(0, bounded=True)),
        ("max_over_time((m > 1)[5m:1m])", Reach(0)),
        ("max_over_time(({job='a'} > bool 1)[5m:1m])", Reach(0)),
        ("max_over_time(label_replace(m, '__name__', 'x', '', '')[5m:1m])", Reach(0, bounded=True)),
        ("info(m)", Reach(300_000, 2_000_000, bounded=True)),
    ],
)
def test_reach(query: str, reach: Reach) -> None:
    """Offsets move it, @ pins it, and the bounds of the query may be part of it."""
    assert reach_of(parse(query, LANGUAGE), SPAN, 300_000) == reach


def test_the_newest_time_a_step_depends_on() -> None:
    """The later of what moves with it and what does not."""
    assert Reach(-5000, 20_000).newest_ms(30_000) == 25_000
    assert Reach(-5000, 20_000).newest_ms(10_000) == 20_000
    assert Reach().newest_ms(10_000) == NEVER
