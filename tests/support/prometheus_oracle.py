"""A real Prometheus that holds given series and is asked queries: what it answers is right."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cramjam

from headrace.store.api.read_messages import delimited, varint
from headrace.testing.promql_script_histograms import Histogram, spans_of
from remote_write_messages import WriteRequest, packed
from running import Programs, free_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

FEATURES = ("native-histograms", "promql-experimental-functions", "promql-duration-expr", "promql-per-step-stats")
"""What is experimental in version 3.5 and compared nevertheless."""

DELAYED = "promql-delayed-name-removal"

_CONFIG = "scrape_configs: []\nstorage:\n  tsdb:\n    out_of_order_time_window: 100y\n"
_IN_MEMORY = ("--storage.tsdb.min-block-duration=2400h", "--storage.tsdb.max-block-duration=2400h")
"""While it makes a block of what is old, it loses samples that come in."""

LONG_AGO_MS = -6_000_000
"""Further back than nearly all queries look."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series.

    Attributes:
        labels: Its label set.
        points: Numbers and native histograms by time in milliseconds, ascending.
        integers: Whether histograms are sent with whole counts.
    """

    labels: dict[str, str]
    points: list[tuple[int, float | Histogram]]
    integers: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """Which buckets a histogram has, be they empty: indexes of the positive and of the negative ones."""

    positive: list[int]
    negative: list[int]

    @classmethod
    def of(cls, message: Any) -> Layout:
        """Read the spans of a protobuf message."""
        return cls(_indexes(message.positive_spans), _indexes(message.negative_spans))

    def filled(self, histogram: Histogram) -> Histogram:
        """Return `histogram` with these buckets, and those that it has."""
        return replace(
            histogram,
            positive=dict.fromkeys(self.positive, 0.0) | histogram.positive,
            negative=dict.fromkeys(self.negative, 0.0) | histogram.negative,
        )


class Oracle:
    """A running Prometheus without data.

    Args:
        programs: Starts it.
        binaries: Folder of the program.
        folder: Where its data goes; made.
        delayed: Whether metric names are removed at the end of a query.
        flags: More of the command line.
    """

    def __init__(
        self, programs: Programs, binaries: Path, folder: Path, *, delayed: bool = False, flags: Sequence[str] = ()
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "prometheus.yml"
        config.write_text(_CONFIG)
        self.port = free_port()
        features = ",".join((*FEATURES, *([DELAYED] if delayed else [])))
        self._program = programs.start(
            "prometheus",
            [
                binaries / "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
                "--storage.tsdb.retention.time=200y", f"--web.listen-address=127.0.0.1:{self.port}",
                "--web.enable-remote-write-receiver", f"--enable-feature={features}", *_IN_MEMORY, *flags,
            ],
        )  # fmt: skip
        self._program.wait_http(f"http://127.0.0.1:{self.port}/-/ready")
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def stop(self) -> None:
        """End the program."""
        self._connection.close()
        self._program.kill()

    def write(self, series: Sequence[Series]) -> None:
        """Send all points, in the order of time: in a series of both kinds nothing is out of order then.

        The peer goes through series in the order in which it met them, so all are made known first, long before.
        """
        self._send(packed(_request(LONG_AGO_MS, [(one, 0.0) for one in series])))
        by_time: dict[int, list[tuple[Series, float | Histogram]]] = defaultdict(list)
        for one in series:
            for time_ms, value in one.points:
                by_time[time_ms].append((one, value))
        for time_ms in sorted(by_time):
            self._send(packed(_request(time_ms, by_time[time_ms])))

    def _send(self, body: bytes) -> None:
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        self._connection.request("POST", "/api/v1/write", body, headers)
        reply = self._connection.getresponse()
        text = reply.read()
        assert reply.status == 204, text

    def layouts(self, start_ms: int, end_ms: int) -> dict[tuple[tuple[str, str], ...], dict[int, Layout]]:
        """Read which buckets the stored histograms have by now, by series and time: chunks add empty ones."""
        matcher = b"\x08\x02" + delimited(18, b"__name__") + delimited(26, b".*")  # Type 2 is =~.
        asked = b"\x08" + varint(start_ms) + b"\x10" + varint(end_ms) + delimited(26, matcher)
        body = bytes(cramjam.snappy.compress_raw(delimited(10, asked)))
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        self._connection.request("POST", "/api/v1/read", body, headers)
        reply = self._connection.getresponse()
        found = bytes(cramjam.snappy.decompress_raw(reply.read()))
        assert reply.status == 200, found
        return {
            tuple((label.name.decode(), label.value.decode()) for label in one.labels): {
                histogram.timestamp: Layout.of(histogram) for histogram in one.histograms
            }
            for one in _only_result(found).timeseries
        }

    def raw(self, path: str, parameters: Mapping[str, str]) -> bytes:
        """Return what the API answers to a form."""
        self._connection.request(
            "POST",
            f"/api/v1/{path}",
            urllib.parse.urlencode(parameters),
            {"Content-Type": "application/x-www-form-urlencoded"},
        )
        return self._connection.getresponse().read()

    def ask(self, path: str, **parameters: str) -> dict[str, Any]:
        """Return what the API answers, read."""
        return dict(json.loads(self.raw(path, parameters)))


def _indexes(spans: Iterable[Any]) -> list[int]:
    found: list[int] = []
    at = 0
    for span in spans:
        at += span.offset
        found.extend(range(at, at + span.length))
        at += span.length
    return found


def _only_result(response: bytes) -> Any:
    """Read the only result of a ``ReadResponse``: it has its series where a ``WriteRequest`` has them."""
    at = next(i for i in range(1, len(response)) if response[i] < 0x80) + 1  # Tag and length.
    return WriteRequest.FromString(response[at:])


def seconds(time_ms: int) -> str:
    """Write a time as the API takes it.

    >>> seconds(1500)
    '1.500'
    """
    sign = "-" if time_ms < 0 else ""
    return f"{sign}{abs(time_ms) // 1000}.{abs(time_ms) % 1000:03d}"


def request_of(series: Sequence[Series]) -> Any:
    """Make a remote write request with all points of all series."""
    request = WriteRequest()
    for one in series:
        _add(request, one, one.points)
    return request


def _request(time_ms: int, points: Iterable[tuple[Series, float | Histogram]]) -> Any:
    request = WriteRequest()
    for series, value in points:
        _add(request, series, [(time_ms, value)])
    return request


def _add(request: Any, series: Series, points: Iterable[tuple[int, float | Histogram]]) -> None:
    one = request.timeseries.add()
    for name, text in sorted(series.labels.items()):
        one.labels.add(name=name.encode(), value=text.encode())
    for time_ms, value in points:
        if isinstance(value, Histogram):
            _fill(one.histograms.add(), time_ms, value, integers=series.integers)
        else:
            one.samples.add(timestamp=time_ms, value=value)


def _fill(message: Any, time_ms: int, histogram: Histogram, *, integers: bool) -> None:
    message.timestamp, message.sum, message.schema = time_ms, histogram.sum, histogram.schema
    message.reset_hint, message.zero_threshold = int(histogram.hint or 0), histogram.zero_threshold
    message.custom_values.extend(histogram.bounds)
    for sign, buckets in (("positive", histogram.positive), ("negative", histogram.negative)):
        spans, counts = spans_of(buckets)
        for offset, length in spans:
            getattr(message, f"{sign}_spans").add(offset=offset, length=length)
        if integers:
            whole = [int(count) for count in counts]
            getattr(message, f"{sign}_deltas").extend(b - a for a, b in zip([0, *whole], whole, strict=False))
        else:
            getattr(message, f"{sign}_counts").extend(counts)
    if integers:
        message.count_int, message.zero_count_int = int(histogram.count), int(histogram.zero_count)
    else:
        message.count_float, message.zero_count_float = histogram.count, histogram.zero_count
