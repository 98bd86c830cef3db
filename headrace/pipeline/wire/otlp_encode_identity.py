"""Parts of OTLP requests that are encoded once: resources, scopes, heads of metrics, attributes that are not plain.

Source:
    opentelemetry-proto, ``common/v1/common.proto``, ``resource/v1/resource.proto``, ``metrics/v1/metrics.proto``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1 import resource_pb2

from headrace.pipeline.identity import MetricType, Temporality
from headrace.pipeline.wire import otlp_kernels as kernels

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from headrace.pipeline.identity import AttributeValue, Kind, Resource, Scope

_MONOTONIC = 4


def field_of(kind: Kind) -> int:
    """Return the field of a metric that holds the points of a kind."""
    if kind.type is MetricType.HISTOGRAM:
        return kernels.EXPONENTIAL if kind.is_exponential else kernels.EXPLICIT
    if kind.type is MetricType.SUMMARY:
        return kernels.SUMMARY
    return kernels.SUM if kind.type is MetricType.COUNTER or kind.is_sum else kernels.GAUGE


def tail_of(kind: Kind) -> int:
    """Return what stands after the points of a metric: temporality, and 4 for a monotonic sum."""
    temporality = kind.temporality or Temporality.CUMULATIVE
    return int(temporality) + (_MONOTONIC if kind.type is MetricType.COUNTER else 0)


def resource_parts(resource: Resource | None) -> tuple[bytes, bytes]:
    """Return a resource as a field of ResourceMetrics, and its schema URL as another."""
    if resource is None:
        return b"", b""
    body = resource_pb2.Resource(attributes=key_values(resource.attributes))
    holder = metrics_pb2.ResourceMetrics(resource=body)
    return holder.SerializeToString(), metrics_pb2.ResourceMetrics(schema_url=resource.schema_url).SerializeToString()


def scope_parts(scope: Scope | None) -> tuple[bytes, bytes]:
    """Return a scope as a field of ScopeMetrics, and its schema URL as another."""
    if scope is None:
        return b"", b""
    body = common_pb2.InstrumentationScope(
        name=scope.name, version=scope.version, attributes=key_values(scope.attributes)
    )
    holder = metrics_pb2.ScopeMetrics(scope=body)
    return holder.SerializeToString(), metrics_pb2.ScopeMetrics(schema_url=scope.schema_url).SerializeToString()


def metric_head(name: str, description: str, unit: str, metadata: Mapping[str, str]) -> bytes:
    """Return the fields of a metric but for its points."""
    pairs = key_values(sorted(metadata.items()))
    return metrics_pb2.Metric(name=name, description=description, unit=unit, metadata=pairs).SerializeToString()


def point_attributes(attributes: Iterable[tuple[str, AttributeValue]], tag: int) -> bytes:
    """Return attributes as fields of a point, where `tag` is that of an attribute."""
    out = bytearray()
    for one in key_values(attributes):
        data = one.SerializeToString()
        out.append(tag)
        out += _varint(len(data)) + data
    return bytes(out)


def key_values(attributes: Iterable[tuple[str, AttributeValue]]) -> list[common_pb2.KeyValue]:
    """Return attributes as messages."""
    return [common_pb2.KeyValue(key=_clean(key), value=_any(value)) for key, value in attributes]


def _any(value: AttributeValue) -> common_pb2.AnyValue:
    if isinstance(value, str):
        return common_pb2.AnyValue(string_value=_clean(value))
    if isinstance(value, list):
        return common_pb2.AnyValue(array_value=common_pb2.ArrayValue(values=[_any(one) for one in value]))
    if isinstance(value, dict):
        return common_pb2.AnyValue(kvlist_value=common_pb2.KeyValueList(values=key_values(value.items())))
    return _scalar(value)


def _scalar(value: object) -> common_pb2.AnyValue:
    if isinstance(value, bool):
        return common_pb2.AnyValue(bool_value=value)
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return common_pb2.AnyValue(double_value=value)
    return common_pb2.AnyValue(bytes_value=value) if isinstance(value, bytes) else common_pb2.AnyValue()


def _integer(value: int) -> common_pb2.AnyValue:
    # JSON of an array may hold integers that no int64 does.
    if -(1 << 63) <= value < 1 << 63:
        return common_pb2.AnyValue(int_value=value)
    return common_pb2.AnyValue(double_value=math.copysign(math.inf, value) if abs(value) > 1 << 1023 else float(value))


def _clean(text: str) -> str:
    """Return text without surrogates, which UTF-8 does not have."""
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
