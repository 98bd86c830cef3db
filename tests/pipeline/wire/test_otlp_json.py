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
        (b'{"resourceMetrics": 3}', "must be a list, got '3'"),
        (b'{"resourceMetrics": {"scopeMetrics": []}}', "must be a list"),
        (b'{"resourceMetrics": [3]}', "must be a JSON object, got '3'"),
        (b'{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"gauge": {}, "sum": {}}]}]}]}', "oneof"),
        (b'{"a": ' * 100_000, "no JSON"),
    ],
)
def test_what_does_not_decode(data: bytes, why: str) -> None:
    """The error says what is wrong."""
    with pytest.raises(InvalidInput, match=why):
        to_protobuf(data)


def point(**fields: Any) -> bytes:
    """Return a request with one number point."""
    metric = {"name": "m", "gauge": {"dataPoints": [fields]}}
    return json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}).encode()


def read(data: bytes) -> Any:
    message = ExportMetricsServiceRequest.FromString(to_protobuf(data))
    return message.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[0]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"asInt": "1.5"}, "must be an integer"),
        ({"asInt": 2**63}, "must be an integer from"),
        ({"asInt": True}, "must be an integer"),
        ({"asInt": " 1"}, "must be an integer"),
        ({"timeUnixNano": -1}, "must be an integer from 0"),
        ({"asDouble": "one"}, "must be a number"),
        ({"asDouble": False}, "must be a number"),
        ({"flags": 2**32}, "must be an integer from 0 to"),
        ({"asDouble": 1, "asInt": 1}, "in one oneof"),
        ({"attributes": [{"key": 3}]}, "must be a string, got '3'"),
        ({"attributes": [{"key": "k", "value": {"boolValue": "true"}}]}, "must be true or false"),
        ({"attributes": [{"key": "k", "value": {"bytesValue": "%"}}]}, "base64"),
        ({"exemplars": [{"traceId": "xyz"}]}, "must be an id in hexadecimal digits, got 'xyz'"),
        ({"exemplars": [{"spanId": "01 02"}]}, "must be an id in hexadecimal digits"),
        ({"attributes": [{"key": "\ud800"}]}, "a string of Unicode"),
    ],
)
def test_values_of_wrong_types(fields: dict[str, Any], why: str) -> None:
    """They are refused, and the error quotes them."""
    with pytest.raises(InvalidInput, match=why):
        to_protobuf(point(**fields))


def test_enums_have_no_names() -> None:
    """The specification takes numbers only."""
    metric = {"name": "m", "sum": {"aggregationTemporality": "AGGREGATION_TEMPORALITY_CUMULATIVE"}}
    data = json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}).encode()
    with pytest.raises(InvalidInput, match="the number of an enum value, not its name"):
        to_protobuf(data)


@pytest.mark.parametrize("value", [5, "5", 5.0, "-5", 2**63 - 1, str(-(2**63))])
def test_integers_are_numbers_or_text(value: Any) -> None:
    """Both are taken."""
    assert read(point(asInt=value)).as_int == int(value)


@pytest.mark.parametrize("value", [0.5, 3, "0.5", "1e3", "Infinity", "-Infinity"])
def test_doubles_are_numbers_or_text(value: Any) -> None:
    """Both are taken, with the words for what JSON has no numbers for."""
    assert read(point(asDouble=value)).as_double == float(value)


@pytest.mark.parametrize("value", ["+/8=", "-_8=", "-_8"])
def test_bytes_are_base64_of_either_alphabet(value: str) -> None:
    """Padded or not."""
    found = read(point(attributes=[{"key": "k", "value": {"bytesValue": value}}]))
    assert found.attributes[0].value.bytes_value == b"\xfb\xff"


def test_other_spellings_are_unknown_names() -> None:
    """Names of the .proto files are not those of JSON; null is a field that is not there."""
    found = read(point(as_int=5, time_unix_nano=3, asDouble=None, timeUnixNano="7"))
    assert found.WhichOneof("value") is None
    assert found.time_unix_nano == 7


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
