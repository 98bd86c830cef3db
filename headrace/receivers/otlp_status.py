"""Answers of OTLP: responses with partial success, and errors as ``google.rpc.Status``.

Source:
    OpenTelemetry Protocol specification, "Partial Success", "Failures"; ``google/rpc/status.proto`` and
    ``google/rpc/error_details.proto``, of which too little is needed here for a dependency.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from google.protobuf import any_pb2, duration_pb2
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

if TYPE_CHECKING:
    from headrace.receivers.otlp_ingest import Taken

INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED, UNIMPLEMENTED, UNAVAILABLE = 3, 5, 8, 12, 14
"""Codes of ``google.rpc.Code``."""

_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
_VARINT_FIELD_1, _BYTES_FIELD_1, _BYTES_FIELD_2, _BYTES_FIELD_3 = b"\x08", b"\x0a", b"\x12", b"\x1a"


def response(taken: Taken) -> bytes:
    """Return an ExportMetricsServiceResponse; empty where all points were taken."""
    if not (taken.rejected or taken.message):
        return b""
    message = ExportMetricsServiceResponse()
    message.partial_success.rejected_data_points = taken.rejected
    message.partial_success.error_message = taken.message
    return message.SerializeToString()


def response_json(taken: Taken) -> bytes:
    """Return the same as JSON."""
    partial = {"rejectedDataPoints": str(taken.rejected), "errorMessage": taken.message}
    return json.dumps({"partialSuccess": partial} if taken.rejected or taken.message else {}).encode()


def status(code: int, message: str, retry_after_s: float | None = None) -> bytes:
    """Return a Status.

    Args:
        code: Of ``google.rpc.Code``.
        message: For the sender.
        retry_after_s: Adds a RetryInfo with this delay.
    """
    out = _VARINT_FIELD_1 + _varint(code) + _BYTES_FIELD_2 + _sized(message.encode("utf-8", "replace"))
    if retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(retry_after_s * 1e9))
        info = any_pb2.Any(type_url=_RETRY_INFO, value=_BYTES_FIELD_1 + _sized(delay.SerializeToString()))
        out += _BYTES_FIELD_3 + _sized(info.SerializeToString())
    return out


def status_json(code: int, message: str) -> bytes:
    """Return a Status as JSON."""
    return json.dumps({"code": code, "message": message}).encode()


def _sized(data: bytes) -> bytes:
    return _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
