"""The API's `QueryService` over the evaluator."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from headrace.pipeline.errors import QueryError
from headrace.store.api.backend import Answer
from headrace.store.api.errors import ApiError
from headrace.store.api.result_cache import Question
from headrace.store.api.result_json import gathered, pieces_of
from headrace.store.api.results import string_result
from headrace.store.api.reuse import Work
from headrace.store.promql.errors import ParseError
from headrace.store.promql.evaluate import Evaluator, EvaluatorOptions, InvalidType
from headrace.store.promql.evaluation import Span
from headrace.store.promql.language.parser import parse
from headrace.store.promql.reach import reach_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.store.api.backend import QueryOptions
    from headrace.store.api.result_cache import Bodies
    from headrace.store.api.reuse import WorkspaceCache
    from headrace.store.promql.evaluate import Result, Source
    from headrace.store.promql.reach import Reach

T = TypeVar("T")

_WHERE = "expression evaluation"
_TRUNCATED = "results truncated due to limit"
_WRITTEN_AT_ONCE_BYTES = 2 << 20


class PromQLService:
    """Answers queries over one workspace.

    Args:
        source: Its engine.
        options: Limits and defaults.
        cache: Results of before; None where none are kept.
    """

    def __init__(self, source: Source, options: EvaluatorOptions, cache: WorkspaceCache | None = None) -> None:
        self._evaluator = Evaluator(source, options)
        self._options = options
        self._cache = cache

    def instant(self, query: str, time_ms: int, options: QueryOptions) -> Answer:
        """Evaluate at one time."""
        return self._answer(Question(query, time_ms, time_ms, 0, options.lookback_ms, options.limit), options)

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int, options: QueryOptions) -> Answer:
        """Evaluate at each step."""
        return self._answer(Question(query, start_ms, end_ms, step_ms, options.lookback_ms, options.limit), options)

    def _answer(self, question: Question, options: QueryOptions) -> Answer:
        return self._explained(question, options) if options.explain else self._evaluated(question, options)

    def _explained(self, question: Question, options: QueryOptions) -> Answer:
        span = Span(question.start_ms, question.end_ms, question.step_ms)
        explain = partial(
            self._evaluator.explain, question.query, span, analyze=options.explain == "analyze",
            lookback_ms=question.lookback_ms,
        )  # fmt: skip
        plan = evaluated(options, lambda check: explain(check=check))
        return Answer("string", string_result(question.end_ms, "\n".join(plan.lines())))

    def _evaluated(self, question: Question, options: QueryOptions) -> Answer:
        started_s = time.perf_counter()
        result, bodies = evaluated(options, lambda check: self._result(question, options, check))
        evaluated_s = time.perf_counter() - started_s
        options.ticket.samples = result.statistics.total
        answer = answered(result, options.limit)
        answer.bodies = bodies
        if options.statistics:
            written_s = time.perf_counter() - started_s - evaluated_s
            every_step = self._options.per_step_statistics and options.statistics == "all"
            answer.stats.update(
                timings=timings(result, options, evaluated_s, written_s), samples=samples(result, every_step=every_step)
            )
        return answer

    def _result(
        self, question: Question, options: QueryOptions, check: Callable[[], None]
    ) -> tuple[Result, Bodies | None]:
        query, lookback_ms = question.query, options.lookback_ms

        def evaluate(start_ms: int, end_ms: int) -> Result:
            if not question.step_ms:
                return self._evaluator.instant(query, start_ms, lookback_ms=lookback_ms, check=check)
            step_ms = question.step_ms
            return self._evaluator.range(query, start_ms, end_ms, step_ms, lookback_ms=lookback_ms, check=check)

        if self._cache is None or options.fresh or options.statistics:
            return evaluate(question.start_ms, question.end_ms), None
        return self._cache.result(question, Work(evaluate, lambda: self._reach(question)))

    def _reach(self, question: Question) -> Reach:
        lookback_ms = self._options.lookback_ms if question.lookback_ms is None else question.lookback_ms
        span = Span(question.start_ms, question.end_ms, question.step_ms)
        return reach_of(parse(question.query, self._options.parser), span, lookback_ms)


def evaluated(options: QueryOptions, evaluate: Callable[[Callable[[], None]], T]) -> T:
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
