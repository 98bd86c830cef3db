"""What the remote write exporter makes of answers: retries, partial writes, versions, metadata."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import cramjam
import pytest
from aiohttp import web

from headrace.exporters.prometheus_remote_write import RemoteWriteExporter
from headrace.exporters.prometheus_remote_write_config import RemoteWriteExporterConfig
from headrace.exporters.prometheus_remote_write_warm import warm_up
from headrace.pipeline.batch import Metadata
from headrace.pipeline.counters import Counters
from headrace.pipeline.host import Host
from headrace.pipeline.identity import MetricType
from headrace.pipeline.sending import Permanent
from headrace.testing.batches import make_batch, make_settings, with_native
from remote_write_messages import Request, WriteRequest
from running import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from headrace.pipeline.batch import MetricBatch


@pytest.fixture(autouse=True, scope="module")
def _kernels() -> None:
    """Compile before any time counts."""
    warm_up()


V2 = "io.prometheus.write.v2.Request"
WRITTEN = "X-Prometheus-Remote-Write-{}-Written"


class Server:
    """Answers as it is told to, then takes everything; remembers what came."""

    def __init__(self) -> None:
        self.answers: list[web.Response] = []
        self.knows_2 = True
        self.requests: list[Any] = []
        self.taken: list[Any] = []
        self.headers: list[Any] = []
        self.at_once = self.most_at_once = 0
        self.pause_s = 0.0

    async def handle(self, request: web.Request) -> web.Response:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        body = bytes(cramjam.snappy.decompress_raw(await request.read()))
        await asyncio.sleep(self.pause_s)
        self.at_once -= 1
        self.headers.append(request.headers)
        if V2 in request.headers["Content-Type"]:
            if not self.knows_2:
                return web.Response(status=415, text="what is this?")
            message = Request.FromString(body)
        else:
            message = WriteRequest.FromString(body)
        self.requests.append(message)
        answer = web.Response(status=204, headers=self.written(message) if self.knows_2 else {})
        if self.answers:
            answer = self.answers.pop(0)
        if answer.status < 300:
            self.taken.append(message)
        return answer

    @staticmethod
    def written(message: Any, less: int = 0) -> dict[str, str]:
        samples = sum(len(one.samples) for one in message.timeseries)
        histograms = sum(len(one.histograms) for one in message.timeseries)
        return {WRITTEN.format("Samples"): str(samples - less), WRITTEN.format("Histograms"): str(histograms)}

    def samples(self) -> int:
        return sum(len(one.samples) for message in self.requests for one in message.timeseries)


class Lab:
    """A server and an exporter in front of it."""

    def __init__(self, port: int) -> None:
        self.server = Server()
        self.counters = Counters()
        self.port = port
        self.now_s = 0.0

    def exporter(self, **config: Any) -> RemoteWriteExporter:
        retry = {"initial_interval": "1ms", "max_interval": "2ms", "max_elapsed_time": "10s"}
        return RemoteWriteExporter(
            make_settings("out", kind="exporters", counters=self.counters, monotonic_s=lambda: self.now_s),
            RemoteWriteExporterConfig(endpoint=f"http://127.0.0.1:{self.port}/write", retry_on_failure=retry, **config),
        )

    async def send(self, *batches: MetricBatch, **config: Any) -> None:
        exporter = self.exporter(**config)
        await exporter.start(Host())
        for batch in batches:
            await exporter.deliver(batch)
        await exporter.shutdown()

    def dropped(self, reason: str) -> float:
        return self.counters.value("headrace_dropped_points", {"reason": reason})


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    found = Lab(free_port())
    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/write", found.server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", found.port).start()
    yield found
    await runner.cleanup()


class Broken:
    """Cannot say what headers to add."""

    def __init__(self, fault: Exception) -> None:
        self.fault = fault

    def client_headers(self) -> dict[str, str]:
        raise self.fault


BATCH = [{"__name__": "m", "i": str(i)} for i in range(10)]


async def test_version_2(lab: Lab) -> None:
    """Headers, samples, histograms and exemplars in one request."""
    await lab.send(with_native(make_batch(BATCH), ["h"]), protobuf_message=V2)
    (message,) = lab.server.requests
    (headers,) = lab.server.headers
    assert headers["Content-Type"] == f"application/x-protobuf;proto={V2}"
    assert headers["X-Prometheus-Remote-Write-Version"] == "2.0.0"
    assert headers["Content-Encoding"] == "snappy"
    assert sum(len(one.samples) for one in message.timeseries) == 10
    assert sum(len(one.histograms) for one in message.timeseries) == 1
    assert sum(len(one.exemplars) for one in message.timeseries) == 1
    assert lab.counters.value("otelcol_exporter_sent_metric_points") == 11


@pytest.mark.parametrize("status", [415, 400, 200, 204])
async def test_a_server_that_does_not_know_version_2(lab: Lab, status: int) -> None:
    """It is sent the same points by 1.0, and is not asked again; also where it says that all is well."""
    lab.server.answers = [web.Response(status=status)] if status != 415 else []
    lab.server.knows_2 = status != 415
    await lab.send(make_batch(BATCH), protobuf_message=V2)
    versions = [headers["X-Prometheus-Remote-Write-Version"] for headers in lab.server.headers]
    assert versions == ["2.0.0", "0.1.0"]
    assert len(lab.server.requests[-1].timeseries) == 10
    assert lab.counters.value("otelcol_exporter_sent_metric_points") == 10
    assert lab.counters.value("otelcol_exporter_send_failed_metric_points") == 0


async def test_the_answer_is_remembered(lab: Lab) -> None:
    """The next batches go by 1.0 at once."""
    lab.server.knows_2 = False
    exporter = lab.exporter(protobuf_message=V2)
    await exporter.start(Host())
    for _ in range(3):
        await exporter.deliver(make_batch(BATCH))
    await exporter.shutdown()
    versions = [headers["X-Prometheus-Remote-Write-Version"] for headers in lab.server.headers]
    assert versions == ["2.0.0", "0.1.0", "0.1.0", "0.1.0"]


async def test_it_is_asked_again_after_an_hour(lab: Lab) -> None:
    """Servers are upgraded; one that was not is sent 1.0 for another hour."""
    lab.server.knows_2 = False
    exporter = lab.exporter(protobuf_message=V2)
    await exporter.start(Host())

    async def versions(hours: float) -> list[str]:
        lab.now_s += 3600 * hours
        before = len(lab.server.headers)
        done = lab.counters.value("otelcol_exporter_sent_metric_points")
        await exporter.deliver(make_batch(BATCH))
        while lab.counters.value("otelcol_exporter_sent_metric_points") == done:  # noqa: ASYNC110 -- nothing tells
            await asyncio.sleep(0.001)
        return [headers["X-Prometheus-Remote-Write-Version"] for headers in lab.server.headers[before:]]

    assert await versions(0) == ["2.0.0", "0.1.0"]
    assert await versions(0.9) == ["0.1.0"]
    assert await versions(0.2) == ["2.0.0", "0.1.0"]
    lab.server.knows_2 = True
    assert await versions(0.9) == ["0.1.0"]
    assert await versions(0.2) == ["2.0.0"]
    await exporter.shutdown()
    assert lab.counters.value("otelcol_exporter_sent_metric_points") == 50


async def test_what_is_counted(lab: Lab) -> None:
    """Requests, series, and what a server of 2.0 says it has written, under the Collector's names."""
    lab.server.answers = [web.Response(status=503), web.Response(status=204, headers={WRITTEN.format("Samples"): "9"})]
    await lab.send(make_batch(BATCH), protobuf_message=V2)
    found = {
        name: lab.counters.value(f"otelcol_exporter_prometheusremotewrite_{name}")
        for name in ("sent_batches", "translated_time_series", "written_samples", "written_histograms")
    }
    assert found == {
        "sent_batches": 2, "translated_time_series": 20, "written_samples": 9, "written_histograms": 0,
    }  # fmt: skip


