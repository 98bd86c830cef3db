"""The API's `QueryService` over the evaluator."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.pipeline.errors import QueryError
from headrace.store.api import results
from headrace.store.api.backend import Answer
from headrace.store.api.errors import ApiError
from headrace.store.promql.errors import ParseError
from headrace.store.promql.evaluate import Evaluator, EvaluatorOptions, InvalidType
from headrace.store.promql.values import Ranges, Scalar, Text, Vector

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.store.api.backend import QueryOptions
    from headrace.store.labels import LabelTable
    from headrace.store.promql.evaluate import Result, Source

_WHERE = "expression evaluation"
_TRUNCATED = "results truncated due to limit"


class PromQLService:
    """Answers queries over one workspace.

    Args:
        source: Its engine.
        options: Limits and defaults.
    """

    def __init__(self, source: Source, options: EvaluatorOptions) -> None:
        self._evaluator = Evaluator(source, options)

    def instant(self, query: str, time_ms: int, options: QueryOptions) -> Answer:
        """Evaluate at one time."""
        return _answer(
            options,
            lambda check: self._evaluator.instant(query, time_ms, lookback_ms=options.lookback_ms, check=check),
        )

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int, options: QueryOptions) -> Answer:
        """Evaluate at each step."""
        return _answer(
            options,
            lambda check: self._evaluator.range(
                query, start_ms, end_ms, step_ms, lookback_ms=options.lookback_ms, check=check
            ),
        )


def _answer(options: QueryOptions, evaluate: Callable[[Callable[[], None]], Result]) -> Answer:
    started = time.perf_counter()
    try:
        result = evaluate(lambda: options.ticket.check(_WHERE))
        options.ticket.check(_WHERE)
        body, truncated = _written(result, options.limit)
    except (ParseError, InvalidType) as error:
        raise ApiError("bad_data", f'invalid parameter "query": {error}') from None
    except QueryError as error:
        raise ApiError("execution", str(error)) from None
    warnings = [*result.warnings, *([_TRUNCATED] if truncated else [])]
    return Answer(result.kind, body, warnings, result.infos, _stats(result, options, time.perf_counter() - started))


def _written(result: Result, limit: int) -> tuple[bytes, bool]:
    """Return the JSON, and whether series were left out."""
    value = result.value
    time_ms = result.grid.start_ms
    match value:
        case Text():
            return results.string_result(time_ms, value.value), False
        case Scalar():
            return results.scalar_result(time_ms, float(value.values[0])), False
        case Ranges():
            return _ranges(value, limit)
        case Vector() if result.kind == "vector":
            kept = value if value.ordered else value.take(value.labels.order())
            truncated = 0 < limit < len(kept)
            kept = kept.take(np.arange(limit)) if truncated else kept
            return results.vector_result(kept.labels, time_ms, kept.values[:, 0]), truncated
        case Vector():
            return _matrix(result, value, limit)


def _order(labels: LabelTable, limit: int) -> tuple[np.ndarray[Any, Any], bool]:
    order = labels.order()
    truncated = 0 < limit < len(order)
    return (order[:limit] if truncated else order), truncated


def _matrix(result: Result, vector: Vector, limit: int) -> tuple[bytes, bool]:
    order, truncated = _order(vector.labels, limit)
    kept = vector.take(order)
    rows, steps = np.nonzero(kept.present)
    offsets = np.concatenate([[0], np.cumsum(kept.present.sum(axis=1))]).astype(np.int64)
    times = result.grid.times_ms()[steps]
    return results.matrix_result(kept.labels, offsets, times, kept.values[rows, steps]), truncated


def _ranges(ranges: Ranges, limit: int) -> tuple[bytes, bool]:
    """Write the samples of a range selector: those in its one window."""
    first = ranges.ends.start_ms - ranges.range_ms
    inside = (ranges.times_ms > first) & (ranges.times_ms <= ranges.ends.start_ms)
    owner = np.repeat(np.arange(len(ranges.labels)), np.diff(ranges.offsets))
    counts = np.bincount(owner[inside], minlength=len(ranges.labels))
    times, values = ranges.times_ms[inside], ranges.values[inside]
    starts = np.cumsum(counts) - counts
    order, truncated = _order(ranges.labels, limit)
    order = order[counts[order] > 0]
    rows = np.concatenate([np.arange(starts[i], starts[i] + counts[i]) for i in order.tolist()] or [np.zeros(0, int)])
    rows = rows.astype(np.intp)
    offsets = np.concatenate([[0], np.cumsum(counts[order])]).astype(np.int64)
    return results.matrix_result(ranges.labels.take(order), offsets, times[rows], values[rows]), truncated


def _stats(result: Result, options: QueryOptions, seconds: float) -> dict[str, Any]:
    queued = options.ticket.queued_s
    return {
        "timings": {
            "evalTotalTime": seconds,
            "resultSortTime": 0,
            "queryPreparationTime": 0,
            "innerEvalTime": seconds,
            "execQueueTime": queued,
            "execTotalTime": seconds + queued,
        },
        "samples": {"totalQueryableSamples": result.samples, "peakSamples": result.samples},
    }
