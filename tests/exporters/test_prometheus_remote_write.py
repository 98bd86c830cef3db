"""The remote write exporter, into our own receiver and into a real Prometheus."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import cramjam
import numpy as np
import pytest

from headrace.exporters.prometheus_remote_write import RemoteWriteExporter
from headrace.exporters.prometheus_remote_write_config import Message, RemoteWriteExporterConfig
from headrace.kernels.buffers import padded
from headrace.pipeline.batch import STALE_BITS, BatchContext, Metadata
from headrace.pipeline.counters import Counters
from headrace.pipeline.host import Host
from headrace.pipeline.identity import MetricType, Series
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.wire.remote_write import RemoteWriteDecoder
from headrace.pipeline.wire.remote_write_encode import LabelArena, requests
from headrace.testing.batches import make_batch, make_settings, rows, with_native
from remote_write_messages import WriteRequest
from running import free_port, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.pipeline.batch import MetricBatch
    from running import Programs


def encode(batch: MetricBatch, max_bytes: int = 1 << 20, **external: str) -> list[bytes]:
    arena = LabelArena(batch.table, external)
    found = list(requests(arena, batch.series, batch.time_ms, batch.value, max_bytes))
    assert sum(one.samples for one in found) == len(batch)
    return [bytes(one.body) for one in found]


def decode(*data: bytes) -> list[tuple[str, int, float]]:
    decoder = RemoteWriteDecoder(SeriesTable(), v2=False)
    return [row for one in data for row in rows(decoder.decode(padded(one), len(one), BatchContext()).batch)]


SERIES = [{"__name__": "up", "job": "é" * 100}, {"__name__": "down"}, {"__name__": "up", "job": "é" * 100}]
MS = 1_000_000


def test_round_trip() -> None:
    """What is written is read again; points of a series stay in order."""
    batch = make_batch(SERIES, time_ns=[3 * MS, 1_700_000_000_123 * MS, -4 * MS], value=[1.5, float("inf"), -0.0])
    data = encode(batch)
    assert len(data) == 1
    assert sorted(decode(*data)) == sorted(rows(batch))
    message = WriteRequest()
    message.ParseFromString(data[0])
    assert [[s.timestamp for s in one.samples] for one in message.timeseries] == [[3, -4], [1_700_000_000_123]]


def test_requests_are_split() -> None:
    """No series is torn apart, and none is forgotten."""
    batch = make_batch([f"m{i}" for i in range(100)])
    data = encode(batch, 1000)
    assert len(data) > 2
    assert all(len(one) <= 1000 for one in data)
    assert sorted(decode(*data)) == sorted(rows(batch))


def test_external_labels_do_not_replace() -> None:
    """A label of the series is stronger."""
    batch = make_batch([{"__name__": "m", "zone": "own"}, {"__name__": "n"}])
    names = [name for name, _, _ in decode(*encode(batch, zone="eu", team="x"))]
    assert names == ['m{team="x", zone="own"}', 'n{team="x", zone="eu"}']


def test_freed_ids_are_encoded_again() -> None:
    """An id that means another series does not keep the old labels."""
    now = 0.0
    table = SeriesTable(clock_s=lambda: now)
    arena = LabelArena(table, {})
    for name in ("a", "b"):
        batch = make_batch([name], table=table)
        data = [bytes(one.body) for one in requests(arena, batch.series, batch.time_ms, batch.value, 1000)]
        assert [found for found, _, _ in decode(*data)] == [name]
        del batch
        now += 100
        for _ in range(3):
            table.collect(10)


@pytest.mark.parametrize("header", ["content-type", "X-Prometheus-Remote-Write-Version"])
def test_headers_of_the_protocol_are_locked(header: str) -> None:
    """They cannot be set."""
    with pytest.raises(ValueError, match="is part of remote write"):
        RemoteWriteExporterConfig(endpoint="http://127.0.0.1:1/", headers={header: "x"})


def ask(url: str, **form: str) -> Any:
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(form)}", timeout=30) as answer:
        return json.load(answer)["data"]


def query(base: str, text: str) -> list[Any]:
    found: list[Any] = ask(f"{base}/api/v1/query", query=text)["result"]
    return found


async def send(url: str, *batches: MetricBatch, counters: Counters, **config: Any) -> None:
    exporter = RemoteWriteExporter(
        make_settings("prometheus_remote_write", kind="exporters", clock_ns=time.time_ns, counters=counters),
        RemoteWriteExporterConfig(endpoint=url, external_labels={"zone": "eu"}, **config),
    )
    await exporter.start(Host())
    for one in batches:
        granted = exporter.reserve(len(one), one.size_bytes)
        await exporter.deliver(one)
        granted.release()
    await exporter.shutdown()


def real_batches() -> tuple[MetricBatch, MetricBatch]:
    """Return 500 numbers and a native histogram with an exemplar, and a second later a stale marker for one of them."""
    now = time.time_ns()
    names = [Series.of(__name__="m", i=str(i)) for i in range(500)]
    batch = make_batch(names, time_ns=[now - 2_000_000_000] * 500, value=[float(i) for i in range(500)])
    batch = with_native(batch, ["h"])
    assert batch.native is not None
    assert batch.exemplars is not None
    batch.native.time_ms[:] = now // 1_000_000 - 2000
    batch.exemplars.time_ns[:] = now - 2_000_000_000
    batch = batch.with_columns(metadata=(Metadata("m", MetricType.GAUGE, "What it is.", ""),))
    stale = make_batch(names[:1], table=batch.table, time_ns=[now - 1_000_000_000])
    stale.value.view(np.uint64)[0] = STALE_BITS
    return batch, stale


@pytest.mark.peer
@pytest.mark.parametrize("message", list(Message))
async def test_into_a_real_prometheus(peers: Path, programs: Programs, tmp_path: Path, message: Message) -> None:
    """It takes what we send by either version: values, native histograms, exemplars and stale markers."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    config = tmp_path / "prometheus.yml"
    config.write_text("global: {}\n")
    program = programs.start(
        "prometheus",
        [
            peers / "prometheus",
            f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver",
            "--enable-feature=native-histograms,exemplar-storage,metadata-wal-records",
        ],
    )  # fmt: skip
    program.wait_http(f"{base}/-/ready")
    counters = Counters()
    await send(f"{base}/api/v1/write", *real_batches(), counters=counters, protobuf_message=message)
    wait_until(lambda: query(base, 'count(m{zone="eu"})')[0]["value"][1] == "499", "all series but the stale one")
    assert query(base, "sum(m)")[0]["value"][1] == str(sum(range(500)))
    assert query(base, "histogram_count(h)")[0]["value"][1] == "1"
    end = time.time()
    found = ask(f"{base}/api/v1/query_exemplars", query="h", start=f"{end - 60}", end=f"{end}")
    assert [one["value"] for series in found for one in series["exemplars"]] == ["1"]
    assert counters.value("otelcol_exporter_sent_metric_points") == 502
    assert counters.value("headrace_dropped_points") == 0


@pytest.mark.peer
@pytest.mark.parametrize("message", list(Message))
async def test_into_a_real_victoriametrics(peers: Path, programs: Programs, tmp_path: Path, message: Message) -> None:
    """Whatever version we begin with, every sample arrives."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    program = programs.start(
        "victoria-metrics",
        [
            peers / "victoria-metrics", f"-storageDataPath={tmp_path / 'vm'}", f"-httpListenAddr=127.0.0.1:{port}",
            "-search.latencyOffset=0s",
        ],
    )  # fmt: skip
    program.wait_http(f"{base}/health")
    counters = Counters()
    await send(f"{base}/api/v1/write", *real_batches(), counters=counters, protobuf_message=message)
    wait_until(lambda: bool(query(base, "count(m)")), "the series are found")
    assert query(base, "count(last_over_time(m[5m]))")[0]["value"][1] == "500"
    assert counters.value("headrace_dropped_points") == 0


def test_compression_is_the_block_format() -> None:
    """Servers take no framing."""
    assert bytes(cramjam.snappy.decompress_raw(cramjam.snappy.compress_raw(b"abc"))) == b"abc"