@pytest.mark.parametrize("version", ["prometheus.WriteRequest", V2])
async def test_shards(lab: Lab, version: str) -> None:
    """A batch is split by series among as many requests, histograms and exemplars too, and each point goes once."""
    lab.server.pause_s = 0.01
    batch = with_native(make_batch([{"__name__": "m", "i": str(i)} for i in range(5000)]), ["h", "h2", "h3"])
    await lab.send(batch, protobuf_message=version, min_shards=4, sending_queue={"num_consumers": 8})
    assert len([one for one in lab.server.requests if sum(len(s.samples) for s in one.timeseries)]) == 4
    assert lab.server.most_at_once >= 4
    assert lab.server.samples() == 5000
    assert sum(len(s.histograms) for one in lab.server.requests for s in one.timeseries) == 3
    assert lab.counters.value("otelcol_exporter_sent_metric_points") == 5003


@pytest.mark.parametrize(("status", "reason"), [(400, "rejected_by_server"), (204, "not_written_by_server")])
async def test_partial_writes(lab: Lab, status: int, reason: str) -> None:
    """What a server of 2.0 says that it has not written is counted, the rest is delivered, and nothing is repeated."""
    headers = {WRITTEN.format("Samples"): "7", WRITTEN.format("Histograms"): "0"}
    lab.server.answers = [web.Response(status=status, headers=headers, text="out of order")]
    await lab.send(make_batch(BATCH), protobuf_message=V2)
    assert len(lab.server.requests) == 1
    assert lab.dropped(reason) == 3
    assert lab.counters.value("otelcol_exporter_sent_metric_points") == 7


