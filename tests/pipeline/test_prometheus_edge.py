"""Batches as plain Prometheus samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headrace.pipeline.batch import (
    STALE_BITS,
    ExemplarColumns,
    Flag,
    HistogramColumns,
    HistogramKind,
    MetricBatch,
)
from headrace.pipeline.counters import Counters, Drops
from headrace.pipeline.identity import Form, Kind, MetricType, Resource, Series, Temporality
from headrace.pipeline.native_histograms import NativeFlag, NativeHistograms
from headrace.pipeline.prometheus_edge import COARSE, DELTA, INVALID, NATIVE, PrometheusEdge
from headrace.pipeline.series import SeriesTable
from headrace.testing.batches import make_batch, rows
from headrace.testing.batches import rows as number_rows

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
    """Delta streams and empty names are counted apart, and the others go on."""
    table = SeriesTable()
    view = edge()
    delta = Kind(MetricType.COUNTER, Temporality.DELTA)
    batch = make_batch([otlp("d", delta), otlp("äö", Kind(MetricType.GAUGE)), "ok"], table=table)
    flat = view.flatten(batch)
    assert [name for name, _, _ in rows(flat.batch)] == ["ok"]
    assert flat.rejected == {DELTA: 1, INVALID: 1}
    assert "deltatocumulative" in flat.message


EXPONENTIAL = Kind(MetricType.HISTOGRAM, Temporality.CUMULATIVE, is_exponential=True)


def exponential(table: SeriesTable, **columns: object) -> MetricBatch:
    """Make a batch of one exponential histogram, whose columns are those given."""
    ids = table.intern([otlp("n", EXPONENTIAL, RESOURCE)]).tolist()
    counts = [float(count) for count in columns.pop("counts", [])]  # type: ignore[attr-defined]  # a list
    rows = histograms(ids, HistogramKind.EXPONENTIAL, [[0.0] * len(counts)], [counts], [1.5])
    dtypes = {name: getattr(rows, name).dtype for name in columns}
    given = {name: np.array([value], dtypes[name]) for name, value in columns.items()}
    return with_histograms(table, replace(rows, **given))


def buckets_of(rows: NativeHistograms) -> tuple[dict[int, int], dict[int, int]]:
    """Return the counts of the first row by index, positive ones and negative ones."""
    out: tuple[dict[int, int], dict[int, int]] = ({}, {})
    place = 0
    at = 0
    for k, (offset, length) in enumerate(rows.spans[: rows.span_starts[1]].tolist()):
        positive = int(rows.positive_spans[0])
        at = offset if k in (0, positive) else at + offset
        for _ in range(length):
            out[k >= positive][at] = int(rows.buckets[place])
            place += 1
            at += 1
    return out


def test_exponential_histograms_become_native_ones() -> None:
    """Index i is bucket i + 1, empty buckets are left out, the zero bucket gets a width."""
    batch = exponential(
        SeriesTable(), scale=3, positive_offset=-2, negative_offset=4, positive_size=9, zero_count=5.0, count=18.0,
        counts=[0, 1, 0, 2, 0, 0, 0, 3, 0, 7, 0],
    )  # fmt: skip
    flat = edge().flatten(batch)
    rows = flat.batch.native
    assert rows is not None
    assert flat.rejected == {}
    assert str(flat.batch.table.series(int(rows.series[0]))) == 'n{job="api"}'
    assert [name for name, _, _ in number_rows(flat.batch)] == ['target_info{host_name="h", job="api"}']
    positive, negative = buckets_of(rows)
    assert {i: count for i, count in positive.items() if count} == {0: 1, 2: 2, 6: 3}
    assert negative == {5: 7}
    assert positive == {0: 1, 1: 0, 2: 2, 6: 3}
    assert (rows.schema[0], rows.count[0], rows.zero_count[0], rows.sum[0]) == (3, 18, 5, 1.5)
    assert rows.zero_threshold[0] == 1e-128
    assert rows.time_ms.tolist() == [0]


@pytest.mark.parametrize("offset", [-5, -1, 0, 7])
@pytest.mark.parametrize("scale", [9, 10, 20])
def test_finer_scales_are_merged(scale: int, offset: int) -> None:
    """Buckets of a scale above 8 are merged: what falls into one of scale 8 is counted there."""
    counts = list(range(1, 12))
    batch = exponential(
        SeriesTable(), scale=scale, positive_offset=offset, positive_size=11, zero_threshold=0.25, counts=counts
    )
    rows = edge().flatten(batch).batch.native
    assert rows is not None
    expected: dict[int, int] = {}
    for k, count in enumerate(counts):
        index = ((offset + k) >> (scale - 8)) + 1
        expected[index] = expected.get(index, 0) + count
    assert buckets_of(rows)[0] == expected
    assert (rows.schema[0], rows.count[0], rows.zero_threshold[0]) == (8, sum(counts), 0.25)


def test_exponential_histograms_without_a_value_are_stale() -> None:
    """No recorded value becomes a stale marker without buckets; a sum that was not sent is zero."""
    rows = edge().flatten(exponential(SeriesTable(), flags=int(Flag.STALE), counts=[3], positive_size=1)).batch.native
    assert rows is not None
    assert rows.flags.tolist() == [NativeFlag.STALE]
    assert rows.sum.view(np.uint64).tolist() == [int(STALE_BITS)]
    assert (len(rows.buckets), rows.count[0]) == (0, 0)
    rows = edge().flatten(exponential(SeriesTable(), sum=np.nan, counts=[3], positive_size=1)).batch.native
    assert rows is not None
    assert (rows.sum[0], rows.count[0]) == (0.0, 3)


@pytest.mark.parametrize(
    ("columns", "reason", "why"),
    [
        ({"scale": -5}, COARSE, 'the scale must be >= -4: series n{job="api"}, scale -5'),
        ({"count": 9.0}, NATIVE, 'do not add up to its count, or lie too far out: series n{job="api"}'),
        ({"positive_offset": 2**31 - 1}, NATIVE, "lie too far out"),
    ],
)
def test_exponential_histograms_that_cannot_be_native_ones(columns: dict[str, object], reason: str, why: str) -> None:
    """The reason says which series it was."""
    columns = {"positive_size": 2, "counts": [1, 2], **columns}
    flat = edge().flatten(exponential(SeriesTable(), **columns))
    assert flat.rejected == {reason: 1}
    assert why in flat.message
    assert flat.batch.native is not None
    assert len(flat.batch.native) == 0


def test_exemplars_of_histograms_go_to_buckets() -> None:
    """To the first one whose bound is not below the value; those of counters and native histograms stay."""
    table = SeriesTable()
    kind = Kind(MetricType.HISTOGRAM, Temporality.CUMULATIVE)
    ids = table.intern(
        [otlp("h", kind), otlp("n", EXPONENTIAL), otlp("c", Kind(MetricType.COUNTER, Temporality.CUMULATIVE))]
    )
    series = np.array([0, 0, 0, 0, 1, 2], np.int32)
    found = ExemplarColumns(
        ids[series], np.arange(6), np.array([1.0, 1.5, 9.0, np.nan, 3.0, 4.0]), np.zeros(7, np.int32),
        np.empty((0, 4), np.int32), np.empty(0, np.uint8),
    )  # fmt: skip
    columns = histograms(ids[:1].tolist(), HistogramKind.EXPLICIT, [[1.0, 2.0, np.inf]], [[1, 1, 1]], [1.0])
    out = edge().flatten(with_histograms(table, columns).with_columns(exemplars=found)).batch.exemplars
    assert out is not None
    assert [
        (str(table.series(i)), value) for i, value in zip(out.series.tolist(), out.value.tolist(), strict=True)
    ] == [
        ('h_bucket{le="1.0"}', 1.0),
        ('h_bucket{le="2.0"}', 1.5),
        ('h_bucket{le="+Inf"}', 9.0),
        ("n", 3.0),
        ("c_total", 4.0),
    ]


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
