"""Remote write in, five rules, remote write out: where the CPU time of a sample goes, without the network.

Requests of 2,000 series with one sample each, out of 100,000 series, in the steady state. The last rows are about
the queue on disk: writing a batch, and reading it back.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cramjam
import numpy as np

from headrace.exporters.prometheus_remote_write_encoding import Encoder, joined
from headrace.pipeline.batch import BatchContext
from headrace.pipeline.chain import SeriesChain, Stage
from headrace.pipeline.component import Settings
from headrace.pipeline.counters import Counters, Drops
from headrace.pipeline.prometheus_edge import PrometheusEdge
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.storage import RecordLog
from headrace.pipeline.storage.batches import BatchDecoder, BatchEncoder
from headrace.pipeline.storage.usage import Usage
from headrace.pipeline.wire import snappy
from headrace.pipeline.wire.remote_write import RemoteWriteDecoder
from headrace.processors.relabel import RelabelProcessor, RelabelProcessorConfig

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from remote_write_messages import packed, request_v1

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.batch import MetricBatch

SERIES = 2000
REQUESTS = 50
ROUNDS = 3

RULES: list[dict[str, Any]] = [
    {"source_labels": ["__name__"], "regex": "debug_.*|go_gc_.*", "action": "drop"},
    {"source_labels": ["__name__", "code"], "regex": "http_requests_total;5..", "action": "drop"},
    {"regex": "tmp_.*|pod_uid", "action": "labeldrop"},
    {"source_labels": ["path"], "regex": "/api/(v[0-9]+)/.*", "target_label": "api", "replacement": "$1"},
    {"source_labels": ["method", "code"], "separator": ":", "target_label": "method_code"},
]


def _request(number: int) -> bytes:
    labels = [
        {
            "__name__": f"http_requests_total_{i % 20}",
            "cluster": "eu-1",
            "code": str(200 + i % 4),
            "instance": f"10.0.{number}.{i % 250}:9100",
            "job": "api",
            "method": ("GET", "POST")[i % 2],
            "path": f"/api/v1/things/{i}",
            "pod_uid": f"{number:04x}-{i:04x}",
        }
        for i in range(SERIES)
    ]
    return packed(request_v1([(one, [(1_700_000_000_123, 123456.789 + i)]) for i, one in enumerate(labels)]))


class _Timer:
    """CPU seconds of the process, by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, step: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        found = work()
        self.seconds[step] = self.seconds.get(step, 0.0) + time.process_time() - began
        return found


class _Path:
    """The path of a request through the daemon."""

    def __init__(self) -> None:
        self.table = SeriesTable()
        drops = Drops(Counters(), "bench")
        settings = Settings("processors", "relabel", Counters(), logging.getLogger("bench"))
        rules = RelabelProcessor(settings, RelabelProcessorConfig(relabel_configs=RULES))
        self.decoder = RemoteWriteDecoder(self.table, v2=False)
        self.chain = SeriesChain([Stage(rules, drops)])
        self.edge = PrometheusEdge(drops)
        self.encoder = Encoder({}, 3_000_000, send_metadata=False, namespace="", monotonic_s=time.monotonic)

    def read(self, body: bytes, timer: _Timer) -> MetricBatch:
        buf, size = timer("snappy_in", lambda: snappy.decompress(body, 32 << 20))
        batch = timer("decode", lambda: self.decoder.decode(buf, size, BatchContext()).batch)
        return timer("rules", lambda: self._ruled(batch))  # type: ignore[no-any-return]

    def _ruled(self, batch: MetricBatch) -> MetricBatch:
        new = self.chain.undecided(batch)
        if len(new):
            self.chain.decide(batch, new)
        return self.edge.flatten(self.chain.process(batch)).batch

    def write(self, batches: list[MetricBatch], version: int, timer: _Timer) -> None:
        batch = timer("join", lambda: joined(batches))
        found = timer(f"encode_v{version}", lambda: list(self.encoder.encode(batch, version)))
        for one in found:
            timer(f"snappy_out_v{version}", partial(cramjam.snappy.compress_raw, one.encoded.body))


async def _stored(batches: list[MetricBatch], timer: _Timer, table: SeriesTable) -> None:
    settings = Settings("extensions", "file_storage", Counters(), logging.getLogger("bench"))
    with tempfile.TemporaryDirectory() as folder:
        log = RecordLog(Path(folder), Usage(settings, 0), fsync=False)
        log.recover()
        encoder, decoder = BatchEncoder(), BatchDecoder(lambda _: table, lambda _points, _why: None)
        for batch in batches:
            if log.rotate():
                encoder.reset()
            began = time.process_time()
            await log.append(encoder.encode(batch), lambda _seq: None)
            timer.seconds["store"] = timer.seconds.get("store", 0.0) + time.process_time() - began
        after = -1
        while (found := log.read(after)) is not None:
            after = found.head.seq
            timer("read_back", partial(decoder.decode, found.payload or b""))
            log.acknowledge(after)
        await log.close()


def run() -> dict[str, float]:
    """Measure CPU microseconds for each sample that came in, best of some rounds for each step."""
    bodies = [_request(number) for number in range(REQUESTS)]
    path = _Path()
    best: dict[str, float] = {}
    for round_ in range(ROUNDS + 1):
        timer = _Timer()
        batches = [path.read(body, timer) for body in bodies]
        for first in range(0, REQUESTS, 25):
            for version in (1, 2):
                path.write(batches[first : first + 25], version, timer)
        asyncio.run(_stored(batches + batches, timer, path.table))
        if round_:
            for step, seconds in timer.seconds.items():
                best[step] = min(best.get(step, np.inf), seconds)
    samples = SERIES * REQUESTS
    out = {f"{step}_us_per_sample": seconds / samples * 1e6 for step, seconds in best.items()}
    for step in ("store_us_per_sample", "read_back_us_per_sample"):
        out[step] /= 2
    shared = ("snappy_in", "decode", "rules", "join")
    for version in (1, 2):
        steps = (*shared, f"encode_v{version}", f"snappy_out_v{version}")
        out[f"all_v{version}_us_per_sample"] = sum(out[f"{step}_us_per_sample"] for step in steps)
    return out
