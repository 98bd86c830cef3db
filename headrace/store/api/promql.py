"""The API's `QueryService` over the evaluator."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from headrace.pipeline.errors import QueryError
from headrace.store.api.backend import Answer
from headrace.store.api.errors import ApiError
from headrace.store.api.result_json import gathered, pieces_of
from headrace.store.promql.errors import ParseError
from headrace.store.promql.evaluate import Evaluator, EvaluatorOptions, InvalidType

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.store.api.backend import QueryOptions
    from headrace.store.promql.evaluate import Result, Source

_WHERE = "expression evaluation"
_TRUNCATED = "results truncated due to limit"
_WRITTEN_AT_ONCE_BYTES = 512 * 1024


class PromQLService:
    """Answers queries over one workspace.

    Args:
        source: Its engine.
        options: Limits and defaults.
    """

    def __init__(self, source: Source, options: EvaluatorOptions) -> None:
        self._evaluator = Evaluator(source, options)
        self._per_step = options.per_step_statistics

    def instant(self, query: str, time_ms: int, options: QueryOptions) -> Answer:
        """Evaluate at one time."""
        return self._answer(
            options,
            lambda check: self._evaluator.instant(query, time_ms, lookback_ms=options.lookback_ms, check=check),
        )

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int, options: QueryOptions) -> Answer:
        """Evaluate at each step."""
        return self._answer(
            options,
            lambda check: self._evaluator.range(
                query, start_ms, end_ms, step_ms, lookback_ms=options.lookback_ms, check=check
            ),
        )

    def _answer(self, options: QueryOptions, evaluate: Callable[[Callable[[], None]], Result]) -> Answer:
        started_s = time.perf_counter()
        result = evaluated(options, evaluate)
        evaluated_s = time.perf_counter() - started_s
        answer = answered(result, options.limit)
        if options.statistics:
            written_s = time.perf_counter() - started_s - evaluated_s
            every_step = self._per_step and options.statistics == "all"
            answer.stats.update(
                timings=timings(result, options, evaluated_s, written_s), samples=samples(result, every_step=every_step)
            )
        return answer


def evaluated(options: QueryOptions, evaluate: Callable[[Callable[[], None]], Result]) -> Result:
    """Return what `evaluate` yields, its errors in the terms of the API."""
    try:
        result = evaluate(lambda: options.ticket.check(_WHERE))
        options.ticket.check(_WHERE)
    except (ParseError, InvalidType) as error:
        raise ApiError("bad_data", f'invalid parameter "query": {error}') from None
    except QueryError as error:
        raise ApiError("execution", str(error)) from None
    return result


def answered(result: Result, limit: int) -> Answer:
    """Write a result, or the beginning of a long one."""
    pieces, truncated = pieces_of(result, limit)
    body, rest = gathered(pieces, _WRITTEN_AT_ONCE_BYTES)
    warnings = [*result.warnings, *([_TRUNCATED] if truncated else [])]
    return Answer(result.kind, body, warnings, result.infos, {}, rest)


def timings(result: Result, options: QueryOptions, evaluated_s: float, written_s: float) -> dict[str, float]:
    """Return seconds by Prometheus' names; sorting is part of writing here."""
    return {
        "evalTotalTime": evaluated_s,
        "resultSortTime": written_s,
        "queryPreparationTime": result.prepared_s,
        "innerEvalTime": evaluated_s - result.prepared_s,
        "execQueueTime": options.ticket.queued_s,
        "execTotalTime": evaluated_s + written_s,
    }


def samples(result: Result, *, every_step: bool) -> dict[str, Any]:
    """Return counts of samples by Prometheus' names."""
    found = result.statistics
    each: dict[str, Any] = {}
    if every_step:
        times = (result.grid.times_ms() / 1000).tolist()
        each["totalQueryableSamplesPerStep"] = [
            [int(at) if at == int(at) else at, count] for at, count in zip(times, found.per_step.tolist(), strict=True)
        ]
    return {**each, "totalQueryableSamples": found.total, "peakSamples": found.peak}
