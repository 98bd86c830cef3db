"""Batches as lines of text, for people."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from headrace.pipeline.batch import NS_PER_MS, Flag, HistogramKind
from headrace.pipeline.native_histograms import NativeFlag, NativeHistograms, ResetHint

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from headrace.pipeline.batch import ExemplarColumns, HistogramColumns, MetricBatch

_NS = 1_000_000_000


class Verbosity(StrEnum):
    """How much is printed of a batch."""

    BASIC = "basic"
    NORMAL = "normal"
    DETAILED = "detailed"


def describe(batch: MetricBatch, verbosity: Verbosity) -> Iterator[str]:
    """Yield the lines that `verbosity` asks for."""
    exemplars = 0 if batch.exemplars is None else len(batch.exemplars)
    yield (
        f"metrics: {len(batch)} points, {_series_of(batch)} series, {exemplars} exemplars, "
        f"workspace {batch.context.workspace}, from {batch.context.source or 'nobody'}"
    )
    if verbosity is Verbosity.BASIC:
        return
    detailed = verbosity is Verbosity.DETAILED
    yield from _numbers(batch, detailed=detailed)
    if batch.histograms is not None:
        yield from _histograms(batch, batch.histograms, detailed=detailed)
    if batch.native is not None:
        yield from _native(batch, batch.native, detailed=detailed)
    if detailed and batch.exemplars is not None:
        yield from _exemplars(batch, batch.exemplars)
    if detailed:
        for one in batch.metadata:
            yield f"family {one.family} type={one.type.text} unit={one.unit} help={one.help!r}"


def seconds(ns: int) -> str:
    """Write nanoseconds as seconds, exactly."""
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    return sign + f"{ns // _NS}.{ns % _NS:09d}".rstrip("0").rstrip(".")


def _series_of(batch: MetricBatch) -> int:
    sides = (batch, batch.histograms, batch.native)
    return len({number for side in sides if side is not None for number in side.series.tolist()})


def _numbers(batch: MetricBatch, *, detailed: bool) -> Iterator[str]:
    exact = batch.value if batch.integers is None else batch.integers
    columns = (batch.series, batch.time_ns, batch.value, exact, batch.start_ns, batch.flags)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for series, time_ns, value, integer, start_ns, flags in rows:
        shown = _number(value, integer, flags)
        line = f"{batch.table.series(series)} {shown} @{seconds(time_ns)}"
        yield line + (_details(batch, series, start_ns, flags) if detailed else "")


def _number(value: float, integer: float, flags: int) -> str:
    if flags & Flag.STALE:
        return "stale"
    return str(int(integer)) if flags & Flag.INTEGER and value.is_integer() else repr(value)


def _histograms(batch: MetricBatch, rows: HistogramColumns, *, detailed: bool) -> Iterator[str]:
    for i in range(len(rows)):
        first, last = int(rows.starts[i]), int(rows.starts[i + 1])
        is_summary = rows.kind[i] == HistogramKind.SUMMARY
        line = (
            f"{batch.table.series(int(rows.series[i]))} count={float(rows.count[i])!r} sum={float(rows.sum[i])!r} "
            f"{'quantiles' if is_summary else 'buckets'}={last - first} @{seconds(int(rows.time_ns[i]))}"
        )
        if detailed:
            line += _buckets(rows, i, first, last)
            line += _details(batch, int(rows.series[i]), int(rows.start_ns[i]), int(rows.flags[i]))
        yield line


def _buckets(rows: HistogramColumns, i: int, first: int, last: int) -> str:
    """Return bounds with counts; of an exponential histogram the scale, and counts from an index on."""
    counts = rows.counts[first:last].tolist()
    text = "".join(
        f" {name}={float(column[i])!r}"
        for name, column in (("min", rows.minimum), ("max", rows.maximum))
        if column[i] == column[i]
    )
    if rows.kind[i] != HistogramKind.EXPONENTIAL:
        pairs = zip(rows.bounds[first:last].tolist(), counts, strict=True)
        return text + "".join(f" {bound!r}:{count!r}" for bound, count in pairs)
    positive = int(rows.positive_size[i])
    text += f" scale={int(rows.scale[i])} zero={float(rows.zero_count[i])!r}@{float(rows.zero_threshold[i])!r}"
    text += f" positive={counts[:positive]}@{int(rows.positive_offset[i])}"
    return text + f" negative={counts[positive:]}@{int(rows.negative_offset[i])}"


def _native(batch: MetricBatch, rows: NativeHistograms, *, detailed: bool) -> Iterator[str]:
    for i in range(len(rows)):
        is_float = bool(rows.flags[i] & NativeFlag.FLOAT_COUNTS)
        buckets = rows.buckets[rows.bucket_starts[i] : rows.bucket_starts[i + 1]]
        count = rows.count[i : i + 1]
        line = (
            f"{batch.table.series(int(rows.series[i]))} count={_counts(count, is_float)[0]} sum={float(rows.sum[i])!r} "
            f"schema={int(rows.schema[i])} buckets={len(buckets)} @{seconds(int(rows.time_ms[i]) * NS_PER_MS)}"
        )
        if detailed:
            spans = rows.spans[rows.span_starts[i] : rows.span_starts[i + 1]].tolist()
            line += f" zero={_counts(rows.zero_count[i : i + 1], is_float)[0]}@{float(rows.zero_threshold[i])!r}"
            line += f" spans={spans} positive={int(rows.positive_spans[i])} counts={_counts(buckets, is_float)}"
            line += f" hint={ResetHint(int(rows.hint[i])).name.lower()}"
            line += _details(batch, int(rows.series[i]), int(rows.start_ms[i]) * NS_PER_MS, int(rows.flags[i]))
        yield line


def _exemplars(batch: MetricBatch, rows: ExemplarColumns) -> Iterator[str]:
    for i in range(len(rows)):
        labels = (
            f"{_text(rows.arena, at, size)}={_text(rows.arena, value_at, value_size)!r}"
            for at, size, value_at, value_size in rows.spans[rows.starts[i] : rows.starts[i + 1]].tolist()
        )
        series = batch.table.series(int(rows.series[i]))
        time_ns = int(rows.time_ns[i])
        at = f" @{seconds(time_ns)}" if time_ns else ""
        yield f"exemplar of {series} {float(rows.value[i])!r}{at} {' '.join(labels)}".rstrip()


def _text(arena: NDArray[np.uint8], at: int, size: int) -> str:
    return arena[at : at + size].tobytes().decode("utf-8", "replace")


def _counts(bits: NDArray[np.uint64], is_float: bool) -> list[float]:  # noqa: FBT001 -- what the flag says
    counts: list[float] = (bits.view("f8") if is_float else bits).tolist()
    return counts


def _details(batch: MetricBatch, series_id: int, start_ns: int, flags: int) -> str:
    series = batch.table.series(series_id)
    text = f" start={seconds(start_ns)} flags={flags} type={series.kind.type.text}"
    if series.unit:
        text += f" unit={series.unit}"
    if series.resource is not None:
        text += f" resource={dict(series.resource.attributes)}"
    if series.scope is not None:
        text += f" scope={series.scope.name}"
    return text
