"""What OTLP servers answer: partial success, errors, and when to send again.

Source:
    OpenTelemetry Protocol specification, "OTLP/gRPC Response", "OTLP/HTTP Response"; ``google/rpc/status.proto`` and
    ``google/rpc/error_details.proto``, of which too little is needed here for a dependency.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from headrace.kernels.buffers import padded
from headrace.pipeline.http.retry_after import MAX_WAIT_S
from headrace.pipeline.wire.protobuf_kernels import BYTES, VARINT, skip, span, varint

if TYPE_CHECKING:
    from collections.abc import Iterator

_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"


@dataclass(frozen=True, slots=True)
class PartialSuccess:
    """What a server says about a request that it has taken.

    Attributes:
        rejected: Data points that it did not take, and never will.
        message: Why; with none rejected, a warning.
    """

    rejected: int = 0
    message: str = ""


def read_response(data: bytes) -> PartialSuccess:
    """Read an ExportMetricsServiceResponse; what does not decode says nothing."""
    try:
        partial = ExportMetricsServiceResponse.FromString(data).partial_success
    except DecodeError:
        return PartialSuccess()
    return PartialSuccess(max(0, partial.rejected_data_points), partial.error_message)


def read_response_json(data: bytes) -> PartialSuccess:
    """Read the same as JSON."""
    try:
        partial = json.loads(data or b"{}").get("partialSuccess") or {}
        return PartialSuccess(
            max(0, int(partial.get("rejectedDataPoints") or 0)), str(partial.get("errorMessage") or "")
        )
    except (ValueError, AttributeError, TypeError, OverflowError, RecursionError):
        return PartialSuccess()


def status_message(data: bytes) -> str:
    """Return the message of a Status; empty where there is none."""
    for number, wire, value in _fields(data):
        if number == 2 and wire == BYTES:
            return value.decode("utf-8", "replace")
    return ""


def retry_delay_s(data: bytes) -> float | None:
    """Return the seconds to wait that a Status asks for by a RetryInfo, None where it has none."""
    for number, wire, value in _fields(data):
        if number != 3 or wire != BYTES:
            continue
        try:
            detail = any_pb2.Any.FromString(value)
            if detail.type_url == _RETRY_INFO:
                return _delay_s(detail.value)
        except DecodeError:
            continue
    return None


def _delay_s(info: bytes) -> float:
    for number, wire, value in _fields(info):
        if number == 1 and wire == BYTES:
            delay = duration_pb2.Duration.FromString(value)
            return min(max(0.0, delay.seconds + delay.nanos / 1e9), MAX_WAIT_S)
    return 0.0


def _fields(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield number, wire type and body of the fields of a small message, as far as it decodes."""
    buf, end = padded(data), len(data)
    position = 0
    while position < end:
        tag, position = varint(buf, position, end)
        if position < 0:
            return
        number, wire = int(tag) >> 3, int(tag) & 7
        first = position
        if wire == BYTES:
            first, position = span(buf, position, end)
        else:
            position = skip(buf, position, end, wire)
        if position < 0:
            return
        yield number, wire, data[first:position] if wire != VARINT else b""
