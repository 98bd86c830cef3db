"""Remote read: answers of both kinds, and a real Prometheus that has the daemon for its storage."""

from __future__ import annotations

import json
import math
import random
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cramjam
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, message_factory

from api_lab import ApiLab
from headrace.store.api.read_messages import delimited, varint
from native_messages import WriteRequest, request
from native_rows import STALE, Growing, Row, bits
from twins import Twins, ask, recent_ms

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STALE_NUMBER = float(np.uint64(0x7FF0000000000002).view(np.float64))
STEP_MS = 15_000
POINTS = 150
UNSUPPORTED = "server does not support any of the requested response types"
STREAMED = b"\x12\x02\x01\x00"


def matcher(kind: int, name: str, value: str) -> bytes:
    return b"\x08" + varint(kind) + delimited(18, name.encode()) + delimited(26, value.encode())


def query(start_ms: int, end_ms: int, *matchers: bytes) -> bytes:
    body = b"\x08" + varint(start_ms) + b"\x10" + varint(end_ms) + b"".join(delimited(26, one) for one in matchers)
    return delimited(10, body)


def response_class() -> Any:
    """Make ``ReadResponse`` out of the series of remote write."""
    file = descriptor_pb2.FileDescriptorProto(name="read.proto", package="read", syntax="proto3")
    file.dependency.append("native.proto")
    repeated = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    kind = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
    for name, field, of in (
        ("QueryResult", "timeseries", ".native.TimeSeries"),
        ("ReadResponse", "results", ".read.QueryResult"),
    ):
        message = file.message_type.add(name=name)
        message.field.add(name=field, number=1, label=repeated, type=kind, type_name=of)
    pool = WriteRequest.DESCRIPTOR.file.pool
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("read.ReadResponse"))


ReadResponse = response_class()


async def read(api: ApiLab, body: bytes) -> Any:
    assert api.listener is not None
    return await api.ask("/api/v1/read", "POST", body=bytes(cramjam.snappy.compress_raw(body)))


async def test_samples_in_one_message(api: ApiLab) -> None:
    """Each query has its series with their labels in order, and what is outside is left out."""
    reply = await read(
        api, query(0, 7, matcher(0, "__name__", "up")) + query(0, 7, matcher(1, "job", "b")) + query(7, 0)
    )

    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/x-protobuf"
    assert reply.headers["Content-Encoding"] == "snappy"
    found = ReadResponse.FromString(bytes(cramjam.snappy.decompress_raw(reply.raw)))
    first, second, third = found.results
    assert [{label.name: label.value for label in one.labels} for one in first.timeseries] == [
        {"__name__": "up", "instance": "x:1", "job": "a"}, {"__name__": "up", "instance": "y:1", "job": "b"},
    ]  # fmt: skip
    assert [(one.timestamp, one.value) for one in first.timeseries[0].samples] == [(7, 1.5)]
    assert (len(second.timeseries), len(third.timeseries)) == (1, 0)


async def test_the_limit_of_samples() -> None:
    """One sample too many is refused, with Prometheus' text; streams have no limit."""
    api = ApiLab(read_samples=2)
    await api.start()
    try:
        reply = await read(api, query(0, 7))
        streamed = await read(api, query(0, 7) + STREAMED)
    finally:
        await api.close()

    assert (reply.status, reply.raw) == (400, b"exceeded sample limit (2)\n")
    assert streamed.status == 200
    assert streamed.headers["Content-Type"] == "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (query(0, 7, matcher(2, "job", "(")), 500, "missing"),
        (query(0, 7, matcher(9, "job", "")), 400, "invalid matcher type"),
        (b"\x0a\x05", 400, "unexpected EOF"),
        (b"\x12\x01\x07", 400, f"{UNSUPPORTED}: [7]; supported: map[SAMPLES:{{}} STREAMED_XOR_CHUNKS:{{}}]"),
    ],
)  # fmt: skip
async def test_requests_that_cannot_be_answered(api: ApiLab, body: bytes, status: int, text: str) -> None:
    """A pattern, a matcher, a message and a kind of answer that are none."""
    reply = await read(api, body)

    assert reply.status == status
    assert text in reply.raw.decode()


async def test_what_is_no_snappy(api: ApiLab) -> None:
    """As Prometheus says it."""
    reply = await api.ask("/api/v1/read", "POST", body=b"")

    assert (reply.status, reply.raw) == (400, b"snappy: corrupt input\n")


async def test_external_labels() -> None:
    """They are added where they are missing, and what is asked of them is not asked of the store."""
    api = ApiLab(external_labels={"cluster": "c", "job": "other"})
    await api.start()
    try:
        reply = await read(api, query(0, 7, matcher(0, "cluster", "c"), matcher(0, "job", "a")))
    finally:
        await api.close()

    found = ReadResponse.FromString(bytes(cramjam.snappy.decompress_raw(reply.raw)))
    (series,) = found.results[0].timeseries
    assert [(one.name, one.value) for one in series.labels] == [
        ("__name__", "up"), ("cluster", "c"), ("instance", "x:1"), ("job", "a"),
    ]  # fmt: skip


# -- a real Prometheus -----------------------------------------------------------------------------------

Data = list[tuple[dict[str, str], list[tuple[int, float]], list[tuple[int, Row]]]]


class Honest(Growing):
    """Histograms that Prometheus takes: their count is that of their buckets, and doubles hold all of it exactly."""

    def next(self) -> Row:
        row = super().next()
        if row is STALE:
            return row
        if row.flags:
            buckets = [math.fmod(number(one), 1 << 40) for one in row.buckets]
            count = math.fmod(number(row.zero_count), 1 << 40) + sum(buckets)
            return replace(row, count=bits(count), buckets=tuple(map(bits, buckets)))
        whole = tuple(one % (1 << 40) for one in row.buckets)
        return replace(row, count=row.zero_count + sum(whole), buckets=whole, hint=0)


