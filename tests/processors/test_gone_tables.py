"""A workspace that is removed takes all that is known of it along."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from headrace.pipeline.component import StatefulProcessor
from headrace.pipeline.identity import MetricType, Temporality
from headrace.pipeline.series import SeriesTable
from headrace.processors import (
    cardinality_limit,
    cumulativetodelta,
    deltatocumulative,
    interval,
    metricstarttime,
    metricstransform,
    stream_aggregate,
)
from headrace.testing.batches import make_settings
from stream_points import Histogram, Number, Side, batch_of, otlp

HOUR_NS = 3_600_000_000_000
CASES: list[tuple[Any, dict[str, Any]]] = [
    (cardinality_limit.FACTORY, {"max_series": 1, "action": "overflow"}),
    (deltatocumulative.FACTORY, {}),
    (cumulativetodelta.FACTORY, {"initial_value": "keep"}),
    (interval.FACTORY, {}),
    (metricstarttime.FACTORY, {}),
    (metricstransform.FACTORY, {"transforms": [{"include": "c", "action": "update", "new_name": "d"}]}),
    (stream_aggregate.FACTORY, {"rules": [{"interval": "1m", "outputs": ["total", "quantiles(0.5)"]}]}),
]


@pytest.mark.parametrize(("factory", "config"), CASES, ids=[factory.name for factory, _ in CASES])
def test_a_table_that_is_gone_is_forgotten(factory: Any, config: dict[str, Any]) -> None:
    """At the latest when what was held back of it is due."""
    now = HOUR_NS
    processor = factory.create(make_settings(factory.name, clock_ns=lambda: now), factory.config(**config))
    table = SeriesTable()
    points: list[Number | Histogram] = [
        Number(otlp("c"), 1, 1.0),
        Number(otlp("d", temporality=Temporality.DELTA), 1, 1.0),
        Histogram(otlp("h", MetricType.HISTOGRAM, exponential=True), 1, 1.0, positive=Side(0, (1.0,))),
    ]
    processor.process(batch_of(table, points))
    gone = weakref.ref(table)
    del table
    if isinstance(processor, StatefulProcessor):
        processor.tick(2 * HOUR_NS)
        assert processor.snapshot()
    gc.collect()
    assert gone() is None
    if isinstance(processor, StatefulProcessor):
        assert processor.tick(3 * HOUR_NS) == []
