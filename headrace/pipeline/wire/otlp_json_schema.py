"""The messages of an OTLP metrics request as its JSON names them: fields by name, with number, type and oneof.

Source:
    opentelemetry-proto, ``metrics/v1/metrics.proto``, ``common/v1/common.proto``, ``resource/v1/resource.proto``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.pipeline.wire import otlp_json_values as values

if TYPE_CHECKING:
    from collections.abc import Callable

_BYTES = {values.text, values.base64_bytes, values.hexadecimal}
_FIXED = {values.fixed64, values.sfixed64, values.double}


@dataclass(frozen=True, slots=True)
class Field:
    """A field.

    Attributes:
        number: Of the field.
        value: Encodes a scalar; None for a message.
        message: What the message holds.
        repeated: Whether it is a list.
        oneof: Which oneof it is in; empty for none.
    """

    number: int
    value: Callable[[Any], bytes] | None = None
    message: Message | None = None
    repeated: bool = False
    oneof: str = ""

    @property
    def tag(self) -> bytes:
        """The tag; that of the whole list where numbers are packed."""
        if self.message is not None or self.repeated or self.value in _BYTES:
            return values.varint(self.number << 3 | 2)
        return values.varint(self.number << 3 | (1 if self.value in _FIXED else 0))


@dataclass(slots=True, eq=False)
class Message:
    """A message: what to do for each name, as `otlp_json` has it at hand.

    Attributes:
        fields: By name.
        tags: Tag of each field, by name.
    """

    fields: dict[str, Field]
    tags: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tags = {name: one.tag for name, one in self.fields.items()}


def _list(number: int, message: Message) -> Field:
    return Field(number, message=message, repeated=True)


def _one(number: int, value: Callable[[Any], bytes], oneof: str = "") -> Field:
    return Field(number, value, oneof=oneof)


def _packed(number: int, value: Callable[[Any], bytes]) -> Field:
    return Field(number, value, repeated=True)


_ANY = Message({})
_KEY_VALUE = Message({"key": _one(1, values.text), "value": Field(2, message=_ANY)})
_ANY.fields.update(
    {
        "stringValue": _one(1, values.text, "value"),
        "boolValue": _one(2, values.boolean, "value"),
        "intValue": _one(3, values.int64, "value"),
        "doubleValue": _one(4, values.double, "value"),
        "arrayValue": Field(5, message=Message({"values": _list(1, _ANY)}), oneof="value"),
        "kvlistValue": Field(6, message=Message({"values": _list(1, _KEY_VALUE)}), oneof="value"),
        "bytesValue": _one(7, values.base64_bytes, "value"),
    }
)
_ANY.__post_init__()

_EXEMPLAR = Message(
    {
        "timeUnixNano": _one(2, values.fixed64),
        "asDouble": _one(3, values.double, "value"),
        "spanId": _one(4, values.hexadecimal),
        "traceId": _one(5, values.hexadecimal),
        "asInt": _one(6, values.sfixed64, "value"),
        "filteredAttributes": _list(7, _KEY_VALUE),
    }
)
_TIMES = {"startTimeUnixNano": _one(2, values.fixed64), "timeUnixNano": _one(3, values.fixed64)}
_NUMBER = Message(
    {
        **_TIMES,
        "asDouble": _one(4, values.double, "value"),
        "exemplars": _list(5, _EXEMPLAR),
        "asInt": _one(6, values.sfixed64, "value"),
        "attributes": _list(7, _KEY_VALUE),
        "flags": _one(8, values.uint32),
    }
)
_HISTOGRAM = Message(
    {
        **_TIMES,
        "count": _one(4, values.fixed64),
        "sum": _one(5, values.double),
        "bucketCounts": _packed(6, values.fixed64),
        "explicitBounds": _packed(7, values.double),
        "exemplars": _list(8, _EXEMPLAR),
        "attributes": _list(9, _KEY_VALUE),
        "flags": _one(10, values.uint32),
        "min": _one(11, values.double),
        "max": _one(12, values.double),
    }
)
_SIDE = Message({"offset": _one(1, values.sint32), "bucketCounts": _packed(2, values.uint64)})
_EXPONENTIAL = Message(
    {
        **_TIMES,
        "attributes": _list(1, _KEY_VALUE),
        "count": _one(4, values.fixed64),
        "sum": _one(5, values.double),
        "scale": _one(6, values.sint32),
        "zeroCount": _one(7, values.fixed64),
        "positive": Field(8, message=_SIDE),
        "negative": Field(9, message=_SIDE),
        "flags": _one(10, values.uint32),
        "exemplars": _list(11, _EXEMPLAR),
        "min": _one(12, values.double),
        "max": _one(13, values.double),
        "zeroThreshold": _one(14, values.double),
    }
)
_SUMMARY = Message(
    {
        **_TIMES,
        "count": _one(4, values.fixed64),
        "sum": _one(5, values.double),
        "quantileValues": _list(6, Message({"quantile": _one(1, values.double), "value": _one(2, values.double)})),
        "attributes": _list(7, _KEY_VALUE),
        "flags": _one(8, values.uint32),
    }
)


def _data(points: Message, **more: Field) -> Message:
    return Message({"dataPoints": _list(1, points), **more})


_TEMPORALITY = {"aggregationTemporality": _one(2, values.enum)}
_METRIC = Message(
    {
        "name": _one(1, values.text),
        "description": _one(2, values.text),
        "unit": _one(3, values.text),
        "gauge": Field(5, message=_data(_NUMBER), oneof="data"),
        "sum": Field(7, message=_data(_NUMBER, **_TEMPORALITY, isMonotonic=_one(3, values.boolean)), oneof="data"),
        "histogram": Field(9, message=_data(_HISTOGRAM, **_TEMPORALITY), oneof="data"),
        "exponentialHistogram": Field(10, message=_data(_EXPONENTIAL, **_TEMPORALITY), oneof="data"),
        "summary": Field(11, message=_data(_SUMMARY), oneof="data"),
        "metadata": _list(12, _KEY_VALUE),
    }
)
_DROPPED = _one(2, values.uint32)
_RESOURCE = Message({"attributes": _list(1, _KEY_VALUE), "droppedAttributesCount": _DROPPED})
_SCOPE = Message(
    {
        "name": _one(1, values.text),
        "version": _one(2, values.text),
        "attributes": _list(3, _KEY_VALUE),
        "droppedAttributesCount": _one(4, values.uint32),
    }
)
_SCOPE_METRICS = Message(
    {"scope": Field(1, message=_SCOPE), "metrics": _list(2, _METRIC), "schemaUrl": _one(3, values.text)}
)
_RESOURCE_METRICS = Message(
    {
        "resource": Field(1, message=_RESOURCE),
        "scopeMetrics": _list(2, _SCOPE_METRICS),
        "schemaUrl": _one(3, values.text),
    }
)
REQUEST = Message({"resourceMetrics": _list(1, _RESOURCE_METRICS)})
"""ExportMetricsServiceRequest."""
