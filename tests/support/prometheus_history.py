"""Native histograms for remote write, and a real Prometheus that is given a history and makes a snapshot of it."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from running import Programs, free_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_Field = descriptor_pb2.FieldDescriptorProto
_FIELDS: dict[str, list[tuple[str, int, int, bool, str]]] = {
    "Label": [("name", 1, _Field.TYPE_STRING, False, ""), ("value", 2, _Field.TYPE_STRING, False, "")],
    "Sample": [("value", 1, _Field.TYPE_DOUBLE, False, ""), ("timestamp", 2, _Field.TYPE_INT64, False, "")],
    "Span": [("offset", 1, _Field.TYPE_SINT32, False, ""), ("length", 2, _Field.TYPE_UINT32, False, "")],
    "Histogram": [
        ("count_int", 1, _Field.TYPE_UINT64, False, ""),
        ("count_float", 2, _Field.TYPE_DOUBLE, False, ""),
        ("sum", 3, _Field.TYPE_DOUBLE, False, ""),
        ("schema", 4, _Field.TYPE_SINT32, False, ""),
        ("zero_threshold", 5, _Field.TYPE_DOUBLE, False, ""),
        ("zero_count_int", 6, _Field.TYPE_UINT64, False, ""),
        ("zero_count_float", 7, _Field.TYPE_DOUBLE, False, ""),
        ("negative_spans", 8, _Field.TYPE_MESSAGE, True, "Span"),
        ("negative_deltas", 9, _Field.TYPE_SINT64, True, ""),
        ("negative_counts", 10, _Field.TYPE_DOUBLE, True, ""),
        ("positive_spans", 11, _Field.TYPE_MESSAGE, True, "Span"),
        ("positive_deltas", 12, _Field.TYPE_SINT64, True, ""),
        ("positive_counts", 13, _Field.TYPE_DOUBLE, True, ""),
        ("reset_hint", 14, _Field.TYPE_INT32, False, ""),
        ("timestamp", 15, _Field.TYPE_INT64, False, ""),
        ("custom_values", 16, _Field.TYPE_DOUBLE, True, ""),
    ],
    "TimeSeries": [
        ("labels", 1, _Field.TYPE_MESSAGE, True, "Label"),
        ("samples", 2, _Field.TYPE_MESSAGE, True, "Sample"),
        ("histograms", 4, _Field.TYPE_MESSAGE, True, "Histogram"),
    ],
    "WriteRequest": [("timeseries", 1, _Field.TYPE_MESSAGE, True, "TimeSeries")],
}
_ONE_OF = {"count_int": 0, "count_float": 0, "zero_count_int": 1, "zero_count_float": 1}


def _write_request() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="history.proto", package="history", syntax="proto3")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        if name == "Histogram":
            message.oneof_decl.add(name="counts")
            message.oneof_decl.add(name="zero_counts")
        for field_name, number, kind, repeated, of in fields:
            added = message.field.add(
                name=field_name, number=number, type=kind,
                label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL,
            )  # fmt: skip
            if of:
                added.type_name = f".history.{of}"
            if name == "Histogram" and field_name in _ONE_OF:
                added.oneof_index = _ONE_OF[field_name]
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("history.WriteRequest"))


WriteRequest: Any = _write_request()


@dataclass(frozen=True)
class Histogram:
    """A native histogram by hand; counts are absolute, and doubles where `is_float`."""

    time_ms: int
    sum: float = 0.0
    schema: int = 0
    zero_threshold: float = 0.0
    zero_count: float = 0
    positive_spans: Sequence[tuple[int, int]] = ()
    positive: Sequence[float] = ()
    negative_spans: Sequence[tuple[int, int]] = ()
    negative: Sequence[float] = ()
    bounds: Sequence[float] = ()
    hint: int = 0
    is_float: bool = False
    stale: bool = False

    @property
    def count(self) -> float:
        """All observations."""
        return self.zero_count + math.fsum(self.positive) + math.fsum(self.negative)


@dataclass
class OneSeries:
    """A series with its samples."""

    labels: dict[str, str]
    floats: list[tuple[int, float]] = field(default_factory=list)
    histograms: list[Histogram] = field(default_factory=list)


def _deltas(counts: Sequence[float]) -> list[int]:
    return [int(b - a) for a, b in zip([0, *counts], counts, strict=False)]


def _fill(message: Any, one: Histogram, stale: float) -> None:
    message.timestamp, message.schema, message.reset_hint = one.time_ms, one.schema, one.hint
    message.sum = stale if one.stale else one.sum
    message.zero_threshold = one.zero_threshold
    message.custom_values.extend(one.bounds)
    for side in ("positive", "negative"):
        for offset, length in getattr(one, f"{side}_spans"):
            getattr(message, f"{side}_spans").add(offset=offset, length=length)
        counts = getattr(one, side)
        if one.is_float:
            getattr(message, f"{side}_counts").extend(counts)
        else:
            getattr(message, f"{side}_deltas").extend(_deltas(counts))
    if one.is_float:
        message.count_float, message.zero_count_float = one.count, float(one.zero_count)
    else:
        message.count_int, message.zero_count_int = int(one.count), int(one.zero_count)


def request(series: Sequence[OneSeries], stale: float) -> bytes:
    """Return the body of a remote write request."""
    message = WriteRequest()
    for one in series:
        row = message.timeseries.add()
        for name, text in sorted(one.labels.items()):
            row.labels.add(name=name, value=text)
        for time_ms, number in one.floats:
            row.samples.add(timestamp=time_ms, value=number)
        for histogram in one.histograms:
            _fill(row.histograms.add(), histogram, stale)
    return bytes(cramjam.snappy.compress_raw(message.SerializeToString()))


class PrometheusServer:
    """A real Prometheus without targets, which takes any times.

    Args:
        programs: Starts it.
        peers: Where it is.
        folder: Its own folder.
    """

    def __init__(self, programs: Programs, peers: Path, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "prometheus.yml"
        config.write_text("storage:\n  tsdb:\n    out_of_order_time_window: 100y\n")
        self.data = folder / "data"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.program = programs.start(
            f"prometheus-{port}",
            [
                peers / "prometheus", f"--config.file={config}", f"--storage.tsdb.path={self.data}",
                f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=200y",
                "--web.enable-remote-write-receiver", "--web.enable-admin-api",
                "--enable-feature=native-histograms,promql-experimental-functions", "--log.level=error",
            ],
        )  # fmt: skip
        self.program.wait_http(f"{self.url}/-/ready")

    def write(self, series: Sequence[OneSeries], stale: float) -> None:
        """Send samples by remote write."""
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
        self._ask("/api/v1/write", request(series, stale), headers)

    def query(self, path: str, **parameters: Any) -> Any:
        """Ask the API; return ``data``."""
        text = self._ask(f"/api/v1/{path}?{urllib.parse.urlencode(parameters, doseq=True)}")
        return json.loads(text)["data"]

    def post(self, path: str, **parameters: Any) -> str:
        """Post to the API."""
        return self._ask(f"/api/v1/{path}?{urllib.parse.urlencode(parameters, doseq=True)}", b"")

    def snapshot(self) -> Path:
        """Make a snapshot; return its directory."""
        name = json.loads(self.post("admin/tsdb/snapshot"))["data"]["name"]
        return self.data / "snapshots" / str(name)

    def _ask(self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> str:
        asked = urllib.request.Request(self.url + path, body, headers or {})
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.read().decode()}") from None
