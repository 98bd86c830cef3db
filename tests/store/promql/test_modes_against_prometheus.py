"""Names removed at once and at the end, and samples counted, as a real Prometheus does.

What is asked are the cases of semantics that random expressions seldom meet: names on their way through operators and
functions, times that are pinned and moved, parameters of aggregations, subqueries in subqueries.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from promql_fuzz import data, otherwise
from promql_fuzz.cases import given
from promql_fuzz.pair import Pair
from running import Programs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.peer

BOTH = "{__name__=~'limit|small'}"
COUNTERS = "{__name__=~'c_total|one'}"

QUERIES = [
    # Names.
    f"abs({BOTH})",
    f"-{BOTH}",
    f"timestamp({BOTH})",
    f"clamp_min({BOTH}, 3)",
    f"sum by (__name__) (abs({BOTH}))",
    f"sum by (__name__, job) (rate({COUNTERS}[5m]))",
    f"sum(sum by (__name__) (abs({BOTH})))",
    f"count without (instance, env) ({BOTH})",
    # Which of equal ones is chosen in ranges, chance decides there.
    f"count(topk(1, abs({BOTH})))",
    f"count_values by (__name__) ('v', abs({BOTH}))",
    f"label_replace(rate({COUNTERS}[5m]), 'n', '$1', '__name__', '(.*)')",
    f"label_replace(rate({COUNTERS}[5m]), '__name__', 'rate_$1', '__name__', '(.*)')",
    f"label_replace(rate({COUNTERS}[5m]), '__name__', 'x', 'job', 'a')",
    f"label_join(rate({COUNTERS}[5m]), '__name__', '_', '__name__', 'job')",
    "abs(g) == on (job, instance) abs(small)",
    "abs(g) > bool 1",
    "abs(g) >= bool on (job, instance) small",
    "abs(g) >= on (job, instance) group_left limit",
    "-small or limit",
    "limit or -small",
    "(small > bool 1) or limit",
    "g * on (__name__, job, instance) abs(g)",
    "rate(c_total[5m]) * on (__name__, job, instance, code) c_total",
    "group by (__name__) (c_total) == on (__name__) group by (__name__) (c_total)",
    f"sort(abs({BOTH}))",
    f"max_over_time(abs({BOTH})[5m:30s])",
    "abs(small)[5m:30s]",
    "absent(abs(nosuch))",
    # Times.
    "timestamp(small @ 600)",
    "timestamp(small @ 600 offset 1m)",
    "timestamp(small @ 600 offset -1m)",
    "timestamp(small @ end() offset 7m)",
    "timestamp(-(small @ 600))",
    "small @ 600 + small",
    "sum(rate(c_total[1m] @ 600)) / 2",
    "sum_over_time(sum(rate(c_total[1m] @ 900))[5m:1m])",
    "sum_over_time((c_total @ 900)[5m:1m])",
    "max_over_time(max_over_time(small[1m:10s])[5m:1m])",
    "max_over_time(max_over_time(small[1m:10s] offset 1m)[5m:1m] offset 30s)",
    "max_over_time(max_over_time(small[1m:10s] @ 900)[5m:1m])",
    "max_over_time(max_over_time(small[1m:10s])[5m:1m] @ 900)",
    "max_over_time(max_over_time((small @ 900 offset 1m)[1m:10s] @ 600 offset 2m)[5m:1m] @ 700)",
    "predict_linear(small[5m] @ 900 offset 1m, 60)",
    "predict_linear(small[5m:1m] @ 900, 60)",
    "absent_over_time(small[5m] @ 600)",
    "absent_over_time(small{job='nosuch'}[5m:1m] @ 900)",
    "rate(c_total[1m:5s] @ 900 offset -1m)",
    "c_total[3m] @ 600 offset 1m",
    "c_total[3m:33s] @ 600 offset 1m",
    "hour(small @ 600) + minute()",
    # Parameters.
    "topk(scalar(count(small > 0)), c_total)",
    "topk(scalar(count(small > 0)), c_total @ 600)",
    "topk(scalar(limit{job='a'} @ 600) / 5, c_total)",
    "topk(scalar(count(c_total @ start())), c_total)",
    "quantile(scalar(count(small > 0)) / 10, c_total @ 600)",
    "quantile_over_time(scalar(count(small > 0)) / 10, small[5m] @ 600)",
    "bottomk(2, c_total @ end())",
    "count_values without (job) ('job', limit)",
    "count_values('x', round(small @ 600))",
    # Others.
    "double_exponential_smoothing(nosuch[5m], 3, 0.6)",
    "double_exponential_smoothing(small[5m], NaN, 0.6)",
    "quantile_over_time(2, nosuch[5m])",
    "sum_over_time(sort(small)[5m:1m])",
    "year(g / 0)",
    "hour(vector(NaN)) + minute(vector(-1e300))",
    "rate(g[5m]) + rate(small[5m]) + increase((g[1m]))",
]

TIMES = [(0,), (601_000,), (1_195_500,), (-60_000,), (0, 1_200_000, 60_000), (290_000, 900_000, 37_000)]


@pytest.fixture(scope="module", params=[False, True], ids=["at_once", "late"])
def pair(request: pytest.FixtureRequest, peers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("modes")
    with Programs(folder) as programs:
        both = Pair(programs, peers, folder, data.make(random.Random(5)), delayed=request.param)
        yield both
        both.close()


@pytest.mark.parametrize("query", QUERIES)
def test_answers_and_samples_are_those_of_prometheus(query: str, pair: Pair) -> None:
    """Points, labels, errors, annotations and the samples of each step are equal, save for what is newer."""
    found = []
    for times in TIMES:
        answers = pair.ask(given(query, *times))
        if answers.difference is not None and otherwise.reason(pair, answers) is None:
            found.append(f"{times}: {answers.difference}")
    assert not found
