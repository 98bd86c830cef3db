"""Print what passes; the Collector's ``debug``."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TextIO

import numpy as np
from pydantic import Field

from headrace.pipeline.batch import NS_PER_MS
from headrace.pipeline.component import ExporterFactory, NoReservation, Outcome, Settings
from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.native_histograms import NativeFlag, NativeHistograms, ResetHint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from headrace.pipeline.batch import HistogramColumns, MetricBatch
    from headrace.pipeline.component import Reservation
    from headrace.pipeline.host import Host

_NS = 1_000_000_000


class Verbosity(StrEnum):
    """How much is printed of a batch."""

    BASIC = "basic"
    NORMAL = "normal"
    DETAILED = "detailed"


class DebugConfig(ComponentConfig):
    """Settings of the ``debug`` exporter."""

    verbosity: Verbosity = Verbosity.BASIC
    """``basic`` prints one line a batch, ``normal`` one line a point, ``detailed`` also start times, flags, units,
    resources and scopes."""

    sampling_initial: Annotated[int, Field(ge=1)] = 2
    """Batches printed in each second before sampling begins."""

    sampling_thereafter: Annotated[int, Field(ge=0)] = 1
    """After those, of so many batches one is printed; 0 prints none."""

    use_internal_logger: bool = True
    """Print to the daemon's log; else to standard output."""


class DebugExporter:
    """Prints batches.

    Args:
        settings: The usual.
        config: How much.
        output: Where to, without the internal logger.
    """

    optional = False

    def __init__(self, settings: Settings, config: DebugConfig, output: TextIO | None = None) -> None:
        self._settings = settings
        self._config = config
        self._output = output
        self._second = -1
        self._batches = 0
        self._sent = settings.counters.counter(
            "otelcol_exporter_sent_metric_points", "Points printed.", {"exporter": settings.id}, "{datapoint}"
        )

    async def start(self, host: Host) -> None:
        """Do nothing."""

    async def shutdown(self) -> None:
        """Do nothing."""

    def reserve(self, points: int, size_bytes: int) -> Reservation:
        """Grant everything."""
        del points, size_bytes
        return NoReservation()

    async def deliver(self, batch: MetricBatch) -> Outcome:
        """Print the batch, if it is its turn."""
        if self._its_turn():
            for line in describe(batch, self._config.verbosity):
                self._print(line)
        self._sent.add(len(batch))
        return Outcome(len(batch))

    def _its_turn(self) -> bool:
        second = int(self._settings.monotonic_s())
        if second != self._second:
            self._second, self._batches = second, 0
        self._batches += 1
        late = self._batches - self._config.sampling_initial
        every = self._config.sampling_thereafter
        return late <= 0 or (every > 0 and late % every == 0)

    def _print(self, line: str) -> None:
        if self._config.use_internal_logger:
            self._settings.logger.info("%s", line)
        else:
            print(line, file=self._output or sys.stdout, flush=True)


def describe(batch: MetricBatch, verbosity: Verbosity) -> Iterator[str]:
    """Yield the lines that `verbosity` asks for."""
    exemplars = 0 if batch.exemplars is None else len(batch.exemplars)
    yield (
        f"metrics: {len(batch)} points, {len(set(batch.series.tolist()))} series, {exemplars} exemplars, "
        f"workspace {batch.context.workspace}, from {batch.context.source or 'nobody'}"
    )
    if verbosity is Verbosity.BASIC:
        return
    detailed = verbosity is Verbosity.DETAILED
    columns = (batch.series, batch.time_ns, batch.value, batch.start_ns, batch.flags)
    for series, time_ns, value, start_ns, flags in zip(*(column.tolist() for column in columns), strict=True):
        line = f"{batch.table.series(series)} {value!r} @{seconds(time_ns)}"
        yield line + (_details(batch, series, start_ns, flags) if detailed else "")
    if batch.histograms is not None:
        yield from _histograms(batch, batch.histograms, detailed=detailed)
    if batch.native is not None:
        yield from _native(batch, batch.native, detailed=detailed)


def seconds(ns: int) -> str:
    """Write nanoseconds as seconds, exactly."""
    return f"{ns // _NS}.{ns % _NS:09d}".rstrip("0").rstrip(".")


def _histograms(batch: MetricBatch, rows: HistogramColumns, *, detailed: bool) -> Iterator[str]:
    for i in range(len(rows)):
        first, last = int(rows.starts[i]), int(rows.starts[i + 1])
        line = (
            f"{batch.table.series(int(rows.series[i]))} count={float(rows.count[i])!r} sum={float(rows.sum[i])!r} "
            f"buckets={last - first} @{seconds(int(rows.time_ns[i]))}"
        )
        if detailed:
            pairs = zip(rows.bounds[first:last].tolist(), rows.counts[first:last].tolist(), strict=True)
            line += " " + " ".join(f"{bound!r}:{count!r}" for bound, count in pairs)
            line += _details(batch, int(rows.series[i]), int(rows.start_ns[i]), int(rows.flags[i]))
        yield line


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


def _counts(bits: NDArray[np.uint64], is_float: bool) -> list[float]:  # noqa: FBT001 -- what the flag says
    counts: list[float] = (bits.view(np.float64) if is_float else bits).tolist()
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


FACTORY = ExporterFactory(name="debug", config=DebugConfig, create=DebugExporter)
