"""The remote write decoders, against protobuf's own library."""

from __future__ import annotations

import math
import os
import random
import struct
from typing import Any

import cramjam
import numpy as np
import pytest

from headrace.kernels.buffers import padded
from headrace.pipeline.batch import STALE_BITS, BatchContext, Flag, MetricBatch
from headrace.pipeline.errors import InvalidInput, TooLarge
from headrace.pipeline.identity import MetricType
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.wire import snappy
from headrace.pipeline.wire.remote_write import Decoded, RemoteWriteDecoder
from headrace.testing.batches import rows
from remote_write_messages import Request, WriteRequest, request_v1, request_v2

RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))
MS = 1_000_000

SERIES = [
    ({"__name__": "up", "job": "a"}, [(1000, 1.0), (2000, 0.0)]),
    ({"__name__": "up", "job": "b", "empty": ""}, [(1000, math.inf)]),
    ({"job": "z", "__name__": "unsorted"}, [(-5, -0.0)]),
    ({"__name__": "quiet"}, []),
]
EXPECTED = [
    ('up{job="a"}', 1000 * MS, 1.0),
    ('up{job="a"}', 2000 * MS, 0.0),
    ('up{job="b"}', 1000 * MS, math.inf),
    ('unsorted{job="z"}', -5 * MS, -0.0),
]


def decode(request: Any, decoder: RemoteWriteDecoder | None = None) -> Decoded:
    data = request if isinstance(request, bytes) else request.SerializeToString()
    decoder = decoder or RemoteWriteDecoder(SeriesTable(), v2=isinstance(request, Request))
    return decoder.decode(padded(data), len(data), BatchContext(source="test"))


@pytest.mark.parametrize("make", [request_v1, request_v2])
def test_samples(make: Any) -> None:
    """Both versions give the same rows, in order; labels are sorted, empty values mean nothing."""
    decoded = decode(make(SERIES))
    assert rows(decoded.batch) == EXPECTED
    assert math.copysign(1, decoded.batch.value[3]) == -1
    assert decoded.rejected == {}
    assert (decoded.samples, decoded.histograms, decoded.exemplars) == (4, 0, 0)
    assert decoded.batch.context.source == "test"


@pytest.mark.parametrize("make", [request_v1, request_v2])
def test_known_series_are_looked_up(make: Any) -> None:
    """The second request of a series interns nothing and means the same."""
    v2 = make is request_v2
    table = SeriesTable()
    decoder = RemoteWriteDecoder(table, v2=v2)
    first = decode(make(SERIES), decoder)
    table.intern_spans = None  # type: ignore[method-assign, assignment]  # it must not be asked
    second = decode(make(SERIES), decoder)
    assert rows(first.batch) == rows(second.batch) == EXPECTED


def test_symbols_in_another_order_are_the_same_series() -> None:
    """References mean nothing beyond their request."""
    decoder = RemoteWriteDecoder(SeriesTable(), v2=True)
    one = decode(request_v2(SERIES[:2]), decoder).batch
    other = decode(request_v2(SERIES[1::-1]), decoder).batch
    assert set(one.series.tolist()) == set(other.series.tolist())


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([(b"a", b"b")], "no_name"),
        ([(b"__name__", b"m"), (b"a", b"1"), (b"a", b"2")], "duplicate_label"),
        ([(b"__name__", b"\xff")], "invalid_utf8"),
        ([(b"__name__", b"m"), (b"", b"x")], "empty_label_name"),
        ([(b"__name__", b"m"), (b"a", b"x" * 70_000)], "label_too_long"),
        ([(b"__name__", b"m")] + [(b"l%d" % i, b"x") for i in range(600)], "too_many_labels"),
    ],
)
def test_bad_series_are_left_out(labels: list[tuple[bytes, bytes]], reason: str) -> None:
    """One bad series does not hurt the others, and is bad the second time as well."""
    request = request_v1(SERIES[:1])
    bad = request.timeseries.add()
    for name, value in labels:
        bad.labels.add(name=name, value=value)
    bad.samples.add(timestamp=1, value=1.0)
    decoder = RemoteWriteDecoder(SeriesTable(), v2=False)
    for _ in range(2):
        decoded = decode(request, decoder)
        assert decoded.rejected == {reason: 1}
        assert decoded.message
        assert rows(decoded.batch) == EXPECTED[:2]


