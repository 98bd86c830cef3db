"""An ``otlp`` receiver with gRPC alone on a free port, and requests for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from headrace.receivers.otlp import FACTORY, OtlpConfig
from headrace.testing.batches import make_settings

if TYPE_CHECKING:
    from headrace.receivers.otlp import OtlpReceiver
    from headrace.testing.sinks import MemorySink

EXPORT = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"


def request(*, points: int = 2) -> bytes:
    message = ExportMetricsServiceRequest()
    metric = message.resource_metrics.add().scope_metrics.add().metrics.add(name="queue.size")
    for i in range(points):
        metric.gauge.data_points.add(time_unix_nano=1_000 + i, as_double=i + 0.5)
    return message.SerializeToString()


def make(sink: MemorySink, **settings: Any) -> OtlpReceiver:
    config = OtlpConfig.model_validate({"protocols": {"grpc": {"endpoint": "127.0.0.1:0", **settings}}})
    receiver: OtlpReceiver = FACTORY.create(make_settings("otlp", kind="receivers"), config, sink)  # type: ignore[assignment]
    return receiver
