"""Headers of the requests that points came in go out again: receiver, queue and exporter by both protocols."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from headrace.exporters import otlp, otlp_http
from headrace.extensions.headers_setter import FACTORY as HEADERS_SETTER
from headrace.pipeline.batch import BatchContext
from headrace.pipeline.host import Host
from headrace.pipeline.request_metadata import metadata_of
from headrace.pipeline.to_otlp import warm_up
from headrace.receivers.otlp import FACTORY as RECEIVER
from headrace.receivers.otlp import OtlpConfig
from headrace.testing.batches import make_batch, make_settings
from http_lab import Lab
from otlp_server import EXPORT, grpc_server, http_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.component import Outcome
    from otlp_server import OtlpServer


@pytest.fixture(autouse=True, scope="module")
def _kernels() -> None:
    """Compile before any time counts."""
    warm_up()


def of(tenant: str, name: str = "a", like: MetricBatch | None = None) -> MetricBatch:
    batch = make_batch([name], table=like.table if like is not None else None)
    return replace(batch, context=BatchContext(metadata={"x-tenant": (tenant,)} if tenant else {}))


class Through:
    """A sink that an exporter is behind."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter

    def check(self, points: int, size_bytes: int) -> None:
        self._exporter.reserve(points, size_bytes).release()

    async def send(self, batch: MetricBatch) -> Outcome:
        outcome: Outcome = await self._exporter.deliver(batch)
        return outcome


@asynccontextmanager
async def chain(kind: str, server: OtlpServer, *, keep: bool, **header: Any) -> AsyncIterator[tuple[int, int]]:
    """Receiver, exporter and the extension between them; yields the ports of the receiver, HTTP and gRPC."""
    async with AsyncExitStack() as stack:
        setter = HEADERS_SETTER.create(
            make_settings("headers_setter", kind="extensions"),
            HEADERS_SETTER.config.model_validate({"headers": [{"key": "X-Org", **header}]}),
        )
        lab = Lab()
        host = Host(extensions={"headers_setter": setter})
        host.services["listeners"] = lab.listeners
        module = {"http": otlp_http, "grpc": otlp}[kind]
        given: dict[str, Any] = {"auth": {"authenticator": "headers_setter"}}
        given |= (
            {"endpoint": f"http://127.0.0.1:{server.port}"}
            if kind == "http"
            else {"endpoint": f"127.0.0.1:{server.port}", "tls": {"insecure": True}}
        )
        exporter = module.FACTORY.create(
            make_settings(module.FACTORY.name, kind="exporters"), module.FACTORY.config.model_validate(given)
        )
        protocol = {"endpoint": "127.0.0.1:0", "include_metadata": keep}
        config = OtlpConfig.model_validate({"protocols": {"http": protocol, "grpc": protocol}})
        receiver: Any = RECEIVER.create(make_settings("otlp", kind="receivers"), config, Through(exporter))
        for one in (setter, exporter, receiver):
            await one.start(host)
            stack.push_async_callback(one.shutdown)
        await lab.listeners.start()
        stack.push_async_callback(lab.listeners.shutdown, 1)
        yield lab.listeners.open[0].port, receiver.grpc.port


def request() -> bytes:
    message = ExportMetricsServiceRequest()
    metric = message.resource_metrics.add().scope_metrics.add().metrics.add(name="a")
    metric.gauge.data_points.add(time_unix_nano=1, as_double=1)
    return message.SerializeToString()


async def post(ports: tuple[int, int], kind: str, **metadata: str) -> None:
    headers = {name.replace("_", "-"): value for name, value in metadata.items()}
    if kind == "http":
        sent = {"Content-Type": "application/x-protobuf", **headers}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://127.0.0.1:{ports[0]}/v1/metrics", data=request(), headers=sent) as answer,
        ):
            assert answer.status == 200
    else:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports[1]}") as channel:
            await channel.unary_unary(EXPORT)(request(), metadata=tuple(headers.items()), timeout=20)


@pytest.mark.parametrize("kind", ["http", "grpc"])
@pytest.mark.parametrize("keep", [True, False])
async def test_a_header_passes(kind: str, keep: bool) -> None:
    """What a sender says about itself is in the request that its points leave in, where the receiver keeps headers."""
    async with http_server() if kind == "http" else grpc_server() as server:
        async with chain(kind, server, keep=keep, from_context="X-Tenant", default_value="nobody") as ports:
            for tenant in ("acme", "umbrella"):
                await post(ports, kind, x_tenant=tenant)
            await post(ports, kind)
        found = sorted(one["x-org"] for one in server.headers)
    assert found == (["acme", "nobody", "umbrella"] if keep else ["nobody"] * 3)


async def test_requests_that_are_sent_again_keep_it() -> None:
    """The header is that of the points, however often they are sent."""
    async with http_server() as server:
        server.answers = [(503, {"Retry-After": "0"}, b"")]
        async with chain("http", server, keep=True, from_context="x-tenant") as ports:
            await post(ports, "http", x_tenant="acme")
    assert {one["x-org"] for one in server.headers} == {"acme"}


@pytest.mark.parametrize("partition", [{}, {"metadata_keys": ["X-Tenant"]}])
async def test_what_is_joined(partition: dict[str, Any]) -> None:
    """A header goes out only with points that all came with it, because batches that differ in it are kept apart."""
    queue = {"batch": {"min_size": 100, "flush_timeout": "20ms", "partition": partition}}
    setter = HEADERS_SETTER.create(
        make_settings("headers_setter", kind="extensions"),
        HEADERS_SETTER.config.model_validate({"headers": [{"key": "x-org", "from_context": "x-tenant"}]}),
    )
    async with http_server() as server:
        given = {
            "endpoint": f"http://127.0.0.1:{server.port}", "auth": {"authenticator": "headers_setter"},
            "sending_queue": {"num_consumers": 1, **queue},
        }  # fmt: skip
        exporter = otlp_http.FACTORY.create(
            make_settings("otlp_http", kind="exporters"), otlp_http.FACTORY.config.model_validate(given)
        )
        host = Host(extensions={"headers_setter": setter})
        await setter.start(host)
        first = of("acme")
        await exporter.start(host)
        for tenant in ("acme", "acme", "umbrella", "", "acme"):
            await exporter.deliver(of(tenant, like=first))
        await exporter.shutdown()
    assert [one.get("x-org") for one in server.headers] == ["acme", "umbrella", None, "acme"]
    assert len(server.points()) == 5


def test_headers_of_a_request() -> None:
    """Names are in lower case; several values stay several; bytes, as in gRPC's ``-bin`` names, are left out."""
    pairs = [("X-A", "1"), ("x-a", "2"), ("t-bin", b"\0"), ("B", "")]
    assert metadata_of(pairs) == {"x-a": ("1", "2"), "b": ("",)}
