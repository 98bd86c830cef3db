"""Batches from OTLP messages, for tests of exporters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from headrace.pipeline.batch import BatchContext
from headrace.pipeline.wire.otlp import OtlpDecoder

if TYPE_CHECKING:
    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.series import SeriesTable

DELTA, CUMULATIVE = 1, 2


class OtlpBatches:
    """Makes batches of one table.

    Args:
        table: Whose ids.
    """

    def __init__(self, table: SeriesTable) -> None:
        self.decoder = OtlpDecoder(table)

    def of(self, message: Any, workspace: str = "default") -> MetricBatch:
        """Return the batch of a request, all of whose points are taken."""
        decoded = self.decoder.decode(message.SerializeToString(), BatchContext(workspace, "otlp", "", 7_000_000_000))
        assert not decoded.rejected, decoded.message
        return decoded.batch


def attributes(target: Any, **values: Any) -> None:
    """Add attributes to a point, a resource, a scope or an exemplar; ``__`` in a name stands for a dot."""
    for name, value in values.items():
        kind = {bool: "bool_value", str: "string_value", int: "int_value", float: "double_value"}[type(value)]
        target_list = target.filtered_attributes if hasattr(target, "filtered_attributes") else target.attributes
        setattr(target_list.add(key=name.replace("__", ".")).value, kind, value)


def request(resource: dict[str, Any] | None = None, scope: str = "") -> tuple[Any, Any]:
    """Return a request and its one scope, to add metrics to."""
    message = ExportMetricsServiceRequest()
    resources = message.resource_metrics.add()
    attributes(resources.resource, **(resource or {}))
    scopes = resources.scope_metrics.add()
    if scope:
        scopes.scope.name, _, scopes.scope.version = scope.partition("@")
    return message, scopes
