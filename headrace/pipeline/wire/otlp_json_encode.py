"""OTLP requests as JSON.

Source:
    OpenTelemetry Protocol specification, "JSON Protobuf Encoding": protobuf's JSON mapping, but trace and span ids are
    hexadecimal and enums are integers.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

_POINTS = ("gauge", "sum", "histogram", "exponentialHistogram")


def to_json(request: bytes | memoryview) -> bytes:
    """Return an ExportMetricsServiceRequest as JSON."""
    message = ExportMetricsServiceRequest.FromString(bytes(request))
    document = json_format.MessageToDict(message, use_integers_for_enums=True)
    for resource in document.get("resourceMetrics", ()):
        for scope in resource.get("scopeMetrics", ()):
            for metric in scope.get("metrics", ()):
                _recode_ids(metric)
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def _recode_ids(metric: dict[str, Any]) -> None:
    """Turn the base64 of a metric's trace and span ids into hexadecimal digits."""
    for kind in _POINTS:
        for point in metric.get(kind, {}).get("dataPoints", ()):
            for exemplar in point.get("exemplars", ()):
                for name in ("traceId", "spanId"):
                    if name in exemplar:
                        exemplar[name] = base64.b64decode(exemplar[name]).hex()
