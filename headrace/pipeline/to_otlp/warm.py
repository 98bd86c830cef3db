"""The kernels that OTLP exporters need, each called once."""

from __future__ import annotations

import numpy as np

from headrace.pipeline.batch import BatchContext, MetricBatch
from headrace.pipeline.counters import Counters, Drops
from headrace.pipeline.identity import Series
from headrace.pipeline.native_histograms import NativeHistograms
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.to_otlp.edge import OtlpEdge
from headrace.pipeline.wire.otlp import OtlpDecoder
from headrace.pipeline.wire.otlp_encode import OtlpEncoder
from headrace.pipeline.wire.otlp_sample import sample_request


def warm_up() -> None:
    """Convert and encode small batches of every kind of point."""
    table = SeriesTable()
    edge, encoder = OtlpEdge(Drops(Counters(), "warm-up")), OtlpEncoder()
    decoded = OtlpDecoder(table).decode(sample_request(), BatchContext()).batch
    names = [{"le": "1", "__name__": "h_bucket"}, {"le": "+Inf", "__name__": "h_bucket"}, {"__name__": "h_count"}]
    ids = table.intern([Series.of(name) for name in names])
    samples = MetricBatch.of(table, ids, np.ones(3, np.int64), np.ones(3), native=NativeHistograms.empty())
    for batch in (decoded, samples):
        encoder.encode([edge.convert(batch).batch])
