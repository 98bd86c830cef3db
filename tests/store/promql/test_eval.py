"""The evaluator's own behaviour: times, limits, cancellation, errors, annotations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.store.promql.errors import ExecutionError
from headrace.store.promql.evaluate import Evaluator, EvaluatorOptions, InvalidType
from headrace.store.promql.language.parser import ParserOptions
from headrace.store.promql.values import Ranges, Scalar, Text, Vector
from headrace.testing.store_fakes import MemoryQueryable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.store.labels import ColumnarSeries, QuerySymbols
    from headrace.store.matchers import Matcher
    from headrace.store.promql.evaluate import Result

EXPERIMENTAL = ParserOptions(experimental_functions=True)


class Counting(MemoryQueryable):
    """Remembers what was selected."""

    def __init__(self) -> None:
        super().__init__()
        self.windows: list[tuple[int, int]] = []

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, symbols: QuerySymbols | None = None
    ) -> ColumnarSeries:
        self.windows.append((start_ms, end_ms))
        return super().select(matchers, start_ms, end_ms, symbols)


@pytest.fixture
def store() -> Counting:
    return Counting()


def add(store: MemoryQueryable, name: str, samples: Mapping[int, float], **labels: str) -> None:
    """Add a series from values by second."""
    store.add({"__name__": name, **labels}, [t * 1000 for t in samples], list(samples.values()))


def rows(result: Result) -> dict[str, list[float | None]]:
    """Return the values at each step by labels; None where there is none."""
    assert isinstance(result.value, Vector)
    vector = result.value
    return {
        ",".join(f"{k}={v}" for k, v in vector.labels.labels(row).items()): [
            v if there else None
            for v, there in zip(vector.values[row].tolist(), vector.present[row].tolist(), strict=True)
        ]
        for row in range(len(vector))
    }


def test_lookback_does_not_reach_its_own_beginning(store: Counting) -> None:
    """A sample exactly as old as the lookback is gone; a millisecond younger it is there."""
    add(store, "m", {100: 1.0})
    evaluator = Evaluator(store)
    assert rows(evaluator.instant("m", 399_999)) == {"__name__=m": [1.0]}
    assert rows(evaluator.instant("m", 400_000)) == {}
    assert rows(evaluator.instant("m", 109_999, lookback_ms=10_000)) == {"__name__=m": [1.0]}
    assert rows(evaluator.instant("m", 110_000, lookback_ms=10_000)) == {}


def test_nan_is_a_value_and_not_an_absence(store: Counting) -> None:
    """A NaN sample is answered and counted."""
    add(store, "m", {0: math.nan})
    (value,) = rows(Evaluator(store).instant("m", 0))["__name__=m"]
    assert value is not None
    assert math.isnan(value)
    assert rows(Evaluator(store).instant("count(m)", 0)) == {"": [1.0]}


def test_end_is_the_end_of_the_query_even_between_steps(store: Counting) -> None:
    """``@ end()`` looks at the time that was asked for, not at the last step."""
    add(store, "m", {0: 0.0, 10: 10.0, 15: 15.0})
    assert rows(Evaluator(store).range("m @ end()", 0, 15_000, 10_000)) == {"__name__=m": [15.0, 15.0]}
    assert rows(Evaluator(store).range("m @ start()", 10_000, 15_000, 5_000)) == {"__name__=m": [10.0, 10.0]}


def test_what_no_step_changes_is_selected_for_one_time(store: Counting) -> None:
    """A pinned selector reads one window however long the query is."""
    add(store, "m_total", {t: float(t) for t in range(100)})
    result = rows(Evaluator(store).range("sum(rate(m_total[10s] @ 50))", 0, 3_600_000, 1_000))
    assert result == {"": [1.0] * 3601}
    assert store.windows == [(40_001, 50_000)]


def test_equal_selectors_are_selected_once(store: Counting) -> None:
    """Both operands read the same samples."""
    add(store, "m", {0: 2.0})
    assert rows(Evaluator(store).instant("m * m", 0)) == {"": [4.0]}
    assert len(store.windows) == 1


def test_a_subquery_has_its_steps_at_multiples(store: Counting) -> None:
    """The first step is after the beginning of the window; steps count from 1970, before it too."""
    evaluator = Evaluator(store)
    found = evaluator.instant("vector(time())[25s:10s]", 23_000).value
    assert isinstance(found, Ranges)
    assert found.times_ms.tolist() == [0, 10_000, 20_000]
    found = evaluator.instant("vector(time())[25s:10s]", -3_000).value
    assert isinstance(found, Ranges)
    assert found.times_ms.tolist() == [-20_000, -10_000]


def test_a_subquery_without_steps_evaluates_nothing(store: Counting) -> None:
    """A window between two multiples is empty, and what would fail in it does not."""
    add(store, "m", {0: 1.0})
    query = "count_over_time((m * on() group_left(x) label_replace(m, 'x', 'y', 'z', '('))[5s:1m])"
    assert rows(Evaluator(store).range(query, 30_000, 50_000, 5_000)) == {}
    assert rows(Evaluator(store).range("sum_over_time(m[5s:1m] @ 30)", 0, 10_000, 5_000)) == {}
    assert rows(Evaluator(store).instant("absent_over_time(m[5s:1m] @ 30)", 0)) == {"": [1.0]}


def test_series_that_follow_each_other_become_one_without_their_names(store: Counting) -> None:
    """Dropped names join series that are never there together; together they are an error."""
    add(store, "a", {0: 1.0})
    add(store, "b", {600: 2.0})
    query = "{__name__=~'a|b'} * 10"
    assert rows(Evaluator(store).range(query, 0, 600_000, 300_000)) == {"": [10.0, None, 20.0]}
    add(store, "b", {0: 2.0})
    with pytest.raises(ExecutionError, match=r"^vector cannot contain metrics with the same labelset$"):
        Evaluator(store).range(query, 0, 600_000, 300_000)


def test_functions_of_ranges_do_not_join_series(store: Counting) -> None:
    """Two names of the same labels are an error even where they are never there together."""
    add(store, "a", {0: 1.0})
    add(store, "b", {600: 2.0})
    with pytest.raises(ExecutionError, match=r"^vector cannot contain metrics with the same labelset$"):
        Evaluator(store).range("max_over_time({__name__=~'a|b'}[1m])", 0, 600_000, 300_000)
    assert rows(Evaluator(store).range("max_over_time({__name__=~'a|b'}[1m])", 0, 60_000, 30_000)) == {
        "": [1.0, 1.0, None]
    }


def test_duplicates_are_no_error_while_the_other_side_is_empty(store: Counting) -> None:
    """Matching is looked at step by step."""
    add(store, "one", {0: 1.0}, x="1")
    add(store, "one", {0: 1.0}, x="2")
    add(store, "many", {600: 1.0})
    assert rows(Evaluator(store).range("many * on() one", 0, 600_000, 600_000)) == {}
    add(store, "many", {0: 1.0})
    with pytest.raises(ExecutionError) as error:
        Evaluator(store).instant("many * on() one", 0)
    assert str(error.value) == (
        "found duplicate series for the match group {} on the right hand-side of the operation: "
        '[{__name__="one", x="1"}, {__name__="one", x="2"}];many-to-many matching not allowed: '
        "matching labels must be unique on one side"
    )


def test_scalar_keeps_the_sign_of_zero(store: Counting) -> None:
    """``scalar()`` hands the value on as it is."""
    add(store, "m", {0: -0.0})
    value = Evaluator(store).instant("scalar(m)", 0).value
    assert isinstance(value, Scalar)
    assert math.copysign(1, value.values[0]) == -1


def test_choices_go_by_the_order_of_a_heap(store: Counting) -> None:
    """Of an only step, the first series of ``limitk`` is the smallest one, and an outer choice takes that."""
    for i, value in enumerate([30.0, -34.0, 7.0, -40.0]):
        add(store, "g", {0: value}, i=str(i))
    evaluator = Evaluator(store, EvaluatorOptions(parser=EXPERIMENTAL))
    chosen = rows(evaluator.instant("limitk(1, limitk(7, g))", 0))
    assert chosen == {"__name__=g,i=3": [-40.0]}
    chosen = rows(evaluator.instant("limitk(2, limit_ratio(1, g))", 0))
    assert chosen == {"__name__=g,i=3": [-40.0], "__name__=g,i=1": [-34.0]}


def test_strings_are_answered(store: Counting) -> None:
    """A string is its own value."""
    assert Evaluator(store).instant("'a\\tb'", 0).value == Text("a\tb")


def test_a_range_query_yields_no_ranges(store: Counting) -> None:
    """Neither range vectors nor strings have a value at each step."""
    with pytest.raises(InvalidType, match='"range vector" for range query'):
        Evaluator(store).range("m[5m]", 0, 1000, 1000)


def test_without_start_timestamps_none_is_told(store: Counting) -> None:
    """The function is there, and yields nothing unless the switch is on."""
    store.add({"__name__": "m"}, [0], [1.0], [-5000])
    for on, wanted in ((False, {}), (True, {"": [-5.0]})):
        options = EvaluatorOptions(parser=EXPERIMENTAL, start_timestamps=on)
        assert rows(Evaluator(store, options).instant("start_timestamp(m)", 0)) == wanted


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("m", id="points of a selector"),
        pytest.param("m @ 0", id="points of a pinned selector"),
        pytest.param("count_over_time(m[1s])", id="points of windows"),
        pytest.param("sum_over_time(vector(1)[1y:1ms])", id="steps of a subquery"),
        pytest.param("count_values('v', m)", id="values counted"),
    ],
)
def test_too_many_points_are_refused(store: Counting, query: str) -> None:
    """What would not fit is refused before it is computed."""
    for i in range(10):
        add(store, "m", {0: float(i)}, i=str(i))
    evaluator = Evaluator(store, EvaluatorOptions(max_samples=99))
    with pytest.raises(ExecutionError, match=r"^query processing would load too many samples into memory"):
        evaluator.range(query, 0, 9_000, 1_000)
    assert rows(Evaluator(store, EvaluatorOptions(max_samples=100)).range("count(m)", 0, 9_000, 1_000))


def test_operands_that_wait_count(store: Counting) -> None:
    """Left operands are in memory while the right ones are evaluated, however deep."""
    add(store, "a", {0: 1.0})
    nested = "a * 1" + " + (a * 2" * 20 + ")" * 20
    few, many = (Evaluator(store, EvaluatorOptions(max_samples=points)) for points in (100, 300))
    assert rows(many.range(nested, 0, 9_000, 1_000)) == {"": [41.0] * 10}
    with pytest.raises(ExecutionError, match="too many samples"):
        few.range(nested, 0, 9_000, 1_000)


@pytest.mark.parametrize(
    "call",
    ["label_join({}, 'x', ',', 'x', 'x', 'i')", "label_replace({}, 'x', '$1$1', 'x', '(.*)')"],
    ids=["join", "replace"],
)
def test_values_of_labels_do_not_grow_without_bound(store: Counting, call: str) -> None:
    """Functions that double a label, one inside the other, are refused before the memory is taken."""
    add(store, "a", {0: 1.0}, i="0", x="0")
    query = "a"
    for _ in range(10):
        query = call.format(query)
    assert len(rows(Evaluator(store).instant(query, 0))) == 1
    for _ in range(80):
        query = call.format(query)
    with pytest.raises(ExecutionError, match=r"^label values are too long in label_(join|replace)\(\)$"):
        Evaluator(store).instant(query, 0)


def test_times_beyond_all_others_have_no_samples(store: Counting) -> None:
    """A time of ``@`` that Prometheus takes, but that is no number of milliseconds, selects nothing."""
    add(store, "a", {0: 1.0})
    for query in ("a @ 9e18", "a @ -9e18", "rate(a[5m] @ 1e18 offset -1m)", "max_over_time(a[5m:1m] @ -1e17)"):
        assert rows(Evaluator(store).instant(query, 0)) == {}
        assert rows(Evaluator(store).range(query, 0, 60_000, 30_000)) == {}


def test_too_many_pairs_are_refused(store: Counting) -> None:
    """Series that come and go on the one side make pairs, and these are limited as well."""
    for i in range(10):
        add(store, "many", {0: 1.0}, i=str(i))
        add(store, "one", {i * 400: 1.0}, i=str(i))
    evaluator = Evaluator(store, EvaluatorOptions(max_samples=99, lookback_ms=1000))
    assert rows(evaluator.instant("many * on() group_left one", 0))
    with pytest.raises(ExecutionError, match="too many samples"):
        evaluator.range("count(many * on() group_left one)", 0, 3_600_000, 400_000)


def test_samples_are_counted(store: Counting) -> None:
    """The result says how many samples were selected."""
    add(store, "m", {0: 1.0, 10: 2.0})
    assert Evaluator(store).instant("sum_over_time(m[1m]) + sum_over_time(m[1m])", 20_000).samples == 2


def test_check_ends_a_query(store: Counting) -> None:
    """It is called at every node, and what it raises comes through."""
    add(store, "m", {0: 1.0})
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        Evaluator(store).instant("-(sum(m) + sum(m) + sum(m))", 0, check=check)
    assert calls == 5


@pytest.mark.parametrize(
    ("query", "notes"),
    [
        (
            "rate(gauge[5m])",
            [
                (
                    "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "
                    '"gauge" (1:6)'
                )
            ],
        ),
        (
            "rate((gauge)[5m:10s])",
            [
                (
                    "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "
                    '"gauge" (1:1)'
                )
            ],
        ),
        ("rate((gauge * 1)[5m:10s])", []),
        ("irate(gauge[5m])", []),
        ("rate(nosuch[5m])", []),
        (
            "quantile(7e6, nosuch)",
            ["PromQL warning: quantile value should be between 0 and 1, got 7e+06 (1:10)"],
        ),
        (
            "limit_ratio(-1.5, gauge)",
            ["PromQL warning: ratio value should be between -1 and 1, got -1.5, capping to -1 (1:13)"],
        ),
        (
            "histogram_quantile(0.5, h)",
            [
                (
                    "PromQL info: input to histogram_quantile needed to be fixed for monotonicity "
                    "(see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile), "
                    "from buckets 2 to 2, with a max diff of 3, over 1 samples from 1970-01-01T00:00:30Z to "
                    "1970-01-01T00:00:30Z (1:25)"
                )
            ],
        ),
        (
            "histogram_quantile(0.5, gauge)",
            ['PromQL warning: bucket label "le" is missing or has a malformed value of "" (1:25)'],
        ),
    ],
)
def test_annotations_are_worded_as_prometheus_does(store: Counting, query: str, notes: list[str]) -> None:
    """Warnings and infos name the place in the query."""
    add(store, "gauge", {0: 1.0, 10: 2.0, 20: 3.0})
    for le, count in (("1", 5.0), ("2", 2.0), ("+Inf", 6.0)):
        add(store, "h", {0: count}, le=le)
    result = Evaluator(store, EvaluatorOptions(parser=EXPERIMENTAL)).instant(query, 30_000)
    assert [*result.warnings, *result.infos] == notes


def test_an_annotation_is_told_once(store: Counting) -> None:
    """Of equal ones the place of the last is given."""
    result = Evaluator(store).instant("quantile(2, m) + quantile(2, m)", 0)
    assert result.warnings == ["PromQL warning: quantile value should be between 0 and 1, got 2 (1:27)"]


def test_sort_warns_in_a_range_query(store: Counting) -> None:
    """Its result would be sorted by labels anyway."""
    result = Evaluator(store).range("sort(m)", 0, 1000, 1000)
    assert result.warnings == [
        "PromQL warning: sort is ineffective for range queries since results are always ordered by labels (1:1)"
    ]
    assert not Evaluator(store).instant("sort(m)", 0).warnings


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("topk(NaN, nosuch)", "Parameter value is NaN"),
        ("limitk(1e30, nosuch)", "Scalar value 1e+30 overflows int64"),
        ("limit_ratio(NaN, nosuch)", "Ratio value is NaN"),
        ("label_replace(m, 'x', '$1', 'y', '(')", "invalid regular expression in label_replace(): ("),
        ("double_exponential_smoothing(m[1m], 0.5, 2)", "invalid trend factor. Expected: 0 < tf < 1, got: 2.000000"),
    ],
)
def test_errors_are_worded_as_prometheus_does(store: Counting, query: str, why: str) -> None:
    """Parameters are looked at even where there is no data, but for those of ranges."""
    add(store, "m", {0: 1.0, 10: 1.0})
    with pytest.raises(ExecutionError) as error:
        Evaluator(store, EvaluatorOptions(parser=EXPERIMENTAL)).instant(query, 20_000)
    assert str(error.value) == why


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("min_of(1, NaN)", math.nan),
        ("min_of(-Inf, NaN)", -math.inf),
        ("max_of(Inf, NaN)", math.inf),
        ("max_of(-0, 0)", 0.0),
        ("-5 % 3", -2.0),
        ("-8 ^ (1/3)", -1.9999999999999998),
        ("(-8) ^ (1/3)", math.nan),
        ("1 / 0", math.inf),
        ("0 / 0", math.nan),
        ("2 ^ 3 ^ 2", 512.0),
    ],
)
def test_arithmetic_is_that_of_go(store: Counting, query: str, wanted: float) -> None:
    """NaN, infinities, signs and precedence."""
    value = Evaluator(store, EvaluatorOptions(parser=EXPERIMENTAL)).instant(query, 0).value
    assert isinstance(value, Scalar)
    assert np.array_equal(value.values, [wanted], equal_nan=True)


def test_range_functions_of_the_query_itself(store: Counting) -> None:
    """``start``, ``end``, ``step`` and ``range`` are the same at all steps."""
    evaluator = Evaluator(store, EvaluatorOptions(parser=EXPERIMENTAL))
    query = "start() + 1000 * end() + 1e6 * step() + 1e9 * range()"
    assert rows(evaluator.range(query, 10_000, 35_000, 10_000)) == {"": [25_010_035_010.0] * 3}


def test_parts_that_are_written_twice_are_evaluated_once(store: Counting) -> None:
    """The answer, the counts of samples and the places of annotations are those of each by itself."""
    for i in range(3):
        add(store, "m", {t: float(t * i) for t in range(0, 300, 15)}, i=str(i))
    add(store, "n", dict.fromkeys(range(0, 300, 15), 1.0))
    part = "quantile(0.5, m + 0)"
    nodes: list[int] = [0, 0]

    def count(which: int) -> None:
        nodes[which] += 1

    once = Evaluator(store).range(part, 60_000, 240_000, 60_000, check=lambda: count(0))
    twice = Evaluator(store).range(f"{part} + {part}", 60_000, 240_000, 60_000, check=lambda: count(1))
    assert nodes[1] == nodes[0] + 1
    assert rows(twice)[""] == [2 * value for value in rows(once)[""] if value is not None]
    assert twice.statistics.total == 2 * once.statistics.total
    assert twice.statistics.per_step.tolist() == (2 * once.statistics.per_step).tolist()
    noted = Evaluator(store).instant("sum(rate(n[1m])) + max(n) + sum(rate(n[1m]))", 240_000)
    assert [text.rpartition(" ")[2] for text in noted.infos] == ["(1:38)"]


def test_parts_at_other_times_are_not_the_same(store: Counting) -> None:
    """A part in a subquery has the steps of the subquery."""
    add(store, "m", {t: float(t) for t in range(0, 600, 15)})
    query = "max_over_time(sum(m)[2m:30s]) - sum(m)"
    assert rows(Evaluator(store).range(query, 300_000, 480_000, 60_000))[""] == [0.0] * 4
    assert rows(Evaluator(store).instant("sum(m) - sum(m offset 1m) + sum(m)", 300_000))[""] == [360.0]
