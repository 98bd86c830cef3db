"""OTLP's JSON encoding, rewritten as protobuf.

Source:
    OpenTelemetry Protocol specification, "JSON Protobuf Encoding": protobuf's JSON mapping, but trace and span ids
    are hexadecimal, and unknown fields are ignored.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from headrace.pipeline.errors import InvalidInput, TooLarge

_MAX_OBJECTS = 1 << 20
_MAX_COMMAS = 1 << 21
_MAX_DEPTH = 100
_IDS = ("traceId", "spanId", "trace_id", "span_id")


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
    message = ExportMetricsServiceRequest()
    try:
        _recode_ids(document)
        json_format.ParseDict(document, message, ignore_unknown_fields=True, max_recursion_depth=_MAX_DEPTH)
    except (json_format.ParseError, ValueError, RecursionError, TypeError, AttributeError) as error:
        raise InvalidInput(f"OTLP: the request does not decode: {str(error)[:500]}") from None
    return message.SerializeToString()


def _bound(data: bytes) -> None:
    """Refuse what would take much more memory as objects than it has bytes."""
    for what, amount, limit in (
        ("JSON objects and lists", data.count(b"{") + data.count(b"["), _MAX_OBJECTS),
        ("JSON commas", data.count(b","), _MAX_COMMAS),
    ):
        if amount > limit:
            raise TooLarge(f"OTLP request: number of {what}", amount, limit)


def _recode_ids(node: Any) -> None:
    """Turn the hexadecimal ids of all exemplars into base64, in place."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, dict):
            for exemplar in one.get("exemplars") or ():
                _recode(exemplar)
            waiting.extend(value for value in one.values() if isinstance(value, (dict, list)))


def _recode(exemplar: Any) -> None:
    if not isinstance(exemplar, dict):
        return
    for name in _IDS:
        text = exemplar.get(name)
        if isinstance(text, str):
            try:
                exemplar[name] = base64.b64encode(bytes.fromhex(text)).decode("ascii")
            except ValueError:
                raise InvalidInput(f"OTLP: {name} {text[:100]!r} is not hexadecimal") from None