def number(word: int) -> float:
    return float(np.uint64(word).view(np.float64))


def make_data() -> Data:
    """Make numbers, histograms, and series of both in turn."""
    pick = random.Random(11)
    start = recent_ms(45)
    times = [start + i * STEP_MS + pick.randrange(1000) for i in range(POINTS)]
    data: Data = []
    for i in range(400):
        value, rows = 0.0, []
        for time in times:
            value = 0.0 if pick.random() < 0.01 else value + pick.choice([0.0, 1.0, pick.random()])
            if pick.random() > 0.02:
                rows.append((time, STALE_NUMBER if pick.random() < 0.01 else value))
        data.append(({"__name__": "requests_total", "i": str(i), "job": "ab"[i % 2]}, rows, []))
    for i in range(8):
        growing = Honest(pick)
        data.append(({"__name__": "h", "i": str(i)}, [], [(t, growing.next()) for t in times if pick.random() > 0.1]))
    for i in range(3):
        growing = Honest(pick)
        native = [(k // (3 + i)) % 2 == 1 for k in range(POINTS)]
        numbers = [(t, float(k)) for k, t in enumerate(times) if not native[k]]
        rows_ = [(t, growing.next()) for k, t in enumerate(times) if native[k]]
        data.append(({"__name__": "both", "i": str(i)}, numbers, rows_))
    return data


@pytest.fixture(scope="module")
def reader(peers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Twins, str, int]]:
    """The twins, and an empty Prometheus that reads from the daemon; its address, and the last time."""
    data = make_data()
    with Twins(tmp_path_factory.mktemp("remote-read"), peers) as twins:
        times = sorted({time for _, numbers, rows in data for time, _ in (*numbers, *rows)})
        for time in times:
            some = [(labels, [r for r in numbers if r[0] == time], [r for r in rows if r[0] == time])
                    for labels, numbers, rows in data]  # fmt: skip
            twins.write(request([one for one in some if one[1] or one[2]]))
        url = f"{twins.theirs[:-1]}{(int(twins.theirs[-1]) + 1) % 10}"
        more = f"remote_read:\n- url: {twins.ours}/api/v1/read\n  read_recent: true\n"
        twins.prometheus(url, more, "reader")
        yield twins, url, times[-1]


QUERIES = [
    "requests_total",
    "requests_total[5m]",
    'requests_total{i=~"1.*",job!="a"}',
    'requests_total{i!~"[0-3].*",job=~"a|b"}[10m]',
    "sum by (job) (rate(requests_total[5m]))",
    "max_over_time(requests_total[30m]) > 20",
    'count({__name__=~"requests_total|both|h"})',
    "absent(nosuch)",
    "h",
    "h[20m]",
    "h[45m]",
    "both",
    "both[45m]",
    "histogram_count(rate(h[5m]))",
    "histogram_sum(increase(h[10m]))",
    "histogram_quantile(0.9, sum(rate(h[5m])))",
    "sum by (job) (requests_total) + on () group_left () count(h)",
]


def normal(answer: Any) -> Any:
    """Return the data with series in order."""
    found = answer["data"]
    if isinstance(found["result"], list) and found["resultType"] in {"vector", "matrix"}:
        found["result"].sort(key=lambda one: json.dumps(one["metric"], sort_keys=True))
    return found


@pytest.mark.peer
@pytest.mark.parametrize("text", QUERIES)
def test_prometheus_reads_what_we_have(reader: tuple[Twins, str, int], text: str) -> None:
    """A query on a Prometheus that reads from the daemon has the answer of one with the samples, and the daemon's."""
    twins, url, last_ms = reader
    for time_ms in (last_ms, last_ms - 900_000):
        form = (("query", text), ("time", str(time_ms / 1000)))
        read_by = ask(f"{url}/api/v1/query", form).json
        assert read_by["status"] == "success", read_by
        # Functions of native histograms follow a newer Prometheus here.
        for other in (twins.theirs, twins.ours)[: 1 if "histogram_" in text else 2]:
            assert normal(read_by) == normal(ask(f"{other}/api/v1/query", form).json), other


@pytest.mark.peer
@pytest.mark.parametrize("text", [one for one in QUERIES if not one.endswith("]")])
def test_prometheus_reads_ranges(reader: tuple[Twins, str, int], text: str) -> None:
    """The same at steps."""
    twins, url, last_ms = reader
    start, end = (last_ms - 2_000_000) / 1000, last_ms / 1000
    form = (("query", text), ("start", str(start)), ("end", str(end)), ("step", "45"))
    read_by = ask(f"{url}/api/v1/query_range", form).json
    own = ask(f"{twins.theirs}/api/v1/query_range", form).json

    assert read_by["status"] == "success", read_by
    assert normal(read_by) == normal(own)


@pytest.mark.peer
def test_errors_of_requests_are_prometheus_own(reader: tuple[Twins, str, int]) -> None:
    """Bodies that are nothing, and a kind of answer that nobody knows."""
    twins, _, _ = reader
    for body in (b"", b"x", bytes(cramjam.snappy.compress_raw(b"\x12\x01\x07"))):
        seen = []
        for url in (twins.ours, twins.theirs):
            sent = urllib.request.Request(f"{url}/api/v1/read", body, method="POST")
            try:
                urllib.request.urlopen(sent, timeout=10).close()
            except urllib.error.HTTPError as error:
                seen.append((error.code, error.read()))
        assert len(seen) == 2
        assert seen[0] == seen[1]
