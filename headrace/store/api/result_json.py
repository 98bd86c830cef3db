"""What a query yields, as the JSON of the API, piece by piece."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from headrace.store.api import native_results, results
from headrace.store.api.json_writer import matrix_pieces, range_pieces, vector_pieces
from headrace.store.promql.natives.columns import NativeRanges
from headrace.store.promql.values import Ranges, Scalar, Text, Vector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from headrace.store.api.json_writer import Piece
    from headrace.store.labels import LabelTable
    from headrace.store.promql.evaluate import Result

_PLAIN_UP_TO = 8
"""Points of an answer that plain Python writes sooner than it calls a kernel."""


def pieces_of(result: Result, limit: int) -> tuple[Iterable[Piece], bool]:
    """Write a result.

    Args:
        result: Of a query.
        limit: Most series; 0 for all.

    Returns:
        The JSON, written as it is asked for, and whether series were left out.
    """
    value, time_ms = result.value, result.grid.start_ms
    match value:
        case Text():
            return [results.string_result(time_ms, value.value)], False
        case Scalar():
            return [results.scalar_result(time_ms, float(value.values[0]))], False
        case Ranges():
            return _ranges(value, limit)
        case Vector() if result.kind == "vector":
            return _vector(value, time_ms, limit)
        case Vector():
            return _matrix(value, result.grid.times_ms(), limit)


def gathered(pieces: Iterable[Piece], size: int) -> tuple[bytes, Iterator[Piece] | None]:
    """Join the first pieces until there are `size` bytes; return also the others, None where there are none."""
    found: list[Piece] = []
    total = 0
    rest = iter(pieces)
    for piece in rest:
        found.append(piece)
        total += len(piece)
        if total >= size:
            break
    following = list(islice(rest, 1))
    joined = b"".join(found)
    return (joined, _after(following[0], rest)) if following else (joined, None)


def _after(first: Piece, rest: Iterator[Piece]) -> Iterator[Piece]:
    yield first
    yield from rest


def _order(labels: LabelTable, limit: int) -> tuple[NDArray[np.intp], bool]:
    order = labels.order()
    truncated = 0 < limit < len(order)
    return (order[:limit] if truncated else order), truncated


def _vector(vector: Vector, time_ms: int, limit: int) -> tuple[Iterable[Piece], bool]:
    order = np.arange(len(vector)) if vector.ordered or len(vector) == 1 else vector.labels.order()
    truncated = 0 < limit < len(order)
    order = order[:limit] if truncated else order
    labels = vector.labels.take(order)
    if vector.natives is not None:
        values, natives = vector.values[order, 0], vector.natives.take(order)
        return [native_results.vector_result(labels, time_ms, values, natives)], truncated
    if len(order) <= _PLAIN_UP_TO:
        return [results.vector_result(labels, time_ms, vector.values[order, 0])], truncated
    return vector_pieces(labels, order, time_ms, vector.values), truncated


def _matrix(vector: Vector, times_ms: NDArray[np.int64], limit: int) -> tuple[Iterable[Piece], bool]:
    order, truncated = _order(vector.labels, limit)
    labels = vector.labels.take(order)
    if vector.natives is None:
        return matrix_pieces(labels, order, times_ms, vector.values, vector.present), truncated
    present, values, kept = vector.present[order], vector.values[order], vector.natives.take(order)
    rows, steps = np.nonzero(present)
    own, when = np.nonzero(kept.present)
    histograms, times = kept.histograms.take(kept.rows[own, when]), times_ms[when]
    natives = NativeRanges(_starts(kept.present.sum(axis=1)), times, histograms, np.zeros_like(times))
    offsets, values = _starts(present.sum(axis=1)), values[rows, steps]
    return [native_results.matrix_result(labels, offsets, times_ms[steps], values, natives)], truncated


def _ranges(ranges: Ranges, limit: int) -> tuple[Iterable[Piece], bool]:
    """Write the samples of a range selector: those in its one window."""
    order, truncated = _order(ranges.labels, limit)
    firsts, sizes = _inside(ranges, ranges.offsets, ranges.times_ms)
    if ranges.natives is None:
        order = order[sizes[order] > 0]
        spans = (firsts[order], sizes[order])
        return range_pieces(ranges.labels.take(order), spans, ranges.times_ms, ranges.values), truncated
    native_times = ranges.natives.times_ms
    native_firsts, native_sizes = _inside(ranges, ranges.natives.offsets, native_times)
    order = order[sizes[order] + native_sizes[order] > 0]
    rows, own = _spread(firsts[order], sizes[order]), _spread(native_firsts[order], native_sizes[order])
    histograms, starts = ranges.natives.histograms.take(own), ranges.natives.starts_ms[own]
    natives = NativeRanges(_starts(native_sizes[order]), native_times[own], histograms, starts)
    written = native_results.matrix_result(
        ranges.labels.take(order), _starts(sizes[order]), ranges.times_ms[rows], ranges.values[rows], natives
    )  # fmt: skip
    return [written], truncated


def _inside(
    ranges: Ranges, offsets: NDArray[np.int64], times_ms: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first sample of each series in the one window, and how many there are."""
    end = ranges.ends.start_ms
    there = (times_ms > end - ranges.range_ms) & (times_ms <= end)
    past = (times_ms <= end - ranges.range_ms).cumsum()
    upto = there.cumsum()
    before, at_start = _at(past, offsets), _at(upto, offsets)
    return offsets[:-1] + np.diff(before), np.diff(at_start)


def _at(sums: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the running sums in front of some places, (k,)."""
    return np.concatenate([[0], sums])[offsets].astype(np.int64)


def _spread(firsts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return all places of some spans, one after the other."""
    starts = _starts(sizes)
    return np.arange(starts[-1]) + np.repeat(firsts - starts[:-1], sizes)


def _starts(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where spans of these sizes begin, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
