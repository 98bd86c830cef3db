"""OTLP's JSON encoding."""

from __future__ import annotations

import base64
import json
import os
import random
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

import otlp_model as model
from headrace.pipeline.errors import InvalidInput, TooLarge
from headrace.pipeline.wire import otlp_json
from headrace.pipeline.wire.otlp_json import to_protobuf

RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))


def encoded(message: ExportMetricsServiceRequest) -> dict[str, Any]:
    """Return a message as OTLP's JSON: integers for enumerations, hexadecimal ids."""
    document: dict[str, Any] = json_format.MessageToDict(message, use_integers_for_enums=True)
    waiting: list[Any] = [document]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            for key, value in one.items():
                if key in {"traceId", "spanId"}:
                    one[key] = base64.b64decode(value).hex()
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return document


def test_unknown_fields_are_ignored() -> None:
    """Senders may be newer."""
    assert to_protobuf(b'{"resourceMetrics": [], "later": {"x": [1]}}') == b""


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"3", "must be a JSON object, got int"),
        (b'{"resourceMetrics": 3}', "does not decode"),
        (b'{"resourceMetrics": {"scopeMetrics": []}}', "does not decode"),
        (b'{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"gauge": {}, "sum": {}}]}]}]}', "oneof"),
        (b'{"exemplars": [{"traceId": "xyz"}]}', "traceId 'xyz' is not hexadecimal"),
        (b'{"a": ' * 100_000, "no JSON"),
    ],
)
def test_what_does_not_decode(data: bytes, why: str) -> None:
    """The error says what is wrong."""
    with pytest.raises(InvalidInput, match=why):
        to_protobuf(data)


@pytest.mark.parametrize(("text", "limit"), [(b"[{},{}]", "_MAX_OBJECTS"), (b"[1,2,3,4]", "_MAX_COMMAS")])
def test_size_bombs(text: bytes, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes much memory as objects is refused while it is text."""
    monkeypatch.setattr(otlp_json, limit, 2)
    with pytest.raises(TooLarge, match="number of JSON"):
        to_protobuf(text)


@pytest.mark.fuzz
def test_random_requests() -> None:
    """They mean the same as in protobuf."""
    for seed in range(RUNS):
        message = model.make(random.Random(seed))
        data = json.dumps(encoded(message)).encode()
        found = ExportMetricsServiceRequest.FromString(to_protobuf(data))
        # An exemplar's NaN is not equal to itself.
        assert str(found) == str(message)


@pytest.mark.fuzz
def test_damaged_requests() -> None:
    """Damage is an error, or another request."""
    for seed in range(RUNS):
        rng = random.Random(seed)
        data = model.mutated(json.dumps(encoded(model.make(rng))).encode(), rng)
        try:
            found = to_protobuf(data)
        except InvalidInput:
            continue
        ExportMetricsServiceRequest.FromString(found)
