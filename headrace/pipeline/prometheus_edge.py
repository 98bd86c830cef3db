"""The Prometheus edge: batches as plain Prometheus samples, for the store, remote write and text.

OTLP series become Prometheus series, explicit histograms and summaries become ``_bucket``, ``_sum`` and ``_count``,
exponential ones native histograms, and resources become ``target_info``. All of it is memoised per series: a batch
costs gathers. An exemplar of an explicit histogram goes to the bucket that its value falls into.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.growth import grown
from headrace.pipeline import expand_kernels as kernels
from headrace.pipeline.batch import Flag, HistogramKind
from headrace.pipeline.chain import SeriesChain, Stage
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.identity import METRIC_NAME, Form, Series, Temporality
from headrace.pipeline.naming import Naming
from headrace.pipeline.native_histogram_kernels import TOO_COARSE
from headrace.pipeline.native_histogram_making import of_exponential
from headrace.pipeline.native_histograms import NativeHistograms
from headrace.pipeline.otlp_names import OtlpNames, canonical_float, target_info

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from headrace.pipeline.batch import ExemplarColumns, HistogramColumns, MetricBatch
    from headrace.pipeline.counters import Drops
    from headrace.pipeline.series import SeriesTable

_DEFAULT = Naming()

DELTA = "delta_temporality"
COARSE = "native_histogram_invalid_schema"
NATIVE = "native_histogram_invalid"
INVALID = "invalid_name"

_MESSAGES = {
    DELTA: "delta temporality is not stored; put a deltatocumulative processor before it",
    COARSE: "cannot convert exponential to native histogram: the scale must be >= -4",
    NATIVE: "the buckets of an exponential histogram do not add up to its count, or lie too far out",
    INVALID: "a metric or attribute name has no character that Prometheus allows",
}

_TARGET_INFO_STEP_NS = 150_000_000_000
"""Half of PromQL's lookback, so that a join with ``target_info`` always finds a sample."""

_MAX_TARGET_INFO = 1000
"""Most ``target_info`` samples of one resource in one batch, however far apart its points claim to lie."""


@dataclass(frozen=True, slots=True)
class Flat:
    """A batch at the edge.

    Attributes:
        batch: Number points, native histograms and exemplars of Prometheus series only.
        rejected: Count of points that have no place in Prometheus' model, by reason.
        message: The first of them in words; empty without one.
        rejected_histograms: How many of them would have been native histograms.
    """

    batch: MetricBatch
    rejected: dict[str, int] = field(default_factory=dict)
    message: str = ""
    rejected_histograms: int = 0


class PrometheusEdge:
    """Flattens batches.

    Args:
        drops: Where rejected points are counted.
        naming: How OTLP series are named, and which labels they get.
        before: Stages that see the series before they are named; what they drop is rejected with their reason.
    """

    def __init__(self, drops: Drops, naming: Naming = _DEFAULT, before: Sequence[Stage] = ()) -> None:
        self._drops = drops
        self._naming = naming
        named = Stage(OtlpNames(naming), drops, INVALID)
        self._chain = SeriesChain([Stage(_Cumulative(), drops, DELTA), *before, named])
        self._views: weakref.WeakKeyDictionary[SeriesTable, _View] = weakref.WeakKeyDictionary()

    def undecided(self, batch: MetricBatch) -> NDArray[np.int32]:
        """Return the ids of `batch` that have no verdict, see `headrace.pipeline.component.Deciding`."""
        return self._chain.undecided(batch)

    def decide(self, batch: MetricBatch, ids: NDArray[np.int32]) -> None:
        """Translate some ids."""
        self._chain.decide(batch, ids)

    def flatten(self, batch: MetricBatch) -> Flat:
        """Return `batch` as Prometheus samples; what was undecided is decided now."""
        ids = self._chain.undecided(batch)
        if len(ids):
            self._chain.decide(batch, ids)
        before = self._drops.by_reason()
        view = self._view(batch.table)
        info = view.target_info(batch) if self._naming.target_info else None
        flat = self._chain.process(batch)
        if flat.histograms is not None:
            flat = self._expand(flat, flat.histograms, view)
        if info is not None:
            flat = _appended(flat, *info)
        after = self._drops.by_reason()
        rejected = {why: n - before.get(why, 0) for why, n in after.items() if n > before.get(why, 0)}
        first = next(iter(rejected), "")
        message = _MESSAGES.get(first, first)
        if first in {COARSE, NATIVE}:
            message += ": " + next((series for why, series in reversed(self._drops.samples) if why == first), "")
        lost = (0 if batch.native is None else len(batch.native)) - (0 if flat.native is None else len(flat.native))
        return Flat(flat, rejected, message, max(0, lost))

    def _expand(self, batch: MetricBatch, histograms: HistogramColumns, view: _View) -> MetricBatch:
        exponential = histograms.kind == HistogramKind.EXPONENTIAL
        if exponential.any():
            native = self._native(batch, histograms.select(exponential))
            parts = [native] if batch.native is None else [batch.native, native]
            batch = replace(batch, native=NativeHistograms.joined(parts))
            histograms = histograms.select(~exponential)
        batch = replace(batch, histograms=None)
        if not len(histograms):
            return batch
        series, row, value = view.expand(histograms)
        if batch.exemplars is not None:
            batch = replace(batch, exemplars=view.routed(batch.exemplars, histograms))
        known = series >= 0
        if not known.all():
            self._drops.add("series_limit", int((~known).sum()))
            series, row, value = series[known], row[known], value[known]
        return _appended(batch, series, histograms.time_ns[row], value, histograms.start_ns[row], histograms.flags[row])

    def _native(self, batch: MetricBatch, histograms: HistogramColumns) -> NativeHistograms:
        """Return exponential histograms as native ones; count what cannot be one."""
        native, faults = of_exponential(histograms)
        for reason, bad in ((COARSE, faults == TOO_COARSE), (NATIVE, (faults > 0) & (faults != TOO_COARSE))):
            if bad.any():
                first = int(bad.argmax())
                example = f"{batch.table.series(int(histograms.series[first]))}"
                detail = f", scale {int(histograms.scale[first])}" if reason == COARSE else ""
                self._drops.add(reason, int(bad.sum()), f"series {example}{detail}")
        return native.select(faults == 0)

    def _view(self, table: SeriesTable) -> _View:
        view = self._views.get(table)
        if view is None:
            view = self._views[table] = _View(table, self._naming)
            table.register(view)
        return view