@pytest.mark.parametrize("version", ["prometheus.WriteRequest", V2])
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_retries(lab: Lab, version: str, status: int) -> None:
    """After as long as the server asks for."""
    lab.server.answers = [web.Response(status=status, headers={"Retry-After": "0"}), web.Response(status=status)]
    await lab.send(make_batch(BATCH), protobuf_message=version)
    assert len(lab.server.requests) == 3
    assert lab.counters.value("otelcol_exporter_sent_metric_points") == 10
    assert lab.dropped("rejected_by_server") == 0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 301])
async def test_no_retries(lab: Lab, status: int) -> None:
    """What will not get better is dropped, and counted."""
    lab.server.answers = [web.Response(status=status)]
    await lab.send(make_batch(BATCH))
    assert len(lab.server.requests) == 1
    assert lab.dropped("rejected_by_server") == 10


@pytest.mark.parametrize(
    ("fault", "reason"), [(Permanent("two values"), "rejected_by_server"), (ValueError("odd"), "request_failed")]
)
async def test_what_cannot_be_sent_is_counted_as_lost(lab: Lab, fault: Exception, reason: str) -> None:
    """A fault before the request is on its way, such as one of `headers_setter`, is no delivery."""
    exporter = lab.exporter()
    await exporter.start(Host())
    assert exporter._client is not None
    exporter._client._authenticator = Broken(fault)
    await exporter.deliver(make_batch(BATCH))
    await exporter.shutdown()
    assert lab.server.samples() == 0
    assert lab.dropped(reason) == 10
    assert lab.counters.value("otelcol_exporter_sent_metric_points") == 0


@pytest.mark.parametrize("header", ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "soon", "-1"])
async def test_a_senseless_retry_after(lab: Lab, header: str) -> None:
    """It asks for nothing, and nothing is lost by it."""
    lab.server.answers = [web.Response(status=503, headers={"Retry-After": header})]
    await lab.send(make_batch(BATCH))
    assert sum(len(one.samples) for one in lab.server.taken[0].timeseries) == 10
    assert lab.counters.value("otelcol_exporter_sent_metric_points") == 10


async def test_only_what_failed_is_sent_again(lab: Lab) -> None:
    """Of requests that are sent side by side."""
    lab.server.answers = [web.Response(status=204), web.Response(status=503)]
    batch = make_batch([{"__name__": "m", "i": str(i)} for i in range(200)])
    await lab.send(batch, max_batch_size_bytes=1000, sending_queue={"num_consumers": 4})
    assert len(lab.server.requests) > 8
    names = [
        label.value for message in lab.server.requests for one in message.timeseries for label in one.labels
        if label.name == b"i"
    ]  # fmt: skip
    repeated = len(names) - len(set(names))
    assert len(set(names)) == 200
    assert 0 < repeated < 50


async def test_side_by_side(lab: Lab) -> None:
    """As many requests at a time as consumers, and never more."""
    lab.server.pause_s = 0.01
    batch = make_batch([{"__name__": "m", "i": str(i)} for i in range(500)])
    await lab.send(batch, max_batch_size_bytes=1000, remote_write_queue={"num_consumers": 3})
    assert lab.server.most_at_once == 3
    assert lab.server.samples() == 500


