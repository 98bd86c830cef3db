"""The ``otlp`` receiver over HTTP."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from headrace.pipeline.component import Outcome
from headrace.pipeline.errors import InvalidInput, Refused, TooLarge, Unsupported
from headrace.pipeline.host import Host
from headrace.pipeline.http.decompression import decompress
from headrace.receivers.otlp import FACTORY, OtlpConfig
from headrace.testing.batches import make_settings, rows
from headrace.testing.sinks import MemorySink
from http_lab import Lab

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from headrace.pipeline.component import Settings

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
EXPECTED = [('queue.size{n="0"}', 1000, 0.5), ('queue.size{n="1"}', 1001, 1.5)]


def request(*, points: int = 2, name: str = "queue.size") -> ExportMetricsServiceRequest:
    """Make a request of one gauge."""
    message = ExportMetricsServiceRequest()
    metric = message.resource_metrics.add().scope_metrics.add().metrics.add(name=name, description="Waiting.")
    for i in range(points):
        point = metric.gauge.data_points.add(time_unix_nano=1_000 + i, as_double=i + 0.5)
        point.attributes.add(key="n").value.string_value = str(i)
    return message


class Served:
    """A receiver that listens."""

    def __init__(self, url: str, sink: MemorySink, settings: Settings) -> None:
        self.url = url
        self.sink = sink
        self.settings = settings

    async def post(
        self, body: bytes, headers: dict[str, str], path: str = "/v1/metrics"
    ) -> tuple[int, bytes, dict[str, str]]:
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.post(self.url + path, data=body, headers=headers) as answer,
        ):
            return answer.status, await answer.read(), dict(answer.headers)


@asynccontextmanager
async def serving(**http: Any) -> AsyncIterator[Served]:
    lab = Lab()
    host = Host()
    host.services["listeners"] = lab.listeners
    sink = MemorySink()
    config = OtlpConfig.model_validate(
        {"protocols": {"http": {"endpoint": "127.0.0.1:0", **http}}, "workspaces": ["default", "ws-1"]}
    )
    settings = make_settings("otlp", kind="receivers")
    receiver = FACTORY.create(settings, config, sink)
    await receiver.start(host)
    await lab.listeners.start()
    try:
        yield Served(lab.listeners.open[0].url, sink, settings)
    finally:
        await lab.listeners.shutdown(1)
        await receiver.shutdown()


@pytest.mark.parametrize("path", ["/v1/metrics", "/api/v1/otlp/v1/metrics"])
async def test_protobuf(path: str) -> None:
    """A request becomes a batch, and an empty response says that all was taken."""
    async with serving() as served:
        status, body, headers = await served.post(request().SerializeToString(), PROTOBUF, path)
        assert (status, body, headers["Content-Type"]) == (200, b"", "application/x-protobuf")
        (batch,) = served.sink.batches
        assert rows(batch) == EXPECTED
        assert (batch.context.source, batch.context.workspace) == ("otlp", "default")
        assert batch.metadata[0].help == "Waiting."


async def test_workspaces() -> None:
    """Each that is listed has a path of its own; others do not exist."""
    async with serving() as served:
        path = "/workspaces/{}/api/v1/otlp/v1/metrics"
        assert (await served.post(request().SerializeToString(), PROTOBUF, path.format("ws-1")))[0] == 200
        assert (await served.post(request().SerializeToString(), PROTOBUF, path.format("ws-2")))[0] == 404
        assert [batch.context.workspace for batch in served.sink.batches] == ["ws-1"]


@pytest.mark.parametrize("signal", ["traces", "logs"])
async def test_other_signals_are_not_found(signal: str) -> None:
    """Their exporters are told."""
    async with serving() as served:
        assert (await served.post(b"", PROTOBUF, f"/v1/{signal}"))[0] == 404


async def test_metadata_comes_once() -> None:
    """It is new only until a batch with it has been taken."""
    async with serving() as served:
        served.sink.refusal = Refused("full")
        assert (await served.post(request().SerializeToString(), PROTOBUF))[0] == 503
        served.sink.refusal = None
        for _ in range(2):
            await served.post(request().SerializeToString(), PROTOBUF)
        assert [len(batch.metadata) for batch in served.sink.batches] == [1, 0]


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("identity", bytes),
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("zstd", zstd.compress),
        ("GZIP", lambda data: gzip.compress(data[:20]) + gzip.compress(data[20:])),
    ],
)
async def test_encodings(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    """Bodies may be compressed; gzip may come in members."""
    async with serving() as served:
        body = compress(request().SerializeToString())
        assert (await served.post(body, {**PROTOBUF, "Content-Encoding": encoding}))[0] == 200
        assert rows(served.sink.batches[0]) == EXPECTED


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
async def test_bombs(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    """What decompresses to more than the limit is refused."""
    async with serving(max_request_body_size=100_000) as served:
        body = compress(bytes(10 << 20))
        status, answer, _ = await served.post(body, {**PROTOBUF, "Content-Encoding": encoding})
        assert status == 413
        assert "100000" in Status.FromString(answer).message
        assert served.settings.drops.by_reason() == {"too_large": 1}


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstd.compress)]
)
def test_decompression_is_exact_about_limits_and_damage(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    """A body of the limit passes, one byte more does not; a body that is cut off is damaged."""
    body = compress(bytes(1000))
    assert decompress(body, encoding, 1000) == bytes(1000)
    with pytest.raises(TooLarge):
        decompress(body, encoding, 999)
    for damaged in (body[:-1], b"", b"no such format", body + b"x"):
        with pytest.raises(InvalidInput, match="corrupt"):
            decompress(damaged, encoding, 1000)
    with pytest.raises(Unsupported, match="br"):
        decompress(body, "br", 1000)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({}, 415),
        ({**PROTOBUF, "Content-Encoding": "br"}, 415),
        ({**PROTOBUF, "Content-Encoding": "gzip"}, 400),
        (PROTOBUF, 400),
        (JSON, 400),
    ],
)
async def test_what_is_not_taken(headers: dict[str, str], status: int) -> None:
    """Each has its status."""
    async with serving() as served:
        headers = headers or {"Content-Type": "application/octet-stream"}
        assert (await served.post(b"garbage", headers))[0] == status
        assert served.sink.batches == []


async def test_errors_have_the_encoding_of_the_request() -> None:
    """A Status in protobuf or JSON."""
    async with serving() as served:
        _, body, headers = await served.post(b"\x0a\xff", PROTOBUF)
        status = Status.FromString(body)
        assert (status.code, headers["Content-Type"]) == (3, "application/x-protobuf")
        assert "ResourceMetrics" in status.message or "at byte 0" in status.message
        _, body, headers = await served.post(b"[1]", JSON)
        assert json.loads(body) == {"code": 3, "message": "OTLP: the request must be a JSON object, got list"}
        assert headers["Content-Type"].startswith("application/json")
        assert served.settings.drops.by_reason() == {"corrupt": 2}


async def test_refused() -> None:
    """Try later: 503 with Retry-After."""
    async with serving() as served:
        served.sink.refusal = Refused("the queue is full", 7)
        status, body, headers = await served.post(request().SerializeToString(), PROTOBUF)
        assert (status, headers["Retry-After"]) == (503, "7")
        assert Status.FromString(body).message == "the queue is full"


async def test_partial_success() -> None:
    """In protobuf and in JSON."""
    message = request(points=3)
    message.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[1].ClearField("as_double")
    async with serving() as served:
        served.sink.outcome = Outcome(2, {"out_of_order": 1}, "sample is too old")
        _, body, _ = await served.post(message.SerializeToString(), PROTOBUF)
        partial = ExportMetricsServiceResponse.FromString(body).partial_success
        assert partial.rejected_data_points == 2
        assert partial.error_message.startswith("a data point has no value: metric 'queue.size', data point 1")
        assert partial.error_message.endswith("sample is too old")
        served.sink.outcome = None
        document = {
            "resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "m", "gauge": {"dataPoints": [{}]}}]}]}]
        }
        _, body, _ = await served.post(json.dumps(document).encode(), JSON)
        answer = json.loads(body)["partialSuccess"]
        assert answer["rejectedDataPoints"] == "1"
        assert "time_unix_nano" in answer["errorMessage"]
        assert served.settings.drops.by_reason() == {"no_value": 1, "no_timestamp": 1}


async def test_a_refused_request_counts_no_drops() -> None:
    """What is wrong with it is counted once, when the others of its points are taken."""
    message = request(points=3)
    message.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[1].ClearField("as_double")
    async with serving() as served:
        served.sink.check = lambda points, size_bytes: None  # type: ignore[method-assign]
        for refusal in (Refused("full", 1), Refused("full", 1), None):
            served.sink.refusal = refusal
            status, _, _ = await served.post(message.SerializeToString(), PROTOBUF)
            assert status == (503 if refusal else 200)
        assert served.settings.drops.by_reason() == {"no_value": 1}


async def test_json() -> None:
    """The JSON of the specification: hexadecimal ids, integers as text or not, unknown fields."""
    point = {
        "timeUnixNano": "1000",
        "asInt": 5,
        "attributes": [{"key": "n", "value": {"intValue": "7"}}],
        "exemplars": [{"timeUnixNano": 1, "asDouble": 2.5, "traceId": "0AF7651916cd43dd8448eb211c80319c", "new": 1}],
    }
    total = {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [point]}
    document = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "m", "sum": total, "later": {}}]}]}]}
    async with serving() as served:
        status, body, headers = await served.post(json.dumps(document).encode(), JSON)
        assert (status, body) == (200, b"{}")
        assert headers["Content-Type"].startswith("application/json")
        (batch,) = served.sink.batches
        assert rows(batch) == [('m{n="7"}', 1000, 5.0)]
        assert batch.exemplars is not None
        assert b"0af7651916cd43dd8448eb211c80319c" in batch.exemplars.arena.tobytes()


def test_settings() -> None:
    """A protocol is on where its key is there; without any key both are."""
    both = OtlpConfig.model_validate({})
    assert both.protocols.grpc is not None
    assert both.protocols.http is not None
    assert both.protocols.grpc.endpoint == "127.0.0.1:4317"
    assert both.protocols.http.endpoint == "127.0.0.1:4318"
    one = OtlpConfig.model_validate({"protocols": {"grpc": None}}).protocols
    assert one.grpc is not None
    assert one.http is None
    with pytest.raises(ValueError, match="at least one of grpc and http"):
        OtlpConfig.model_validate({"protocols": {}})
    with pytest.raises(ValueError, match="nobody is asked for credentials"):
        OtlpConfig.model_validate({"protocols": {"http": {"endpoint": "0.0.0.0:4318"}}})


def test_warm_up() -> None:
    """It reads what it made up."""
    assert FACTORY.warm_up is not None
    FACTORY.warm_up()
