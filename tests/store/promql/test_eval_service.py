"""The evaluator behind the HTTP API: kinds, JSON, limits and error types."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.store.api import promql
from headrace.store.api.backend import Answer, QueryOptions
from headrace.store.api.errors import ApiError
from headrace.store.api.promql import PromQLService
from headrace.store.api.ticket import Ticket
from headrace.store.promql.evaluate import EvaluatorOptions
from headrace.testing.store_fakes import MemoryQueryable

TIMINGS = {
    "evalTotalTime",
    "resultSortTime",
    "queryPreparationTime",
    "innerEvalTime",
    "execQueueTime",
    "execTotalTime",
}


@pytest.fixture
def service() -> PromQLService:
    store = MemoryQueryable()
    for job, value in (("b", 2.0), ("a", 3.0), ("c", 1.0)):
        store.add({"__name__": "m", "job": job}, [0, 10_000, 20_000], [value, value + 10, value + 20])
    store.add({"__name__": "bad"}, [0], [float("inf")])
    return PromQLService(store, EvaluatorOptions(max_samples=50))


def options(limit: int = 0) -> QueryOptions:
    return QueryOptions(Ticket(60.0), limit)


def instant(service: PromQLService, query: str, limit: int = 0) -> tuple[str, Any, list[str]]:
    answer = service.instant(query, 20_000, options(limit))
    return answer.kind, json.loads(answer.result), list(answer.warnings)


def test_kinds(service: PromQLService) -> None:
    """Each kind of result has its own JSON."""
    assert instant(service, "1 + 1") == ("scalar", [20, "2"], [])
    assert instant(service, "'x'") == ("string", [20, "x"], [])
    assert instant(service, "bad") == (
        "vector",
        [{"metric": {"__name__": "bad"}, "value": [20, "+Inf"]}],
        [],
    )
    assert instant(service, "m{job='a'}[15s]") == (
        "matrix",
        [{"metric": {"__name__": "m", "job": "a"}, "values": [[10, "13"], [20, "23"]]}],
        [],
    )


def test_queries_are_explained(service: PromQLService) -> None:
    """The plan is a string, with what it took where that is asked for; faults are those of the query."""

    def lines(answer: Answer) -> list[str]:
        assert answer.kind == "string"
        return str(json.loads(answer.result)[1]).split("\n")

    plan = QueryOptions(Ticket(60.0), explain="plan")
    analyze = QueryOptions(Ticket(60.0), explain="analyze")
    assert lines(service.instant("sum(m)", 20_000, plan)) == [
        "sum  [pushed down: 1 batches into 1 groups]",
        "└─ m  [3 series, about 9 samples]",
    ]
    assert " 3 samples looked at" in lines(service.instant("sum(m)", 20_000, analyze))[0]
    assert " 9 samples looked at" in lines(service.range("sum(m)", 0, 20_000, 10_000, analyze))[0]
    with pytest.raises(ApiError, match="unclosed left parenthesis") as found:
        service.instant("sum(m", 20_000, plan)
    assert found.value.kind == "bad_data"


def test_a_range_query_yields_a_matrix_in_order_of_labels(service: PromQLService) -> None:
    """Scalars become a series without labels."""
    answer = service.range("m > 2", 0, 10_000, 10_000, options())
    assert answer.kind == "matrix"
    assert [(row["metric"]["job"], row["values"]) for row in json.loads(answer.result)] == [
        ("a", [[0, "3"], [10, "13"]]),
        ("b", [[10, "12"]]),
        ("c", [[10, "11"]]),
    ]
    assert json.loads(service.range("time()", 0, 1000, 500, options()).result) == [
        {"metric": {}, "values": [[0, "0"], [0.5, "0.5"], [1, "1"]]}
    ]


def test_only_sorted_vectors_are_not_in_order_of_labels(service: PromQLService) -> None:
    """``sort`` and ``topk`` decide the order, else labels do."""
    for query, wanted in (("m", "abc"), ("sort(m)", "cba"), ("sort_desc(m)", "abc"), ("bottomk(2, m)", "cb")):
        found = instant(service, query)[1]
        assert "".join(row["metric"]["job"] for row in found) == wanted


@pytest.mark.parametrize("query", ["m", "m[1m]", "sort(m)"])
def test_series_beyond_the_limit_are_left_out_with_a_warning(service: PromQLService, query: str) -> None:
    """The limit is of series."""
    _kind, found, warnings = instant(service, query, 2)
    assert len(found) == 2
    assert warnings == ["results truncated due to limit"]
    assert instant(service, query, 3)[2] == []


@pytest.mark.parametrize(
    ("query", "kind", "text"),
    [
        ("sum(", "bad_data", 'invalid parameter "query": 1:5: parse error: '),
        ("m * on(x) m", "execution", "found duplicate series for the match group {} on the right hand-side"),
        ("m[1h:1s]", "execution", "query processing would load too many samples into memory in query execution"),
    ],
)
def test_errors_have_the_types_of_prometheus(service: PromQLService, query: str, kind: str, text: str) -> None:
    """What cannot be parsed is bad data; what fails on the data is an execution error."""
    with pytest.raises(ApiError) as error:
        service.instant(query, 20_000, options())
    assert (error.value.kind, str(error.value)[: len(text)]) == (kind, text)


def test_a_range_query_of_a_range_is_bad_data(service: PromQLService) -> None:
    """It is told before anything runs."""
    with pytest.raises(ApiError, match=r'^invalid parameter "query": invalid expression type "range vector"') as error:
        service.range("m[5m]", 0, 1000, 1000, options())
    assert error.value.kind == "bad_data"


def test_a_cancelled_query_ends(service: PromQLService) -> None:
    """The ticket is asked while the query runs."""
    ticket = Ticket(60.0)
    ticket.cancel()
    with pytest.raises(ApiError) as error:
        service.instant("m", 0, QueryOptions(ticket))
    assert error.value.kind == "canceled"
    with pytest.raises(ApiError) as error:
        service.instant("m", 0, QueryOptions(Ticket(-1.0)))
    assert (error.value.kind, str(error.value)) == ("timeout", "query timed out in expression evaluation")


def test_statistics(service: PromQLService) -> None:
    """Samples and seconds, by the names of the API."""
    assert not service.instant("m", 20_000, options()).stats
    stats = service.instant("m", 20_000, QueryOptions(Ticket(60.0), statistics="all")).stats
    assert set(stats["samples"]) == {"totalQueryableSamples", "peakSamples"}
    assert set(stats["timings"]) == TIMINGS
    assert stats["timings"]["evalTotalTime"] >= stats["timings"]["innerEvalTime"] > 0


def test_statistics_of_each_step() -> None:
    """They are told where the option is on and somebody asks for all."""
    store = MemoryQueryable()
    store.add({"__name__": "m"}, [0, 10_000], [1.0, 2.0])
    service = PromQLService(store, EvaluatorOptions(per_step_statistics=True))
    asked = service.range("m", 500, 20_500, 10_000, QueryOptions(Ticket(60.0), statistics="all")).stats["samples"]
    some = service.range("m", 500, 20_500, 10_000, QueryOptions(Ticket(60.0), statistics="true")).stats["samples"]
    assert [time for time, _ in asked["totalQueryableSamplesPerStep"]] == [0.5, 10.5, 20.5]
    assert "totalQueryableSamplesPerStep" not in some


def test_a_long_answer_is_written_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its beginning and what follows are the answer that a short one would be."""
    store = MemoryQueryable()
    store.add({"__name__": "m"}, [0], [1.0])
    service = PromQLService(store, EvaluatorOptions())
    whole = service.range("m", 0, 299_000, 100, options())
    monkeypatch.setattr(promql, "_WRITTEN_AT_ONCE_BYTES", 10)
    begun = service.range("m", 0, 299_000, 100, options())
    assert whole.rest is None
    assert begun.rest is not None
    assert len(begun.result) < len(whole.result)
    assert begun.result + b"".join(begun.rest) == whole.result
