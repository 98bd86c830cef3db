"""Files of OTLP under test: what writes them and what reads them."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.exporters.file import FileExporter
from headrace.exporters.file_config import FileConfig
from headrace.pipeline.host import Host
from headrace.receivers.otlp_json_file import OtlpJsonFileConfig, OtlpJsonFileReceiver
from headrace.testing.batches import make_settings, rows
from headrace.testing.clock import ManualClock
from headrace.testing.sinks import MemorySink
from otlp_batches import CUMULATIVE, OtlpBatches, attributes, request

S = 1_000_000_000


def message(name: str = "m", segment: str | None = None, value: int = 1) -> Any:
    """Return a request with a sum that has an exemplar, and a histogram."""
    found, scope = request({"fileexporter__path_segment": segment} if segment is not None else {"a": "ü"}, "lib")
    sum_ = scope.metrics.add(name=name, unit="By", description="Help.").sum
    sum_.aggregation_temporality, sum_.is_monotonic = CUMULATIVE, True
    point = sum_.data_points.add(time_unix_nano=5 * S, start_time_unix_nano=S, as_int=value)
    attributes(point, route="/a", code=7)
    point.exemplars.add(time_unix_nano=4 * S, as_double=2.5, trace_id=b"\xab" * 16, span_id=b"\xcd" * 8)
    histogram = scope.metrics.add(name=f"{name}_h").histogram
    histogram.aggregation_temporality = CUMULATIVE
    histogram.data_points.add(time_unix_nano=5 * S, count=2, sum=1.5, bucket_counts=[1, 1], explicit_bounds=[1])
    return found


class Written:
    """An exporter under test; its batches are of one table."""

    def __init__(self, path: str, **config: Any) -> None:
        self.clock = ManualClock()
        self.settings = make_settings("file", kind="exporters", clock_ns=self.clock.clock_ns)
        self.host = Host()
        self.otlp = OtlpBatches(self.host.workspaces.table("default"))
        self.exporter = FileExporter(self.settings, FileConfig(path=path, **{"flush_interval": "0s", **config}))

    async def write(self, *messages: Any) -> None:
        await self.exporter.start(self.host)
        for one in messages:
            await self.exporter.deliver(self.otlp.of(one))
        await self.exporter.shutdown()


async def replayed(path: str, **config: Any) -> list[tuple[str, int, float]]:
    """Return the number points that the receiver reads."""
    receiver, sink = reading(path, **config)
    await receiver.start(Host())
    await receiver.shutdown()
    await receiver.poll()
    return [row for batch in sink.batches for row in rows(batch)]


def reading(path: str, **config: Any) -> tuple[OtlpJsonFileReceiver, MemorySink]:
    """Return a receiver of these files, from their beginning, and what it feeds."""
    sink = MemorySink()
    chosen = OtlpJsonFileConfig(include=(path,), **{"start_at": "beginning", **config})
    return OtlpJsonFileReceiver(make_settings("otlp_json_file", kind="receivers"), chosen, sink), sink


POINT = ('m{code="7", route="/a"}', 5 * S, 1.0)


FORMATS = [
    pytest.param({}, {}, id="json"),
    pytest.param({"format": "proto"}, {"format": "proto"}, id="proto"),
    pytest.param({"compression": "zstd"}, {"zstd": True}, id="json-zstd"),
    pytest.param({"format": "proto", "compression": "zstd"}, {"format": "proto", "zstd": True}, id="proto-zstd"),
]


LINE = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [
    {"name": "m", "gauge": {"dataPoints": [{"timeUnixNano": "1000", "asDouble": 0.5}]}}
]}]}]}  # fmt: skip