class _Cumulative:
    """A series processor that passes no delta streams on."""

    leaves_plain = True

    def admit(self, series: Series) -> Series | None:
        """Return the series, None where it is a delta stream."""
        return None if series.kind.temporality is Temporality.DELTA else series


class _View:
    """What the edge remembers about one table."""

    def __init__(self, table: SeriesTable, naming: Naming) -> None:
        self._table = weakref.ref(table)
        self._naming = naming
        self._block = np.full(1024, kernels.NO_BLOCK, np.int32)
        self._block_start = np.zeros(64, np.int64)
        self._block_size = np.zeros(64, np.int32)
        self._block_ids = np.zeros(64, np.int64)
        self._bounds = np.zeros(1024, np.float64)
        self._ids = np.zeros(1024, np.int32)
        self._used = [0, 0, 0]
        self._infos: dict[int, int] = {}

    @property
    def _owner(self) -> SeriesTable:
        table = self._table()
        if table is None:
            raise AssertionError("bug: the table is gone and its view is asked")
        return table

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop the blocks that begin with or lead to `ids`; a few more may go as well and are made again."""
        gone = np.isin(self._ids[: self._used[2]], ids)
        heads = ids[ids < len(self._block)]
        if gone.any() or (self._block[heads] != kernels.NO_BLOCK).any():
            self._block.fill(kernels.NO_BLOCK)
            self._used = [0, 0, 0]
        if self._infos:
            dead = set(ids.tolist())
            self._infos = {resource: i for resource, i in self._infos.items() if i not in dead}

    def expand(self, histograms: HistogramColumns) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]:
        """Return series, row and value of the derived points."""
        table = self._owner
        self._block = grown(self._block, table.capacity, kernels.NO_BLOCK)
        missing = np.empty(len(histograms), np.int64)
        found = kernels.find_missing(
            histograms.series, histograms.starts, histograms.bounds, self._block, self._block_start, self._bounds,
            self._block_size, missing,
        )  # fmt: skip
        for row in missing[:found].tolist():
            self._make_block(histograms, row)
        self._block = grown(self._block, table.capacity, kernels.NO_BLOCK)
        room = len(histograms.counts) + 2 * len(histograms)
        series, rows, values = np.empty(room, np.int32), np.empty(room, np.int64), np.empty(room, np.float64)
        n = kernels.expand(
            histograms.series, histograms.kind, histograms.flags, histograms.count, histograms.sum,
            histograms.starts, histograms.counts, self._block, self._block_ids, self._ids, series, rows, values,
        )  # fmt: skip
        table.touch(series[:n][series[:n] >= 0])
        return series[:n], rows[:n], values[:n]

    def routed(self, exemplars: ExemplarColumns, histograms: HistogramColumns) -> ExemplarColumns:
        """Return the exemplars with those of explicit histograms at the buckets that their values fall into.

        Args:
            exemplars: Of the batch.
            histograms: Explicit ones and summaries; `expand` has seen them.
        """
        explicit = np.unique(histograms.series[histograms.kind == HistogramKind.EXPLICIT])
        series = exemplars.series.copy()
        kernels.route(
            explicit, exemplars.value, self._block, self._block_start, self._block_size, self._block_ids, self._bounds,
            self._ids, series,
        )  # fmt: skip
        out = replace(exemplars, series=series)
        return out if (series >= 0).all() else out.select(series >= 0)

    def target_info(
        self, batch: MetricBatch
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]] | None:
        """Return the ``target_info`` samples of the resources of `batch`, None without any."""
        if not batch.table.has_resources:
            return None
        columns = [(batch.series, batch.time_ns)]
        if batch.histograms is not None:
            columns.append((batch.histograms.series, batch.histograms.time_ns))
        # Native ones are of Prometheus sources, which have no resources.
        ids = np.concatenate([series for series, _ in columns])
        if not len(ids):
            return None
        table = batch.table
        resources = table.head_column(ids, "resource")
        named = (resources >= 0) & (table.head_column(ids, "form") == Form.OTLP)
        if not named.any():
            return None
        times = np.concatenate([time_ns for _, time_ns in columns])
        return self._infos_of(resources[named], times[named])

    def _infos_of(
        self, resources: NDArray[np.int32], times: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]] | None:
        series: list[int] = []
        when: list[int] = []
        for resource in np.unique(resources).tolist():
            info = self._info(resource)
            if info >= 0:
                own = times[resources == resource]
                first, last = int(own.min()), int(own.max())
                first = max(first, last - _MAX_TARGET_INFO * _TARGET_INFO_STEP_NS)
                stamps = [*range(first, last, _TARGET_INFO_STEP_NS), last]
                series += [info] * len(stamps)
                when += stamps
        if not series:
            return None
        return np.array(series, np.int32), np.array(when, np.int64), np.ones(len(series), np.float64)

    def _info(self, resource: int) -> int:
        """Return the id of a resource's ``target_info``, -1 where it has none."""
        table = self._owner
        known = self._infos.get(resource)
        if known is None:
            try:
                series = target_info(table.resource(resource), self._naming)
            except InvalidInput:
                series = None
            known = self._infos[resource] = -1 if series is None else int(table.intern([series])[0])
        if known >= 0:
            table.touch(np.array([known], np.int32))
        return known

    def _make_block(self, histograms: HistogramColumns, row: int) -> None:
        """Intern the series that a histogram or summary with these bounds is made of."""
        table = self._owner
        series_id = int(histograms.series[row])
        bounds = histograms.bounds[histograms.starts[row] : histograms.starts[row + 1]]
        summary = histograms.kind[row] == HistogramKind.SUMMARY
        ids = table.intern(_derived(table.series(series_id), bounds.tolist(), summary=bool(summary)))
        number, bound_place, id_place = self._used
        self._block_start = grown(self._block_start, number + 1)
        self._block_size = grown(self._block_size, number + 1)
        self._block_ids = grown(self._block_ids, number + 1)
        self._bounds = grown(self._bounds, bound_place + len(bounds))
        self._ids = grown(self._ids, id_place + len(ids))
        self._block_start[number], self._block_size[number] = bound_place, len(bounds)
        self._block_ids[number] = id_place
        self._bounds[bound_place : bound_place + len(bounds)] = bounds
        self._ids[id_place : id_place + len(ids)] = ids
        self._block[series_id] = number
        self._used = [number + 1, bound_place + len(bounds), id_place + len(ids)]


