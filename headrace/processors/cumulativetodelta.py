"""Turn cumulative monotonic sums and cumulative histograms into deltas.

A point becomes what was added since the one before it, and starts at that one's time. The first point of a stream has
none before it: `initial_value` says what becomes of it. A sum, or an exponential histogram, that is lower than before
was reset: its point is dropped (``reset``) and the next one counts from it; an explicit histogram that was reset passes
whole. Points that are not newer than the one before are dropped (``out_of_order``), as are explicit histograms whose
bounds have changed (``bucket_mismatch``). A stale marker ends the stream. Minimum and maximum of a cumulative histogram
say nothing of a delta and are taken away. NaN passes.

Series of Prometheus sources have no temporality and pass as they are. Deltas of integers are exact up to 2^53. The
state survives reload and restart where ``service.state_directory`` is set.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from headrace.pipeline.batch import HistogramKind
from headrace.pipeline.component import ProcessorFactory, Settings
from headrace.pipeline.config import ComponentConfig, NonNegativeDuration
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.identity import MetricType, Temporality
from headrace.pipeline.regex import searching
from headrace.pipeline.streams import numbers_kernels as kernels
from headrace.pipeline.streams.layout import Verdict
from headrace.pipeline.streams.points import (
    BucketView,
    count_drops,
    followed,
    put_back,
    renamed_exemplars,
    with_histograms,
)
from headrace.pipeline.streams.processor import StreamProcessor
from headrace.pipeline.streams.warm import warm_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from headrace.pipeline.batch import BatchContext, HistogramColumns, MetricBatch
    from headrace.pipeline.identity import Kind, Series
    from headrace.pipeline.series import SeriesTable


class MatchType(StrEnum):
    """How metric names are compared."""

    STRICT = "strict"
    REGEXP = "regexp"


class TypeName(StrEnum):
    """Metric types that can be converted."""

    SUM = "sum"
    HISTOGRAM = "histogram"
    EXPONENTIAL_HISTOGRAM = "exponentialhistogram"


class InitialValue(StrEnum):
    """What becomes of the first point of a stream."""

    AUTO = "auto"
    KEEP = "keep"
    DROP = "drop"


class Matching(ComponentConfig):
    """Metrics to convert, or not to convert."""

    match_type: MatchType | None = None
    """``strict`` compares whole names, ``regexp`` looks for RE2 patterns anywhere in them; required with `metrics`."""

    metrics: tuple[str, ...] = ()
    """Names or patterns, one of which has to fit; any metric, where it is empty."""

    metric_types: tuple[TypeName, ...] = ()
    """``sum``, ``histogram``, ``exponentialhistogram``; any of them, where it is empty."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.metrics and self.match_type is None:
            raise ValueError("match_type must be set where metrics is")
        if self.match_type is not None and not self.metrics:
            raise ValueError("metrics must be set where match_type is")
        if self.match_type is MatchType.REGEXP:
            for pattern in self.metrics:
                try:
                    searching(pattern)
                except InvalidInput as error:
                    raise ValueError(f"metrics: {error}") from None
        return self


class CumulativeToDeltaConfig(ComponentConfig):
    """Settings of the ``cumulativetodelta`` processor."""

    include: Matching = Field(default_factory=Matching)
    """Metrics to convert; all, where it is empty."""

    exclude: Matching = Field(default_factory=Matching)
    """Metrics to pass as they are, even if they are included; none, where it is empty."""

    max_staleness: NonNegativeDuration = timedelta()
    """Streams without a point for so long are forgotten. 0 means never."""

    initial_value: InitialValue = InitialValue.AUTO
    """The first point of a stream: ``auto`` keeps it where the stream started after the processor did and the point
    says since when it counts, ``keep`` keeps it, ``drop`` drops it."""