async def test_the_order_of_series(lab: Lab) -> None:
    """However many requests are on their way, and whatever fails: a series never goes back."""
    lab.server.answers = [web.Response(status=503 if i % 3 == 1 else 204) for i in range(60)]
    exporter = lab.exporter(max_batch_size_bytes=1000, sending_queue={"num_consumers": 4})
    await exporter.start(Host())
    first = make_batch(BATCH * 5)
    for tick in range(20):
        await exporter.deliver(
            make_batch(BATCH * 5, table=first.table, time_ns=[(100 * tick + i // 10) * 1_000_000 for i in range(50)])
        )
    await exporter.shutdown()
    taken: dict[bytes, list[int]] = {}
    for message in lab.server.taken:
        for one in message.timeseries:
            taken.setdefault(one.labels[1].value, []).extend(sample.timestamp for sample in one.samples)
    expected = [100 * tick + i for tick in range(20) for i in range(5)]
    assert taken == {str(i).encode(): expected for i in range(10)}


async def test_metadata_by_version_1(lab: Lab) -> None:
    """What is new is sent at once, and all of it again after a minute."""
    batch = make_batch(["up"]).with_columns(metadata=(Metadata("up", MetricType.GAUGE, "Is it?", "ratio"),))
    exporter = lab.exporter(send_metadata=True)
    await exporter.start(Host())

    async def deliver(one: MetricBatch) -> list[tuple[int, str, str, str]]:
        before = len(lab.server.requests)
        await exporter.deliver(one)
        # Metadata and samples go side by side.
        while lab.counters.value("headrace_exporter_queue_points"):  # noqa: ASYNC110 -- nothing tells
            await asyncio.sleep(0.001)
        return [
            (about.type, about.metric_family_name, about.help, about.unit)
            for message in lab.server.requests[before:] for about in message.metadata
        ]  # fmt: skip

    expected = [(2, "up", "Is it?", "ratio")]
    assert await deliver(batch) == expected
    assert await deliver(batch) == []
    lab.now_s += 61
    assert await deliver(batch) == expected
    await exporter.shutdown()


async def test_metadata_by_version_2(lab: Lab) -> None:
    """It goes with the series, with the namespace in the family's name."""
    batch = make_batch(["up"]).with_columns(metadata=(Metadata("up", MetricType.GAUGE, "Is it?", "ratio"),))
    await lab.send(batch, protobuf_message=V2)
    (message,) = lab.server.requests
    about = message.timeseries[0].metadata
    assert (about.type, message.symbols[about.help_ref], message.symbols[about.unit_ref]) == (2, "Is it?", "ratio")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"wal": {"directory": "x"}}, "wal .sending_queue.storage keeps the queue on disk"),
        (
            {"remote_write_queue": {"queue_size": 5}, "sending_queue": {"queue_size": 6}},
            "remote_write_queue and sending_queue both set queue_size",
        ),
        ({"remote_write_queue": {"size": 5}}, "size"),
        ({"http": {"endpoint": "http://127.0.0.1:2/"}}, "endpoint is set twice: in http and beside it"),
        ({"http": {"timeuot": "1s"}}, "http: timeuot is no setting of an HTTP client"),
        ({"protobuf_message": "prometheus.WriteRequest2"}, "protobuf_message"),
    ],
)
def test_settings_that_are_refused(options: dict[str, Any], why: str) -> None:
    """With their names."""
    with pytest.raises(ValueError, match=why):
        RemoteWriteExporterConfig(endpoint="http://127.0.0.1:1/", **options)


def test_the_collectors_names_of_the_queue() -> None:
    """They are those of the queue."""
    config = RemoteWriteExporterConfig(
        endpoint="http://127.0.0.1:1/", remote_write_queue={"queue_size": 7, "num_consumers": 2}
    )
    assert (config.sending_queue.queue_size, config.parallel, config.sending_queue.enabled) == (7, 2, True)
    assert RemoteWriteExporterConfig(endpoint="http://127.0.0.1:1/").sending_queue.queue_size == 10_000


def test_the_other_place_of_the_clients_settings() -> None:
    """They may stand under `http`."""
    config = RemoteWriteExporterConfig(http={"endpoint": "http://127.0.0.1:1/", "timeout": "7s"})  # type: ignore[call-arg]
    assert (config.endpoint, config.timeout.total_seconds()) == ("http://127.0.0.1:1/", 7)
