"""Identities out of OTLP bytes: resources, scopes, and attributes that are not plain strings.

This is the part that runs once for what is new, with protobuf's own classes; the rest is kernels.

Source:
    opentelemetry-proto, ``common/v1/common.proto``, ``resource/v1/resource.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1 import resource_pb2

from headrace.kernels.buffers import padded
from headrace.pipeline.errors import InvalidInput, TooLarge
from headrace.pipeline.identity import METRIC_NAME, Kind, MetricType, Resource, Scope, Temporality
from headrace.pipeline.otlp_names import attribute_text
from headrace.pipeline.wire import otlp_kernels as kernels
from headrace.pipeline.wire.spans import LabelSpans

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headrace.pipeline.identity import AttributeValue

_POINTS: dict[int, Any] = {
    kernels.GAUGE: metrics_pb2.NumberDataPoint,
    kernels.SUM: metrics_pb2.NumberDataPoint,
    kernels.EXPLICIT: metrics_pb2.HistogramDataPoint,
    kernels.EXPONENTIAL: metrics_pb2.ExponentialHistogramDataPoint,
    kernels.SUMMARY: metrics_pb2.SummaryDataPoint,
}

MAX_BYTES = 256 * 1024
"""Bytes of a resource or a scope."""

Attributes = tuple[tuple[str, str], ...]


def kind_of(field: int, temporality: int, *, monotonic: bool) -> Kind:
    """Return what the points in a metric's field are."""
    when = Temporality(temporality)
    if field == kernels.SUM:
        type_ = MetricType.COUNTER if monotonic else MetricType.GAUGE
        return Kind(type_, when, is_sum=not monotonic)
    if field == kernels.GAUGE:
        return Kind(MetricType.GAUGE)
    if field == kernels.SUMMARY:
        return Kind(MetricType.SUMMARY)
    return Kind(MetricType.HISTOGRAM, when, is_exponential=field == kernels.EXPONENTIAL)


def read_resource(data: bytes, schema_url: bytes) -> Resource | None:
    """Read a Resource message; None where it says nothing.

    Raises:
        InvalidInput: It does not decode.
        TooLarge: It has more than MAX_BYTES.
    """
    if not data and not schema_url:
        return None
    _bound(len(data) + len(schema_url))
    message = _parsed(resource_pb2.Resource, data, "resource")
    return Resource(_attributes(message.attributes), _text(schema_url, "schema_url"))


def read_scope(data: bytes, schema_url: bytes) -> Scope | None:
    """Read an InstrumentationScope message; None where it says nothing.

    Raises:
        InvalidInput: It does not decode.
        TooLarge: It has more than MAX_BYTES.
    """
    if not data and not schema_url:
        return None
    _bound(len(data) + len(schema_url))
    message = _parsed(common_pb2.InstrumentationScope, data, "scope")
    return Scope(message.name, message.version, _attributes(message.attributes), _text(schema_url, "schema_url"))


def read_point(field: int, data: bytes) -> tuple[Attributes, Attributes]:
    """Return the attributes of a point as text, and the types of those that are not strings.

    Args:
        field: Field of the metric that holds the point.
        data: The point.

    Raises:
        InvalidInput: It does not decode.
    """
    message = _parsed(_POINTS[field], data, "data point")
    labels = []
    types = []
    for one in message.attributes:
        if one.key == METRIC_NAME:
            continue
        text = attribute_text(value_of(one.value))
        labels.append((one.key, text))
        type_ = one.value.WhichOneof("value")
        if text and type_ != "string_value":
            types.append((one.key, type_.removesuffix("_value")))
    return tuple(labels), tuple(sorted(types))


def value_of(value: common_pb2.AnyValue) -> AttributeValue:
    """Return an attribute's value as Python has it."""
    which = value.WhichOneof("value")
    if which is None:
        return None
    if which == "array_value":
        return [value_of(one) for one in value.array_value.values]
    if which == "kvlist_value":
        return {one.key: value_of(one.value) for one in value.kvlist_value.values}
    found: AttributeValue = getattr(value, which)
    return found


def spans_of(rows: Sequence[Iterable[tuple[str, str]]]) -> LabelSpans:
    """Return labels given as text as spans."""
    parts: list[bytes] = []
    flat: list[int] = []
    starts = [0]
    position = 0
    for row in rows:
        for pair in row:
            for text in pair:
                encoded = text.encode("utf-8", "surrogatepass")
                parts.append(encoded)
                flat += (position, len(encoded))
                position += len(encoded)
        starts.append(len(flat) // 4)
    spans = np.array(flat, np.int32).reshape(-1, 4)
    return LabelSpans(padded(b"".join(parts)), spans, np.array(starts, np.int32))


def _attributes(found: Iterable[common_pb2.KeyValue]) -> tuple[tuple[str, AttributeValue], ...]:
    # Of a name that is there twice the last value counts, as in a map.
    values = {one.key: value_of(one.value) for one in found}
    return tuple(sorted(values.items(), key=lambda pair: pair[0]))


def _parsed(kind: Any, data: bytes, what: str) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise InvalidInput(f"OTLP: a {what} does not decode: {error}") from None


def _bound(size: int) -> None:
    if size > MAX_BYTES:
        raise TooLarge("OTLP resource or scope", size, MAX_BYTES)


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidInput(f"OTLP: a {what} is not valid UTF-8") from None