class CumulativeToDelta(StreamProcessor[BucketView]):
    """Keeps the newest point of each stream."""

    kind: ClassVar[str] = "cumulativetodelta"

    def __init__(self, settings: Settings, config: CumulativeToDeltaConfig) -> None:
        super().__init__(settings, config.max_staleness // timedelta(microseconds=1) * 1000)
        self._config = config
        self._begun_ns = settings.clock_ns()
        self._includes = _test(config.include)
        has_exclude = config.exclude != Matching()
        self._excludes = _test(config.exclude) if has_exclude else lambda _name, _type: False

    def target(self, series: Series) -> Series | None:
        """Follow cumulative sums and histograms that are included; pass them on as deltas."""
        type_ = _type_of(series.kind)
        if type_ is None or series.kind.temporality is not Temporality.CUMULATIVE:
            return None
        if not self._includes(series.name, type_) or self._excludes(series.name, type_):
            return None
        return replace(series, kind=replace(series.kind, temporality=Temporality.DELTA))

    def view(self, table: SeriesTable, context: BatchContext) -> BucketView:
        """Return a new view."""
        return BucketView(table, context)

    def apply(self, view: BucketView, batch: MetricBatch) -> MetricBatch:
        """Return the batch with deltas in place of cumulative points."""
        out = self._numbers(view, batch)
        if batch.histograms is not None:
            view.mark_seen(batch.histograms.series, self.settings.clock_ns())
        out = with_histograms(view, out, lambda slots, rows: self._histograms(view, slots, rows), self.drops)
        return renamed_exemplars(view, out)

    def _numbers(self, view: BucketView, batch: MetricBatch) -> MetricBatch:
        rows = followed(view, batch.series, batch.time_ns)
        n = len(rows)
        if not n:
            return batch
        view.mark_seen(batch.series, self.settings.clock_ns())
        verdicts, starts, values = np.empty(n, np.uint8), np.zeros(n, np.int64), np.zeros(n)
        kernels.difference(
            rows, view.slots.slot_of, batch.series, batch.time_ns, batch.start_ns, batch.flags, batch.value,
            False, view.marks, view.sums, verdicts, starts, values,
        )  # fmt: skip
        verdicts = self._initial(verdicts, batch.time_ns[rows], batch.start_ns[rows])
        count_drops(self.drops, batch, rows, verdicts)
        return put_back(view, batch, rows, verdicts == Verdict.KEEP, values, starts)

    def _histograms(
        self, view: BucketView, slots: NDArray[np.int32], rows: HistogramColumns
    ) -> tuple[HistogramColumns, NDArray[np.uint8]]:
        made, verdicts = view.buckets.difference(slots, rows, keeps_reference=False)
        verdicts = self._initial(verdicts, rows.time_ns, rows.start_ns)
        whole = (verdicts == Verdict.RESET) & (rows.kind == HistogramKind.EXPLICIT)
        unknown = np.full(len(rows), np.nan)
        made = replace(made, minimum=unknown, maximum=unknown)
        return made, np.where(whole, np.uint8(Verdict.KEEP), verdicts)

    def _initial(
        self, verdicts: NDArray[np.uint8], time_ns: NDArray[np.int64], start_ns: NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        """Decide about the first points of streams."""
        match self._config.initial_value:
            case InitialValue.DROP:
                return verdicts
            case InitialValue.KEEP:
                kept = verdicts == Verdict.INITIAL
            case InitialValue.AUTO:
                kept = (verdicts == Verdict.INITIAL) & (start_ns >= self._begun_ns) & (start_ns != time_ns)
        return np.where(kept, np.uint8(Verdict.KEEP), verdicts)


def _type_of(kind: Kind) -> TypeName | None:
    if kind.type is MetricType.COUNTER:
        return TypeName.SUM
    if kind.type is MetricType.HISTOGRAM:
        return TypeName.EXPONENTIAL_HISTOGRAM if kind.is_exponential else TypeName.HISTOGRAM
    return None


def _test(matching: Matching) -> Callable[[str, TypeName], bool]:
    """Compile what a metric has to be."""
    names, types = frozenset(matching.metrics), frozenset(matching.metric_types)
    patterns = [searching(one) for one in matching.metrics] if matching.match_type is MatchType.REGEXP else []

    def fits(name: str, type_: TypeName) -> bool:
        if types and type_ not in types:
            return False
        if patterns:
            return any(pattern.fullmatch(name) for pattern in patterns)
        return not names or name in names

    return fits


FACTORY = ProcessorFactory(
    name="cumulativetodelta",
    config=CumulativeToDeltaConfig,
    create=CumulativeToDelta,
    aliases=("cumulative_to_delta",),
    warm_up=warm_up,
)
