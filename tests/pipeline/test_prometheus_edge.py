"""Batches as plain Prometheus samples."""

from __future__ import annotations

import numpy as np
import pytest

from headrace.pipeline.batch import STALE_BITS, Flag, HistogramColumns, HistogramKind, MetricBatch
from headrace.pipeline.counters import Counters, Drops
from headrace.pipeline.identity import Form, Kind, MetricType, Resource, Series, Temporality
from headrace.pipeline.prometheus_edge import DELTA, INVALID, NATIVE, PrometheusEdge
from headrace.pipeline.series import SeriesTable
from headrace.testing.batches import make_batch, rows

RESOURCE = Resource((("host.name", "h"), ("service.name", "api")))


def edge() -> PrometheusEdge:
    """Make an edge whose drops nobody reads."""
    return PrometheusEdge(Drops(Counters(), "test"))


def otlp(name: str, kind: Kind, resource: Resource | None = None, **attributes: str) -> Series:
    """Make an OTLP series."""
    return Series(Series.of({"__name__": name, **attributes}).labels, Form.OTLP, kind, "", resource)


def histograms(
    ids: list[int],
    kind: HistogramKind,
    bounds: list[list[float]],
    counts: list[list[float]],
    total: list[float],
    flags: list[int] | None = None,
) -> HistogramColumns:
    """Make histogram rows at time 5."""
    h = len(ids)
    zero = np.zeros(h)
    return HistogramColumns(
        np.array(ids, np.int32), np.full(h, 5, np.int64), np.zeros(h, np.int64), np.array(flags or [0] * h, np.uint8),
        np.full(h, kind, np.uint8), np.array([sum(c) for c in counts], np.float64), np.array(total), zero, zero,
        zero.astype(np.int32), zero, zero, zero.astype(np.int32), zero.astype(np.int32), zero.astype(np.int32),
        np.concatenate([[0], np.cumsum([len(b) for b in bounds])]).astype(np.int64),
        np.array([x for b in bounds for x in b]), np.array([x for c in counts for x in c], np.float64),
    )  # fmt: skip


def with_histograms(table: SeriesTable, columns: HistogramColumns) -> MetricBatch:
    """Make a batch of histograms only."""
    return make_batch([], table=table).with_columns(histograms=columns)


def test_prometheus_series_pass_untouched() -> None:
    """A batch of a Prometheus source is the same object behind the edge."""
    batch = make_batch(["up", "down"])
    assert edge().flatten(batch).batch is batch


def test_otlp_points_are_renamed_and_get_a_target() -> None:
    """Names, units and resources become labels, and one target_info a resource comes along."""
    counter = Kind(MetricType.COUNTER, Temporality.CUMULATIVE)
    batch = make_batch(
        [otlp("a.b", counter, RESOURCE, x="1"), otlp("a.b", counter, RESOURCE, x="2")], time_ns=[7, 9], value=[1.0, 2.0]
    )
    assert rows(edge().flatten(batch).batch) == [
        ('a_b_total{job="api", x="1"}', 7, 1.0),
        ('a_b_total{job="api", x="2"}', 9, 2.0),
        ('target_info{host_name="h", job="api"}', 7, 1.0),
        ('target_info{host_name="h", job="api"}', 9, 1.0),
    ]


def test_explicit_histograms_become_cumulative_series() -> None:
    """Counts per bucket become cumulative ones with canonical bounds; a sum that was not sent is left out."""
    table = SeriesTable()
    kind = Kind(MetricType.HISTOGRAM, Temporality.CUMULATIVE)
    ids = table.intern([otlp("h", kind, z="1"), otlp("h", kind, z="2")]).tolist()
    columns = histograms(ids, HistogramKind.EXPLICIT, [[1.0, 2.5, np.inf], [np.inf]], [[1, 0, 3], [7]], [9.5, np.nan])
    expected = [
        ('h_bucket{le="1.0", z="1"}', 5, 1.0),
        ('h_bucket{le="2.5", z="1"}', 5, 1.0),
        ('h_bucket{le="+Inf", z="1"}', 5, 4.0),
        ('h_sum{z="1"}', 5, 9.5),
        ('h_count{z="1"}', 5, 4.0),
        ('h_bucket{le="+Inf", z="2"}', 5, 7.0),
        ('h_count{z="2"}', 5, 7.0),
    ]
    view = edge()
    for _ in range(3):
        assert rows(view.flatten(with_histograms(table, columns)).batch) == expected