def test_times_that_do_not_fit() -> None:
    """Milliseconds whose nanoseconds overflow are rejected row by row."""
    request = request_v1([({"__name__": "m"}, [(2**63 - 1, 1.0), (5, 2.0), (-(2**63), 3.0)])])
    decoded = decode(request)
    assert decoded.rejected == {"out_of_bounds": 2}
    assert rows(decoded.batch) == [("m", 5 * MS, 2.0)]


def test_stale_markers_and_other_nans() -> None:
    """The bits of a NaN survive, and the marker is flagged."""
    other = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0]
    stale = struct.unpack("<d", struct.pack("<Q", int(STALE_BITS)))[0]
    request = request_v1([({"__name__": "m"}, [(1, stale), (2, other)])])
    batch = decode(request).batch
    assert batch.value.view(np.uint64).tolist() == [int(STALE_BITS), 0x7FF8000000000001]
    assert batch.flags.tolist() == [Flag.STALE, 0]


def exemplars(batch: MetricBatch) -> list[tuple[str, int, float, dict[str, str]]]:
    assert batch.exemplars is not None
    found = batch.exemplars
    out = []
    for i in range(len(found)):
        labels = {}
        for a, b, c, d in found.spans[found.starts[i] : found.starts[i + 1]].tolist():
            labels[bytes(found.arena[a : a + b]).decode()] = bytes(found.arena[c : c + d]).decode()
        out.append(
            (str(batch.table.series(int(found.series[i]))), int(found.time_ns[i]), float(found.value[i]), labels)
        )
    return out


def test_exemplars() -> None:
    """Labels of exemplars come along."""
    one = request_v1(SERIES[:1])
    exemplar = one.timeseries[0].exemplars.add(value=0.5, timestamp=7)
    exemplar.labels.add(name=b"trace_id", value=b"abc")
    two = request_v2(SERIES[:1])
    two.symbols.extend(["trace_id", "abc"])
    size = len(two.symbols)
    two.timeseries[0].exemplars.add(value=0.5, timestamp=7, labels_refs=[size - 2, size - 1])
    for request in (one, two):
        assert exemplars(decode(request).batch) == [('up{job="a"}', 7 * MS, 0.5, {"trace_id": "abc"})]


def test_metadata_comes_once() -> None:
    """Both versions tell type, help and unit; what has been told is not told again."""
    one = WriteRequest()
    one.metadata.add(type=1, metric_family_name="up", help="Whether.", unit="s")
    two = request_v2([({"__name__": "h_bucket", "le": "1"}, [(1, 1.0)]), ({"__name__": "h_sum"}, [(1, 1.0)])])
    two.symbols.append("Sizes.")
    for series in two.timeseries:
        series.metadata.type = 3
        series.metadata.help_ref = len(two.symbols) - 1
    for request, family, type_ in ((one, "up", MetricType.COUNTER), (two, "h", MetricType.HISTOGRAM)):
        decoder = RemoteWriteDecoder(SeriesTable(), v2=request is two)
        found = decode(request, decoder).batch.metadata
        assert [(m.family, m.type) for m in found] == [(family, type_)]
        assert decode(request, decoder).batch.metadata == ()


def test_start_times() -> None:
    """A sample's own start time stands before the series' one."""
    request = request_v2([({"__name__": "m"}, [(10, 1.0), (20, 2.0)])])
    request.timeseries[0].created_timestamp = 3
    request.timeseries[0].samples[1].start_timestamp = 4
    assert decode(request).batch.start_ns.tolist() == [3 * MS, 4 * MS]