def _derived(base: Series, bounds: Sequence[float], *, summary: bool) -> list[Series]:
    """Return the series of buckets or quantiles, of the sum and of the count."""
    name = base.name
    plain = Series(base.labels)
    if summary:
        parts = [plain.set({"quantile": canonical_float(bound)}) for bound in bounds]
    else:
        parts = [plain.set({METRIC_NAME: f"{name}_bucket", "le": canonical_float(bound)}) for bound in bounds]
    return [*parts, plain.set({METRIC_NAME: f"{name}_sum"}), plain.set({METRIC_NAME: f"{name}_count"})]


def _appended(
    batch: MetricBatch,
    series: NDArray[np.int32],
    time_ns: NDArray[np.int64],
    value: NDArray[np.float64],
    start_ns: NDArray[np.int64] | None = None,
    flags: NDArray[np.uint8] | None = None,
) -> MetricBatch:
    """Return `batch` with more number points behind its own."""
    n = len(series)
    return replace(
        batch,
        series=np.concatenate([batch.series, series]),
        time_ns=np.concatenate([batch.time_ns, time_ns]),
        value=np.concatenate([batch.value, value]),
        start_ns=np.concatenate([batch.start_ns, np.zeros(n, np.int64) if start_ns is None else start_ns]),
        flags=np.concatenate([batch.flags, np.zeros(n, np.uint8) if flags is None else flags & np.uint8(Flag.STALE)]),
        integers=None,
    )
