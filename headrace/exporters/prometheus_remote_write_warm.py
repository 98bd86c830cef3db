"""Calls each kernel of the exporter once, so that no request waits for a compiler."""

from __future__ import annotations

import numpy as np

from headrace.exporters.prometheus_remote_write_encoding import Encoder
from headrace.pipeline.batch import ExemplarColumns, MetricBatch
from headrace.pipeline.counters import Counters, Drops
from headrace.pipeline.identity import Series
from headrace.pipeline.native_histograms import NativeHistograms
from headrace.pipeline.prometheus_edge import PrometheusEdge
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.storage.batches import BatchDecoder, BatchEncoder


def warm_up() -> None:
    """Compile."""
    table = SeriesTable()
    batch = _batch(table)
    encoder = Encoder({}, 1000, send_metadata=False, namespace="", monotonic_s=lambda: 0.0)
    flat = PrometheusEdge(Drops(Counters(), "warm-up")).flatten(batch).batch
    for version in (1, 2):
        for outgoing in encoder.encode(flat, version):
            outgoing.part()
    payload = BatchEncoder().encode(batch).payload
    BatchDecoder(lambda _: table, lambda _points, _why: None).decode(payload)


def _batch(table: SeriesTable) -> MetricBatch:
    ids = table.intern([Series.of(__name__="up")])
    zero = np.zeros(1, np.int64)
    starts = np.array([0, 1], np.int64)
    native = NativeHistograms(
        ids, zero, zero, np.zeros(1, np.uint8), np.zeros(1, np.uint8), np.zeros(1, np.int8), np.zeros(1),
        np.zeros(1, np.uint64), np.ones(1, np.uint64), np.ones(1), starts, np.ones(1, np.int32),
        np.ones((1, 2), np.int32), starts, np.ones(1, np.uint64), np.zeros(2, np.int64), np.empty(0),
    )  # fmt: skip
    exemplars = ExemplarColumns(
        ids, zero, np.ones(1), np.zeros(2, np.int32), np.empty((0, 4), np.int32), np.empty(0, np.uint8)
    )
    return MetricBatch.of(table, ids, zero, np.ones(1), native=native, exemplars=exemplars)