def test_changed_bounds_make_other_series() -> None:
    """A histogram whose bounds change is expanded by its new bounds from then on."""
    table = SeriesTable()
    ids = table.intern([otlp("h", Kind(MetricType.HISTOGRAM, Temporality.CUMULATIVE))]).tolist()
    view = edge()
    for bound in (1.0, 2.0, 1.0):
        columns = histograms(ids, HistogramKind.EXPLICIT, [[bound, np.inf]], [[1, 1]], [1.0])
        names = [name for name, _, _ in rows(view.flatten(with_histograms(table, columns)).batch)]
        assert names[0] == f'h_bucket{{le="{bound}"}}'


def test_summaries_become_quantiles() -> None:
    """Quantiles keep the metric's name; their values are not added up."""
    table = SeriesTable()
    ids = table.intern([otlp("s", Kind(MetricType.SUMMARY))]).tolist()
    columns = histograms(ids, HistogramKind.SUMMARY, [[0.5, 0.99]], [[10, 30]], [100.0])
    assert rows(edge().flatten(with_histograms(table, columns)).batch) == [
        ('s{quantile="0.5"}', 5, 10.0),
        ('s{quantile="0.99"}', 5, 30.0),
        ("s_sum", 5, 100.0),
        ("s_count", 5, 40.0),
    ]


def test_stale_histogram_ends_all_its_series() -> None:
    """No recorded value becomes the stale marker in every derived series."""
    table = SeriesTable()
    ids = table.intern([otlp("h", Kind(MetricType.HISTOGRAM, Temporality.CUMULATIVE))]).tolist()
    columns = histograms(ids, HistogramKind.EXPLICIT, [[1.0, np.inf]], [[0, 0]], [np.nan], [int(Flag.STALE)])
    flat = edge().flatten(with_histograms(table, columns)).batch
    assert flat.value.view(np.uint64).tolist() == [int(STALE_BITS)] * 4


def test_what_has_no_place_is_rejected_by_name() -> None:
    """Delta streams, native histograms and empty names are counted apart, and the others go on."""
    table = SeriesTable()
    view = edge()
    delta = Kind(MetricType.COUNTER, Temporality.DELTA)
    batch = make_batch([otlp("d", delta), otlp("äö", Kind(MetricType.GAUGE)), "ok"], table=table)
    flat = view.flatten(batch)
    assert [name for name, _, _ in rows(flat.batch)] == ["ok"]
    assert flat.rejected == {DELTA: 1, INVALID: 1}
    assert "deltatocumulative" in flat.message
    native = table.intern([otlp("n", Kind(MetricType.HISTOGRAM, Temporality.CUMULATIVE, is_exponential=True))])
    columns = histograms(native.tolist(), HistogramKind.EXPONENTIAL, [[0.0]], [[1]], [1.0])
    assert view.flatten(with_histograms(table, columns)).rejected == {NATIVE: 1}


@pytest.mark.parametrize("rounds", [12])
def test_freed_series_are_derived_anew(rounds: int) -> None:
    """Whatever the table frees meanwhile, derived points always carry the right series."""
    now = 0.0
    table = SeriesTable(clock_s=lambda: now)
    view = edge()
    kind = Kind(MetricType.HISTOGRAM, Temporality.CUMULATIVE)
    for step in range(rounds):
        now = step * 10.0
        name = f"h{step % 3}"
        ids = table.intern([otlp(name, kind, RESOURCE)]).tolist()
        columns = histograms(ids, HistogramKind.EXPLICIT, [[1.0, np.inf]], [[1, 1]], [1.0])
        flat = view.flatten(with_histograms(table, columns)).batch
        assert [n for n, _, _ in rows(flat)] == [
            f'{name}_bucket{{job="api", le="1.0"}}',
            f'{name}_bucket{{job="api", le="+Inf"}}',
            f'{name}_sum{{job="api"}}',
            f'{name}_count{{job="api"}}',
            'target_info{host_name="h", job="api"}',
        ]
        table.collect(15)
