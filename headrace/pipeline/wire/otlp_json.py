"""OTLP's JSON encoding, rewritten as protobuf.

Source:
    OpenTelemetry Protocol specification, "JSON Protobuf Encoding": protobuf's JSON mapping, but names are in
    lowerCamelCase only, trace and span ids are hexadecimal, enums are numbers, and unknown names are ignored.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from headrace.pipeline.errors import InvalidInput, TooLarge
from headrace.pipeline.wire.otlp_json_schema import REQUEST
from headrace.pipeline.wire.otlp_json_values import fail, sized

if TYPE_CHECKING:
    from headrace.pipeline.wire.otlp_json_schema import Field, Message

_MAX_OBJECTS = 1 << 20
_MAX_COMMAS = 1 << 21


def to_protobuf(data: bytes) -> bytes:
    """Return an ExportMetricsServiceRequest that is given as JSON.

    Raises:
        InvalidInput: It is not JSON, or not of this shape.
        TooLarge: It has more objects or more commas than a request may have.
    """
    _bound(data)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"OTLP: the request is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput(f"OTLP: the request must be a JSON object, got {type(document).__name__}")
    try:
        return _message(document, REQUEST)
    except RecursionError:
        raise InvalidInput("OTLP: the request does not decode: it is nested too deeply") from None


def _bound(data: bytes) -> None:
    """Refuse what would take much more memory as objects than it has bytes."""
    for what, amount, limit in (
        ("JSON objects and lists", data.count(b"{") + data.count(b"["), _MAX_OBJECTS),
        ("JSON commas", data.count(b","), _MAX_COMMAS),
    ):
        if amount > limit:
            raise TooLarge(f"OTLP request: number of {what}", amount, limit)


def _message(given: Any, message: Message) -> bytes:
    """Encode an object as a message; names that the message does not have are ignored, and null is nothing."""
    if not isinstance(given, dict):
        raise fail("a JSON object", given)
    out = bytearray()
    chosen = ""
    for name, value in given.items():
        field = message.fields.get(name)
        if field is None or value is None:
            continue
        if field.oneof:
            if chosen:
                raise InvalidInput(f"OTLP: the request does not decode: {chosen} and {name} are in one oneof")
            chosen = name
        out += _field(value, field, message.tags[name])
    return bytes(out)


def _field(value: Any, field: Field, tag: bytes) -> bytes:
    if not field.repeated:
        return tag + _single(value, field)
    if not isinstance(value, list):
        raise fail("a list", value)
    if field.message is not None:
        return b"".join(tag + _single(one, field) for one in value)
    encode = field.value
    if encode is None:
        raise AssertionError("bug: a field of no type")
    return tag + sized(b"".join(map(encode, value))) if value else b""


def _single(value: Any, field: Field) -> bytes:
    if field.message is not None:
        return sized(_message(value, field.message))
    if field.value is None:
        raise AssertionError("bug: a field of no type")
    return field.value(value)
