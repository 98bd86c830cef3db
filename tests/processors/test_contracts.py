"""What holds for every processor, for each of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from headrace.pipeline.identity import MetricType, Temporality
from headrace.processors import (
    batch,
    cardinality_limit,
    cumulativetodelta,
    deltatocumulative,
    filter,  # noqa: A004 -- the module's name
    interval,
    memory_limiter,
    metricstarttime,
    metricstransform,
    relabel,
    stream_aggregate,
)
from headrace.testing.batches import make_batch, make_settings, with_native
from headrace.testing.processors import ProcessorContract
from headrace.testing.stateful import StatefulContract
from stream_points import Histogram, Number, batch_of, otlp

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.series import SeriesTable


class TestBatch(ProcessorContract):
    """``batch``."""

    factory = batch.FACTORY


class TestCardinalityLimit(StatefulContract):
    """``cardinality_limit``, dropping."""

    factory = cardinality_limit.FACTORY
    config: ClassVar[dict[str, Any]] = {"max_series": 1}


class TestFilter(ProcessorContract):
    """``filter``."""

    factory = filter.FACTORY
    config: ClassVar[dict[str, Any]] = {"exclude": [{"metric_names": ["b"]}]}


class TestMemoryLimiter(ProcessorContract):
    """``memory_limiter``."""

    factory = memory_limiter.FACTORY
    config: ClassVar[dict[str, Any]] = {"limit_percentage": 100}


class TestRelabel(ProcessorContract):
    """``relabel``."""

    factory = relabel.FACTORY
    config: ClassVar[dict[str, Any]] = {
        "relabel_configs": [{"source_labels": ["__name__"], "regex": "a", "target_label": "team", "replacement": "x"}]
    }


class TestCumulativeToDelta(StatefulContract):
    """``cumulativetodelta``."""

    factory = cumulativetodelta.FACTORY

    def batches(self, table: SeriesTable) -> list[MetricBatch]:
        """Points of a sum and a histogram."""
        return _sums(table, Temporality.CUMULATIVE)


class TestDeltaToCumulative(StatefulContract):
    """``deltatocumulative``."""

    factory = deltatocumulative.FACTORY

    def batches(self, table: SeriesTable) -> list[MetricBatch]:
        """Points of a sum and a histogram."""
        return _sums(table, Temporality.DELTA)


class TestInterval(StatefulContract):
    """``interval``, where all waits."""

    factory = interval.FACTORY


class TestIntervalPassThrough(ProcessorContract):
    """``interval``, where gauges pass; a native histogram that has no hint waits all the same."""

    factory = interval.FACTORY
    config: ClassVar[dict[str, Any]] = {"pass_through": {"gauge": True, "summary": True}}

    def test_histograms_and_exemplars_go_with_their_series(self) -> None:
        """Native histograms wait, with their exemplars, whatever their names say."""
        processor = interval.Interval(make_settings("interval"), interval.IntervalConfig(**self.config))
        batch = with_native(make_batch(["a", "b"], value=[1.0, 2.0]), ["a", "b"])
        out = self.run(processor, batch)
        assert out.value.tolist() == [1.0, 2.0]
        assert out.native is None
        assert out.exemplars is None
        (held,) = processor.drain(0)
        assert (len(held.series), len(held.native or ()), len(held.exemplars or ())) == (0, 2, 2)


class TestMetricStartTime(StatefulContract):
    """``metricstarttime``."""

    factory = metricstarttime.FACTORY


class TestMetricsTransform(ProcessorContract):
    """``metricstransform``, renaming one metric and dropping another."""

    factory = metricstransform.FACTORY
    config: ClassVar[dict[str, Any]] = {
        "transforms": [
            {"include": "a", "action": "update", "new_name": "z"},
            {
                "include": "^b$",
                "match_type": "regexp",
                "action": "update",
                "operations": [
                    {"action": "add_label", "new_label": "x", "new_value": "1"},
                    {"action": "delete_label_value", "label": "x", "label_value": "1"},
                ],
            },
        ]
    }


class TestStreamAggregate(StatefulContract):
    """``stream_aggregate``, about one of the series."""

    factory = stream_aggregate.FACTORY
    config: ClassVar[dict[str, Any]] = {
        "rules": [{"match": '{__name__=~"b.*"}', "interval": "1m", "outputs": ["total", "sum", "quantiles(0.5)"]}]
    }


def _sums(table: SeriesTable, temporality: Temporality) -> list[MetricBatch]:
    total, histogram = otlp("n", temporality=temporality), otlp("h", MetricType.HISTOGRAM, temporality)
    return [
        batch_of(
            table,
            [
                Number(total, i + 1, 2.0 * i),
                Histogram(histogram, i + 1, 1.0 + i, 1.0, bounds=(1.0,), counts=(1.0 + i,)),
            ],
        )
        for i in range(4)
    ]
