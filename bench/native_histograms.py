"""Native histograms: read from remote write, made of OpenTelemetry's, written to remote write; and exemplars stored."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.kernels.buffers import padded
from headrace.pipeline.batch import BatchContext
from headrace.pipeline.counters import Counters, Drops
from headrace.pipeline.identity import Series
from headrace.pipeline.native_histograms import NativeHistograms
from headrace.pipeline.prometheus_edge import PrometheusEdge
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.wire.otlp import OtlpDecoder
from headrace.pipeline.wire.remote_write import RemoteWriteDecoder
from headrace.pipeline.wire.remote_write_encode import LabelArena
from headrace.pipeline.wire.remote_write_encode_more import histogram_requests
from headrace.store.engine import EngineOptions
from headrace.store.exemplars import ExemplarBatch
from headrace.store.log import Sync
from headrace.store.store import Store, StoreOptions

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 5_000
BUCKETS = 40
ROUNDS = 20
EXEMPLARS = 10_000
NOW_MS = 1_700_000_000_000


def run() -> dict[str, float]:
    """Measure CPU microseconds for each histogram of 40 buckets, and for each exemplar."""
    table = SeriesTable()
    ids = table.intern([Series.of(__name__="h", instance=f"10.0.0.{i}:9100", job="api") for i in range(ROWS)])
    rows = _rows(ids)
    arena = LabelArena(table, {})
    request = next(histogram_requests(arena, rows, 1 << 30)).body
    data = padded(request)
    decoder = RemoteWriteDecoder(table, v2=False)
    otlp = _otlp_request()
    otlp_decoder = OtlpDecoder(table)
    edge = PrometheusEdge(Drops(Counters(), "bench"))
    batch = otlp_decoder.decode(otlp, BatchContext()).batch
    return {
        "remote_write_read_us": _each(lambda: decoder.decode(data, len(request), BatchContext())),
        "remote_write_written_us": _each(lambda: list(histogram_requests(arena, rows, 1 << 30))),
        "otlp_exponential_to_native_us": _each(lambda: edge.flatten(batch)),
        "exemplar_appended_us": asyncio.run(_exemplars()),
    }


def _each(work: Callable[[], Any]) -> float:
    work()
    began = time.process_time()
    for _ in range(ROUNDS):
        work()
    return (time.process_time() - began) * 1e6 / (ROUNDS * ROWS)


def _rows(ids: np.ndarray[Any, np.dtype[np.int32]]) -> NativeHistograms:
    n = len(ids)
    counts = np.random.default_rng(1).integers(0, 5000, (n, BUCKETS)).astype(np.uint64)
    return NativeHistograms(
        series=ids,
        time_ms=np.full(n, NOW_MS, np.int64),
        start_ms=np.zeros(n, np.int64),
        flags=np.zeros(n, np.uint8),
        hint=np.zeros(n, np.uint8),
        schema=np.full(n, 3, np.int8),
        zero_threshold=np.zeros(n),
        zero_count=np.zeros(n, np.uint64),
        count=counts.sum(axis=1, dtype=np.uint64),
        sum=np.ones(n),
        span_starts=np.arange(0, 2 * n + 1, 2, dtype=np.int64),
        positive_spans=np.full(n, 2, np.int32),
        spans=np.tile(np.array([[3, BUCKETS // 2], [5, BUCKETS // 2]], np.int32), (n, 1)),
        bucket_starts=np.arange(0, BUCKETS * n + 1, BUCKETS, dtype=np.int64),
        buckets=counts.ravel(),
        bound_starts=np.zeros(n + 1, np.int64),
        bounds=np.empty(0),
    )


def _otlp_request() -> bytes:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

    message = ExportMetricsServiceRequest()
    metric = message.resource_metrics.add().scope_metrics.add().metrics.add(name="d")
    metric.exponential_histogram.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
    for i in range(ROWS):
        counts = [(i * k) % 97 for k in range(BUCKETS)]
        point = metric.exponential_histogram.data_points.add(time_unix_nano=NOW_MS * 1_000_000, scale=4)
        point.count, point.sum = sum(counts), 1.0
        point.positive.offset = i % 30
        point.positive.bucket_counts.extend(counts)
        point.attributes.add(key="i").value.int_value = i
    return message.SerializeToString()


async def _exemplars() -> float:
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as directory:
        options = StoreOptions(Sync.NEVER, 0, EngineOptions(max_future_ms=1 << 40))
        store = Store(Path(directory), options, clock_ms=lambda: NOW_MS)
        store.open()
        engine = store.engine("default")
        refs = engine.refs([(("__name__", "m"), ("i", str(i))) for i in range(EXEMPLARS)])
        text = b"trace_id" + b"".join(f"{i:032x}".encode() for i in range(EXEMPLARS))
        places = 8 + 32 * np.arange(EXEMPLARS)
        spans = np.stack([0 * places, 0 * places + 8, places, 0 * places + 32], axis=1).astype(np.int32)
        starts = np.arange(EXEMPLARS + 1, dtype=np.int32)
        buf, dated = padded(text), np.ones(EXEMPLARS, np.bool_)
        spent = 0.0
        for i in range(ROUNDS + 1):
            times = np.full(EXEMPLARS, NOW_MS + i, np.int64)
            given = ExemplarBatch(refs, times, np.ones(EXEMPLARS), dated, buf, spans.copy(), starts)
            began = time.process_time()
            await engine.append_exemplars(given)
            spent += time.process_time() - began if i else 0.0
        await store.close()
        return spent * 1e6 / (ROUNDS * EXEMPLARS)
