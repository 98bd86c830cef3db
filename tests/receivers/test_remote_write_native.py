"""Native histograms and exemplars through the remote write receiver: answers, and a real Prometheus as the sender."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import numpy as np
import pytest

from headrace.exporters.prometheus_remote_write import RemoteWriteExporter
from headrace.exporters.prometheus_remote_write_config import RemoteWriteExporterConfig
from headrace.kernels.buffers import padded
from headrace.pipeline.batch import BatchContext, MetricBatch
from headrace.pipeline.component import Outcome
from headrace.pipeline.host import Host
from headrace.pipeline.native_histograms import NativeHistograms, ResetHint
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.wire.remote_write import RemoteWriteDecoder
from headrace.receivers.prometheus_remote_write import FACTORY, RemoteWriteConfig
from headrace.testing.batches import make_settings
from headrace.testing.sinks import MemorySink
from http_lab import Lab
from remote_write_messages import packed, request_v1, request_v2
from running import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from running import Programs

V1 = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
V2 = {**V1, "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[str, MemorySink]]:
    lab = Lab()
    host = Host()
    host.services["listeners"] = lab.listeners
    sink = MemorySink()
    settings = make_settings("prometheus_remote_write", kind="receivers", clock_ns=time.time_ns)
    receiver = FACTORY.create(settings, RemoteWriteConfig(endpoint="127.0.0.1:0"), sink)
    await receiver.start(host)
    await lab.listeners.start()
    try:
        yield f"{lab.listeners.open[0].url}/api/v1/write", sink
    finally:
        await lab.listeners.shutdown(1)
        await receiver.shutdown()


async def post(url: str, request: Any, headers: dict[str, str]) -> tuple[int, str, list[int]]:
    """Return status, text, and the numbers of samples, histograms and exemplars written, where the answer has them."""
    async with aiohttp.ClientSession() as session, session.post(url, data=packed(request), headers=headers) as answer:
        names = [f"X-Prometheus-Remote-Write-{kind}-Written" for kind in ("Samples", "Histograms", "Exemplars")]
        written = [int(answer.headers[name]) for name in names if name in answer.headers]
        return answer.status, (await answer.text()).rstrip("\n"), written


def request(make: Any, *, bad: int = 0) -> Any:
    """Make a request of three samples, two histograms (of which `bad` are invalid) and two exemplars."""
    made = make([({"__name__": "a"}, [(1, 1.0), (2, 1.0)]), ({"__name__": "b"}, [(1, 1.0)])])
    for i, series in enumerate(made.timeseries):
        series.histograms.add(timestamp=5, count_int=1 if i < bad else 0)
        series.exemplars.add(value=1.0, timestamp=5)
    return made


async def test_written_headers() -> None:
    """Of 2.0 they count what was taken of each kind, with the outcome of the exporters."""
    async with serving() as (url, sink):
        assert await post(url, request(request_v2), V2) == (204, "", [3, 2, 2])
        status, text, written = await post(url, request(request_v2, bad=1), V2)
        assert (status, written) == (400, [3, 1, 2])
        assert text == "native histogram of a, timestamp 5 ms: the buckets do not add up to the count"
        sink.outcome = Outcome(5, {"too_old": 3}, "too old sample", 1, 1, "out of order exemplar")
        status, text, written = await post(url, request(request_v2), V2)
        assert (status, text, written) == (400, "too old sample; out of order exemplar", [1, 1, 1])
        sink.outcome = Outcome(5, {}, "", 0, 2, "out of order exemplar")
        assert await post(url, request(request_v2), V2) == (400, "out of order exemplar", [3, 2, 0])


async def test_answers_of_version_1() -> None:
    """An invalid histogram is told about, the good rest is kept; exemplars that are not taken are not told about."""
    async with serving() as (url, sink):
        assert await post(url, request(request_v1), V1) == (204, "", [])
        status, text, _ = await post(url, request(request_v1, bad=2), V1)
        assert (status, text) == (400, "native histogram of a, timestamp 5 ms: the buckets do not add up to the count")
        assert len(sink.batches[-1]) == 3
        sink.outcome = Outcome(5, {}, "", 0, 2, "out of order exemplar")
        assert (await post(url, request(request_v1), V1))[0] == 204


async def test_series_of_exemplars_only() -> None:
    """Prometheus sends exemplars as series of their own; a request of nothing else is delivered."""
    made = request_v1([({"__name__": "a"}, [])])
    made.timeseries[0].exemplars.add(value=1.0, timestamp=5)
    async with serving() as (url, sink):
        assert (await post(url, made, V1))[0] == 204
        (batch,) = sink.batches
        assert batch.exemplars is not None
        assert (len(batch), len(batch.exemplars)) == (0, 1)


def histograms(now_ms: int) -> Any:
    """Make a request of an integer, a float, a gauge and a custom-bucket histogram, and of exemplars."""
    made = request_v1([({"__name__": f"h{i}", "ä": "é"}, [(now_ms, float(i))] if i == 4 else []) for i in range(5)])
    rows = [series.histograms for series in made.timeseries]
    for step in range(3):
        when = now_ms + step
        one = rows[0].add(timestamp=when, count_int=12 + step, sum=18.5, schema=3, zero_threshold=0.001)
        one.zero_count_int = 2 + step
        for offset, length in ((-3, 2), (4, 1)):
            one.positive_spans.add(offset=offset, length=length)
        one.positive_deltas.extend([1, 2, -1])
        one.negative_spans.add(offset=0, length=2)
        one.negative_deltas.extend([2, 0])
        two = rows[1].add(timestamp=when, count_float=4.5, sum=-1.25, schema=-4, zero_count_float=0.5)
        two.zero_threshold = 1e-128
        two.positive_spans.add(offset=1, length=2)
        two.positive_counts.extend([1.5, 2.5])
        three = rows[2].add(timestamp=when, count_int=3, sum=9.0, schema=8, reset_hint=ResetHint.GAUGE)
        three.positive_spans.add(offset=100_000, length=1)
        three.positive_deltas.append(3)
        four = rows[3].add(timestamp=when, count_int=6, sum=30.0, schema=-53, custom_values=[0.5, 1.0, 2.5])
        four.positive_spans.add(offset=1, length=3)
        four.positive_deltas.extend([1, 1, 1])
    exemplar = made.timeseries[4].exemplars.add(value=0.25, timestamp=now_ms)
    exemplar.labels.add(name=b"trace_id", value=b"0af7651916cd43dd8448eb211c80319c")
    return made


def by_series(batch: MetricBatch, rows: NativeHistograms) -> dict[tuple[str, int], tuple[Any, ...]]:
    """Return what says the same on both sides, by series and time: spans may be cut otherwise, hints be worked out."""
    out = {}
    for i in range(len(rows)):
        buckets: dict[tuple[bool, int], int] = {}
        place = int(rows.bucket_starts[i])
        first = int(rows.span_starts[i])
        at = 0
        for k, (offset, length) in enumerate(rows.spans[first : int(rows.span_starts[i + 1])].tolist()):
            positive = k < rows.positive_spans[i]
            at = offset if k in (0, int(rows.positive_spans[i])) else at + offset
            for _ in range(length):
                if rows.buckets[place]:
                    buckets[positive, at] = int(rows.buckets[place])
                at += 1
                place += 1
        key = (str(batch.table.series(int(rows.series[i]))), int(rows.time_ms[i]))
        bounds = rows.bounds[rows.bound_starts[i] : rows.bound_starts[i + 1]].tolist()
        scalars = [
            np.atleast_1d(getattr(rows, name)[i]).tobytes()
            for name in ("flags", "schema", "zero_threshold", "zero_count", "count", "sum")
        ]
        out[key] = (*scalars, buckets, bounds, rows.hint[i] == ResetHint.GAUGE)
    return out


@pytest.mark.peer
@pytest.mark.parametrize("version", ["prometheus.WriteRequest", "io.prometheus.write.v2.Request"])
async def test_through_a_real_prometheus(peers: Path, programs: Programs, tmp_path: Path, version: str) -> None:
    """What our exporter sends to Prometheus comes back from it, by either version, as it was."""
    # Compiling while requests wait would take their time.
    assert FACTORY.warm_up is not None
    FACTORY.warm_up()
    async with serving() as (url, sink):
        port = free_port()
        base = f"http://127.0.0.1:{port}"
        config = tmp_path / "prometheus.yml"
        config.write_text(
            "storage: {exemplars: {max_exemplars: 100}}\n"
            f"remote_write: [{{url: '{url}', protobuf_message: {version}, send_native_histograms: true, "
            "send_exemplars: true, queue_config: {batch_send_deadline: 100ms}}]\n"
        )
        program = programs.start(
            "prometheus",
            [
                peers / "prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver",
                "--enable-feature=native-histograms,exemplar-storage",
            ],
        )  # fmt: skip
        await asyncio.to_thread(program.wait_http, f"{base}/-/ready")
        # Prometheus leaves out what is older than the beginning of its sending, which may be after it is ready.
        data = histograms(int(time.time() * 1000) + 60_000).SerializeToString()
        decoder = RemoteWriteDecoder(SeriesTable(), v2=False)
        sent = decoder.decode(padded(data), len(data), BatchContext()).batch
        assert sent.native is not None
        exporter = RemoteWriteExporter(
            make_settings("prometheus_remote_write", kind="exporters", clock_ns=time.time_ns),
            RemoteWriteExporterConfig(endpoint=f"{base}/api/v1/write"),
        )
        await exporter.start(Host())
        assert (await exporter.deliver(sent)).rejected == {}
        await exporter.shutdown()
        expected = by_series(sent, sent.native)
        if version == "prometheus.WriteRequest":
            # Prometheus itself takes histograms with custom buckets by 1.0, and does not send them.
            expected = {key: one for key, one in expected.items() if not key[0].startswith("h3")}
        got: dict[tuple[str, int], Any] = {}
        exemplars: list[tuple[str, float, str]] = []
        deadline = time.monotonic() + 30
        while (len(got) < len(expected) or not exemplars) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            batches, sink.batches = sink.batches, []
            for batch in batches:
                got |= {} if batch.native is None else by_series(batch, batch.native)
                if batch.exemplars is not None and len(batch.exemplars):
                    name = str(batch.table.series(int(batch.exemplars.series[0])))
                    text = batch.exemplars.arena.tobytes().decode("latin-1")
                    exemplars.append((name, float(batch.exemplars.value[0]), text))
        assert got == expected
        ((name, value, text), *_) = exemplars
        assert (name, value) == ('h4{ä="é"}', 0.25)
        assert "0af7651916cd43dd8448eb211c80319c" in text
