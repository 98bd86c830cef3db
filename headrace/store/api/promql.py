"""The API's `QueryService` over the evaluator."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.pipeline.errors import QueryError
from headrace.store.api import native_results, results
from headrace.store.api.backend import Answer
from headrace.store.api.errors import ApiError
from headrace.store.promql.errors import ParseError
from headrace.store.promql.evaluate import Evaluator, EvaluatorOptions, InvalidType
from headrace.store.promql.natives import NativeRanges
from headrace.store.promql.values import Ranges, Scalar, Text, Vector

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

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
            if kept.natives is not None:
                found = native_results.vector_result(kept.labels, time_ms, kept.values[:, 0], kept.natives)
                return found, truncated
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
    if kept.natives is not None:
        own, when = np.nonzero(kept.natives.present)
        places = kept.natives.rows[own, when]
        starts = np.concatenate([[0], np.cumsum(kept.natives.present.sum(axis=1))]).astype(np.int64)
        natives = NativeRanges(starts, kept.natives.histograms.take(places))
        values, native_times = kept.values[rows, steps], result.grid.times_ms()[when]
        return native_results.matrix_result(kept.labels, offsets, times, values, natives, native_times), truncated
    return results.matrix_result(kept.labels, offsets, times, kept.values[rows, steps]), truncated


def _ranges(ranges: Ranges, limit: int) -> tuple[bytes, bool]:
    """Write the samples of a range selector: those in its one window."""
    order, truncated = _order(ranges.labels, limit)
    counts = _inside(ranges, ranges.offsets, ranges.times_ms)[0]
    if ranges.natives is not None:
        histograms = ranges.natives.histograms
        counts = counts + _inside(ranges, ranges.natives.offsets, histograms.time_ms)[0]
        order = order[counts[order] > 0]
        rows, starts = _in_order(ranges, ranges.natives.offsets, histograms.time_ms, order)
        natives = NativeRanges(starts, histograms.take(rows))
    order = order[counts[order] > 0]
    rows, offsets = _in_order(ranges, ranges.offsets, ranges.times_ms, order)
    table, times, values = ranges.labels.take(order), ranges.times_ms[rows], ranges.values[rows]
    if ranges.natives is None:
        return results.matrix_result(table, offsets, times, values), truncated
    return (
        native_results.matrix_result(table, offsets, times, values, natives, natives.histograms.time_ms),
        truncated,
    )


def _inside(
    ranges: Ranges, offsets: NDArray[np.int64], times_ms: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many rows of each series lie in the one window, and which these are."""
    first = ranges.ends.start_ms - ranges.range_ms
    rows = np.flatnonzero((times_ms > first) & (times_ms <= ranges.ends.start_ms))
    owner = np.repeat(np.arange(len(ranges.labels)), np.diff(offsets))
    return np.bincount(owner[rows], minlength=len(ranges.labels)), rows


def _in_order(
    ranges: Ranges, offsets: NDArray[np.int64], times_ms: NDArray[np.int64], order: NDArray[np.intp]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows in the one window, series by series in the order given, and where those of each begin."""
    counts, rows = _inside(ranges, offsets, times_ms)
    starts = np.cumsum(counts) - counts
    places = [np.arange(starts[i], starts[i] + counts[i]) for i in order.tolist()]
    chosen = rows[np.concatenate([np.zeros(0, np.int64), *places]).astype(np.int64)]
    return chosen, np.concatenate([[0], np.cumsum(counts[order])]).astype(np.int64)


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
