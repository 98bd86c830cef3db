"""OTLP servers that do as they are told, over HTTP and gRPC, for tests of exporters."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from aiohttp import web
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from headrace.pipeline.http.decompression import decompress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EXPORT = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"


@dataclass
class OtlpServer:
    """What came, and what to answer.

    Attributes:
        requests: Requests that were taken.
        headers: Headers or metadata of every request, refused ones too.
        bodies: Their bodies as sent, over HTTP.
        answers: What to answer to the next ones, in order: over HTTP (status, headers, body), over gRPC (code, details,
            trailing metadata); what comes after them is taken.
        response: What is answered to those that are taken.
        port: Where it listens.
        taken: Set once a request was taken.
    """

    requests: list[ExportMetricsServiceRequest] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    response: ExportMetricsServiceResponse = field(default_factory=ExportMetricsServiceResponse)
    port: int = 0
    taken: asyncio.Event = field(default_factory=asyncio.Event)

    def points(self) -> list[tuple[str, int, float]]:
        """Return name, time and value of the number points that were taken."""
        return [
            (metric.name, point.time_unix_nano, point.as_double if point.HasField("as_double") else point.as_int)
            for request in self.requests
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in (*metric.gauge.data_points, *metric.sum.data_points)
        ]


async def arrived(server: OtlpServer) -> None:
    """Wait until a request was taken."""
    async with asyncio.timeout(30):
        await server.taken.wait()


async def _answer(server: OtlpServer, request: web.Request) -> web.Response:
    body = await request.read()
    server.headers.append({name.lower(): value for name, value in request.headers.items()} | {"path": request.path})
    server.bodies.append(body)
    if server.answers:
        status, headers, data = server.answers.pop(0)
        return web.Response(status=status, headers=headers, body=data)
    data = decompress(body, request.headers.get("Content-Encoding", ""), 1 << 26)
    if request.content_type == "application/json":
        message = json_format.ParseDict(json.loads(data), ExportMetricsServiceRequest())
        answered = json.dumps(json_format.MessageToDict(server.response)).encode()
    else:
        message = ExportMetricsServiceRequest.FromString(data)
        answered = server.response.SerializeToString()
    server.requests.append(message)
    server.taken.set()
    return web.Response(body=answered, content_type=request.content_type)


@asynccontextmanager
async def http_server(port: int = 0, **options: Any) -> AsyncIterator[OtlpServer]:
    """Serve OTLP/HTTP on every path."""
    server = OtlpServer()

    async def answer(request: web.Request) -> web.Response:
        return await _answer(server, request)

    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app, auto_decompress=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, **options)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def grpc_server(credentials: Any = None, port: int = 0) -> AsyncIterator[OtlpServer]:
    """Serve OTLP/gRPC."""
    server = OtlpServer()

    async def export(data: bytes, context: Any) -> bytes:
        server.headers.append(dict(context.invocation_metadata() or ()))
        if server.answers:
            code, details, trailers = server.answers.pop(0)
            await context.abort(code, details, trailers)
        server.requests.append(ExportMetricsServiceRequest.FromString(data))
        answer: bytes = server.response.SerializeToString()
        return answer

    made = grpc.aio.server(options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)])
    method = EXPORT.rpartition("/")
    handlers = {method[2]: grpc.unary_unary_rpc_method_handler(export)}
    made.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(method[0].strip("/"), handlers),))
    address = f"127.0.0.1:{port}"
    server.port = made.add_secure_port(address, credentials) if credentials else made.add_insecure_port(address)
    await made.start()
    try:
        yield server
    finally:
        await made.stop(None)