def test_labels_that_do_not_lie_together() -> None:
    """A sample between two labels changes nothing about the series."""
    table = SeriesTable()
    decoder = RemoteWriteDecoder(table, v2=False)
    whole = request_v1(SERIES[:1]).timeseries[0]
    label = [bytes([10, len(one)]) + one for one in (part.SerializeToString() for part in whole.labels)]
    sample = whole.samples[0].SerializeToString()
    body = label[0] + bytes([18, len(sample)]) + sample + label[1]
    for _ in range(2):
        assert rows(decode(bytes([10, len(body)]) + body, decoder).batch) == EXPECTED[:1]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x0a\x05\x0a", "passes the end"),
        (b"\x0b", "wire type"),
        (b"\x0a" + b"\xff" * 11, "64 bits"),
    ],
)
def test_what_does_not_decode(data: bytes, why: str) -> None:
    """The error says what is wrong."""
    with pytest.raises(InvalidInput, match=why):
        decode(data, RemoteWriteDecoder(SeriesTable(), v2=False))


def test_references_out_of_range() -> None:
    """A symbol that is not there, and a name without a value."""
    for references in ([1, 9], [1]):
        request = request_v2(SERIES[:1])
        del request.timeseries[0].labels_refs[:]
        request.timeseries[0].labels_refs.extend(references)
        with pytest.raises(InvalidInput, match="label reference"):
            decode(request)


def test_snappy_bombs_are_refused_before_memory_is_taken() -> None:
    """The declared size decides."""
    bomb = bytes(cramjam.snappy.compress_raw(b"\0" * 5_000_000))
    with pytest.raises(TooLarge, match="5000000 passes the limit of 1000000"):
        snappy.decompress(bomb, 1_000_000)
    with pytest.raises(InvalidInput, match="corrupt"):
        snappy.decompress(b"\xff\xff\xff\x7f" + b"\0" * 10, 1 << 40)
    for data in (b"", b"\xff" * 9, b"\x05abc"):
        with pytest.raises(InvalidInput, match="corrupt"):
            snappy.decompress(data, 1_000_000)


def oracle(data: bytes, *, v2: bool) -> list[tuple[int, int, float]] | None:
    """Read with protobuf's library: (series, ms, bits of the value)."""
    message = Request() if v2 else WriteRequest()
    try:
        message.ParseFromString(data)
    except Exception:  # noqa: BLE001 -- it raises its own
        return None
    return [
        (i, sample.timestamp, struct.unpack("<Q", struct.pack("<d", sample.value))[0])
        for i, series in enumerate(message.timeseries)
        for sample in series.samples
    ]


@pytest.mark.fuzz
@pytest.mark.parametrize("v2", [False, True])
def test_mutated_requests(v2: bool) -> None:
    """Whatever the bytes, there is an answer or an error; what both sides read, they read alike."""
    generator = random.Random(7)
    make = request_v2 if v2 else request_v1
    whole = make(SERIES).SerializeToString()
    decoder = RemoteWriteDecoder(SeriesTable(), v2=v2)
    agreed = 0
    for _ in range(RUNS):
        data = bytearray(whole)
        for _ in range(generator.randint(0, 4)):
            kind = generator.random()
            at = generator.randrange(len(data))
            if kind < 0.6:
                data[at] = generator.randrange(256)
            elif kind < 0.8:
                del data[at : at + generator.randint(1, 8)]
            else:
                data[at:at] = generator.randbytes(generator.randint(1, 8))
            if not data:
                break
        found = oracle(bytes(data), v2=v2)
        try:
            decoded = decode(bytes(data), decoder)
        except InvalidInput:
            continue
        if found is not None and decoded.samples == len(found) and not decoded.rejected:
            got = zip(decoded.batch.time_ns.tolist(), decoded.batch.value.view(np.uint64).tolist(), strict=True)
            assert list(got) == [(time * MS, bits) for _, time, bits in found]
            agreed += 1
    assert agreed > RUNS // 10
