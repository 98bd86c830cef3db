"""Native histograms of remote write requests, against protobuf's own library and plain Python."""

from __future__ import annotations

import math
import os
import random
import struct
from itertools import accumulate
from typing import Any

import numpy as np
import pytest

from headrace.kernels.buffers import padded
from headrace.pipeline.batch import STALE_BITS, BatchContext
from headrace.pipeline.errors import InvalidInput, TooLarge
from headrace.pipeline.native_histograms import NativeFlag, NativeHistograms
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.wire import remote_write_histograms
from headrace.pipeline.wire.remote_write import Decoded, RemoteWriteDecoder
from headrace.pipeline.wire.remote_write_encode import LabelArena
from headrace.pipeline.wire.remote_write_encode_more import exemplar_requests, histogram_requests
from remote_write_messages import Request, WriteRequest, request_v1, request_v2

RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))
STALE = struct.unpack("<d", struct.pack("<Q", int(STALE_BITS)))[0]


def decode(request: Any, decoder: RemoteWriteDecoder | None = None) -> Decoded:
    data = request if isinstance(request, bytes) else request.SerializeToString()
    decoder = decoder or RemoteWriteDecoder(SeriesTable(), v2=isinstance(request, Request))
    return decoder.decode(padded(data), len(data), BatchContext(source="test"))


def row(rows: NativeHistograms, i: int) -> dict[str, Any]:
    """Return a row as plain values: buckets by index, counts as numbers."""
    is_float = bool(rows.flags[i] & NativeFlag.FLOAT_COUNTS)

    def number(bits: Any) -> float | int:
        return float(np.uint64(bits).view(np.float64)) if is_float else int(bits)

    spans = rows.spans[rows.span_starts[i] : rows.span_starts[i + 1]].tolist()
    counts = [number(c) for c in rows.buckets[rows.bucket_starts[i] : rows.bucket_starts[i + 1]]]
    positive = int(rows.positive_spans[i])
    used = sum(length for _, length in spans[:positive])
    return {
        "time": int(rows.time_ms[i]),
        "start": int(rows.start_ms[i]),
        "hint": int(rows.hint[i]),
        "schema": int(rows.schema[i]),
        "threshold": float(rows.zero_threshold[i]),
        "zero": number(rows.zero_count[i]),
        "count": number(rows.count[i]),
        "sum": struct.pack("<d", rows.sum[i]),
        "positive": dict(zip(indices(spans[:positive]), counts[:used], strict=True)),
        "negative": dict(zip(indices(spans[positive:]), counts[used:], strict=True)),
        "bounds": rows.bounds[rows.bound_starts[i] : rows.bound_starts[i + 1]].tolist(),
    }


def indices(spans: list[list[int]]) -> list[int]:
    at = 0
    out: list[int] = []
    for offset, length in spans:
        at += offset
        out += range(at, at + length)
        at += length
    return out


def model(message: Any, created: int) -> dict[str, Any]:
    """Return what a valid message means."""
    is_float = message.WhichOneof("count") == "count_float"

    def side(spans: Any, deltas: Any, counts: Any) -> dict[int, float | int]:
        found = indices([[span.offset, span.length] for span in spans])
        return dict(zip(found, counts if is_float else accumulate(deltas), strict=True))

    zero_is_float = message.WhichOneof("zero_count") == "zero_count_float"
    zero = (
        (message.zero_count_float if is_float else message.zero_count_int)
        if zero_is_float == is_float
        else 0.0
        if is_float
        else 0
    )
    return {
        "time": message.timestamp,
        "start": message.start_timestamp or created,
        "hint": message.reset_hint,
        "schema": message.schema,
        "threshold": message.zero_threshold,
        "zero": zero,
        "count": message.count_float if is_float else message.count_int,
        "sum": struct.pack("<d", message.sum),
        "positive": side(message.positive_spans, message.positive_deltas, message.positive_counts),
        "negative": side(message.negative_spans, message.negative_deltas, message.negative_counts),
        "bounds": list(message.custom_values),
    }


def fill(message: Any, pick: random.Random, *, is_float: bool, custom: bool) -> None:
    """Make a valid histogram."""
    message.timestamp = pick.randint(1, 1 << 40)
    message.sum = pick.choice([pick.uniform(-1e9, 1e9), 0.0, math.inf])
    message.schema = -53 if custom else pick.randint(-4, 8)
    message.reset_hint = pick.randint(0, 3)
    total: float = 0
    if not custom:
        message.zero_threshold = pick.choice([0.0, 1e-128, 0.5])
        zero = pick.choice([0, pick.randint(0, 1000)])
        total += zero
        if is_float:
            message.zero_count_float = zero
        else:
            message.zero_count_int = zero
    for sign in ("positive",) if custom else ("positive", "negative"):
        counts: list[int] = []
        for k in range(pick.randint(0, 4)):
            length = pick.randint(0, 5)
            offset = pick.randint(0, 3) if custom or k else pick.randint(-500, 500)
            getattr(message, f"{sign}_spans").add(offset=offset, length=length)
            counts += [pick.choice([0, pick.randint(0, 9), pick.randint(0, 1 << 40)]) for _ in range(length)]
        total += sum(counts)
        if is_float:
            getattr(message, f"{sign}_counts").extend(float(count) for count in counts)
        else:
            deltas = [b - a for a, b in zip([0, *counts], counts, strict=False)]
            getattr(message, f"{sign}_deltas").extend(deltas)
    if custom:
        reach = sum(span.offset + span.length for span in message.positive_spans)
        message.custom_values.extend(
            accumulate(pick.uniform(0.1, 2) for _ in range(max(0, reach - 1) + pick.randint(0, 2)))
        )
    if is_float:
        message.count_float = float(total)
    else:
        message.count_int = int(total)


@pytest.mark.parametrize("make", [request_v1, request_v2])
def test_histograms_are_read(make: Any) -> None:
    """Integer, float and custom-bucket histograms, with all their fields, series by series."""
    pick = random.Random(5)
    request = make([({"__name__": f"h{i}"}, [(1, 1.0)] if i % 2 else []) for i in range(6)])
    expected = []
    for i, series in enumerate(request.timeseries):
        created = 0
        if make is request_v2:
            created = series.created_timestamp = pick.choice([0, 77])
        for _ in range(pick.randint(0, 4)):
            message = series.histograms.add()
            fill(message, pick, is_float=pick.random() < 0.5, custom=pick.random() < 0.3)
            if make is request_v2 and pick.random() < 0.5:
                message.start_timestamp = 99
            expected.append((f"h{i}", model(message, created)))
    decoded = decode(request)
    rows = decoded.batch.native
    assert rows is not None
    table = decoded.batch.table
    assert [(str(table.series(int(rows.series[i]))), row(rows, i)) for i in range(len(rows))] == expected
    assert (decoded.samples, decoded.histograms, decoded.rejected) == (3, len(expected), {})
    assert len(decoded.batch) == 3 + len(expected)


def test_counts_one_by_one() -> None:
    """Repeated fields may come unpacked, and in several parts."""

    def field(number: int, wire: int, body: bytes) -> bytes:
        tag = number << 3 | wire
        return (bytes([tag]) if tag < 128 else bytes([tag & 127 | 128, tag >> 7])) + body

    double = struct.Struct("<d").pack
    span = field(11, 2, b"\x04\x08\x02\x10\x03")
    ints = field(1, 0, b"\x06") + span + field(12, 0, b"\x02") + field(12, 2, b"\x01\x02") + field(12, 0, b"\x02")
    floats = field(2, 1, double(3.0)) + span + b"".join(field(13, 1, double(1.0)) for _ in range(3))
    floats += field(15, 0, b"\x05")
    custom = field(1, 0, b"\x00") + field(4, 0, b"\x69") + field(16, 1, double(1.0)) + field(16, 1, double(2.0))
    label = field(1, 2, b"\x0d\x0a\x08__name__\x12\x01m")
    series = label + b"".join(field(4, 2, bytes([len(one)]) + one) for one in (ints, floats, custom))
    decoded = decode(field(1, 2, bytes([len(series)]) + series), RemoteWriteDecoder(SeriesTable(), v2=False))
    rows = decoded.batch.native
    assert rows is not None
    assert row(rows, 0)["positive"] == {1: 1, 2: 2, 3: 3}
    assert row(rows, 1)["positive"] == {1: 1.0, 2: 1.0, 3: 1.0}
    assert row(rows, 2)["bounds"] == [1.0, 2.0]


def near(expected: dict[str, Any]) -> dict[str, Any]:
    """Leave out a start time whose nanoseconds do not fit."""
    return expected | {"start": expected["start"] if abs(expected["start"]) < 2**63 // 1_000_000 else 0}


def valid() -> Any:
    """Return a request of one series with one small integer histogram."""
    request = request_v1([({"__name__": "m", "a": "b"}, [(1, 1.0)])])
    message = request.timeseries[0].histograms.add(count_int=6, sum=1.0, timestamp=7, zero_count_int=1)
    message.positive_spans.add(offset=-2, length=2)
    message.positive_spans.add(offset=3, length=1)
    message.positive_deltas.extend([1, 1, 0])
    return request


def _with(**fields: Any) -> Any:
    request = valid()
    for name, value in fields.items():
        setattr(request.timeseries[0].histograms[0], name, value)
    return request


def _custom(bounds: list[float], offset: int = 0, **fields: Any) -> Any:
    request = valid()
    message = request.timeseries[0].histograms[0]
    message.ClearField("zero_count_int")
    message.schema, message.count_int = -53, 5
    message.custom_values.extend(bounds)
    message.positive_spans[0].offset = offset
    for name, value in fields.items():
        setattr(message, name, value)
    return request


def _spans(*spans: tuple[int, int]) -> Any:
    request = valid()
    message = request.timeseries[0].histograms[0]
    del message.positive_spans[:]
    for offset, length in spans:
        message.positive_spans.add(offset=offset, length=length)
    return request


def _deltas(*deltas: int) -> Any:
    request = valid()
    message = request.timeseries[0].histograms[0]
    del message.positive_deltas[:]
    message.positive_deltas.extend(deltas)
    return request


def _negative_custom() -> Any:
    request = _custom([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    request.timeseries[0].histograms[0].negative_spans.add(offset=0, length=0)
    return request


def _floats(count: float, zero: float, *counts: float) -> Any:
    request = _deltas()
    message = request.timeseries[0].histograms[0]
    message.count_float, message.zero_count_float = count, zero
    message.positive_counts.extend(counts)
    return request


def _exponential_with_bounds() -> Any:
    request = valid()
    request.timeseries[0].histograms[0].custom_values.append(1.0)
    return request


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        pytest.param(_with(schema=53), "neither -53 nor within -4 to 8", id="schema-53"),
        pytest.param(_with(schema=-5), "neither -53 nor within -4 to 8", id="schema--5"),
        pytest.param(_with(schema=300), "neither -53 nor within -4 to 8", id="schema-beyond-int8"),
        pytest.param(_with(count_int=7), "do not add up to the count", id="count-high"),
        pytest.param(_with(count_int=5), "do not add up to the count", id="count-low"),
        pytest.param(_with(count_int=5, sum=math.nan), "add up to more than the count", id="nan-sum"),
        pytest.param(_with(zero_count_int=2**64 - 1), "do not add up", id="overflow"),
        pytest.param(_spans((0, 2)), "not as long as there are buckets", id="spans-short"),
        pytest.param(_spans((0, 4)), "not as long as there are buckets", id="spans-long"),
        pytest.param(_spans((0, 2**32 - 1), (0, 4)), "not as long as there are buckets", id="span-wraps"),
        pytest.param(_spans((0, 2), (-1, 1)), "negative offset", id="offset"),
        pytest.param(_spans((2**31 - 2, 2), (3, 1)), "does not fit into 32 bits", id="index"),
        pytest.param(_deltas(1, -2, 4), "a count is negative", id="negative"),
        pytest.param(_deltas(2**63 - 1, 1, -1), "a count is negative", id="int64-overflow"),
        pytest.param(_floats(6.0, 1.0, 1.0, -2.0, 2.0), "a count is negative", id="negative-float"),
        pytest.param(_floats(6.0, -1.0, 1.0, 2.0, 2.0), "a count is negative", id="negative-zero-bucket"),
        pytest.param(_custom([1.0, 2.0], 0), "beyond the custom bounds", id="bounds-few"),
        pytest.param(_custom([1.0, 1.0, 2.0, 3.0, 4.0, 5.0]), "finite and ascend", id="bounds-equal"),
        pytest.param(_custom([1.0, 2.0, 3.0, 4.0, 5.0, math.inf]), "finite and ascend", id="bounds-inf"),
        pytest.param(_custom([math.nan, 2.0, 3.0, 4.0, 5.0]), "finite and ascend", id="bounds-nan"),
        pytest.param(_custom([1.0, 2.0, 3.0, 4.0, 5.0], -1), "negative offset", id="custom-offset"),
        pytest.param(_custom([1.0, 2.0, 3.0, 4.0, 5.0], zero_threshold=1.0), "no zero bucket", id="custom-zero"),
        pytest.param(_negative_custom(), "no negative ones", id="custom-negative"),
        pytest.param(_exponential_with_bounds(), "no custom bounds", id="bounds-unasked"),
    ],
)
def test_invalid_histograms_are_left_out(request_: Any, why: str) -> None:
    """The reason names the series, and the rest of the request goes on."""
    good = request_.timeseries.add()
    good.CopyFrom(valid().timeseries[0])
    decoded = decode(request_)
    reason = "native_histogram_invalid_schema" if "neither" in why else "native_histogram_invalid"
    assert decoded.rejected == {reason: 1}
    assert decoded.rejected_histograms == 1
    assert why in decoded.message
    assert 'm{a="b"}, timestamp 7 ms' in decoded.message
    assert decoded.batch.native is not None
    assert len(decoded.batch.native) == 1
    assert len(decoded.batch.series) == 2


def test_float_counts_need_not_add_up() -> None:
    """Sums of doubles differ in the last bits, so nobody compares them."""
    decoded = decode(_floats(7.0, 1.0, 1.0, 2.0, 2.0))
    assert decoded.rejected == {}


def test_stale_markers_hold_nothing() -> None:
    """A sum that is the stale marker ends the series, whatever else the message says."""
    decoded = decode(_with(sum=STALE, count_int=99))
    rows = decoded.batch.native
    assert rows is not None
    assert rows.flags.tolist() == [NativeFlag.STALE]
    assert rows.sum.view(np.uint64).tolist() == [int(STALE_BITS)]
    assert (row(rows, 0)["count"], row(rows, 0)["positive"], row(rows, 0)["time"]) == (0, {}, 7)


@pytest.mark.parametrize(("schema", "is_float"), [(9, False), (10, True), (12, False), (52, False)])
def test_finer_schemas_are_merged(schema: int, is_float: bool) -> None:
    """A schema above 8 is reduced to it: bucket i goes where its upper bound says."""
    pick = random.Random(schema)
    request = request_v1([({"__name__": "m"}, [])])
    message = request.timeseries[0].histograms.add()
    fill(message, pick, is_float=is_float, custom=False)
    while not message.positive_spans:
        message.Clear()
        fill(message, pick, is_float=is_float, custom=False)
    message.schema = schema
    decoded = decode(request)
    rows = decoded.batch.native
    assert rows is not None
    found, given = row(rows, 0), model(message, 0)
    factor = 1 << (schema - 8)
    for side in ("positive", "negative"):
        merged: dict[int, float] = {}
        for index, count in given[side].items():
            merged[-(-index // factor)] = merged.get(-(-index // factor), 0) + count
        assert found[side] == merged
    assert found["schema"] == 8


def test_times_and_series_are_checked_as_for_samples() -> None:
    """A time whose nanoseconds overflow, and a series without a name."""
    far = _with(timestamp=2**62)
    assert decode(far).rejected == {"out_of_bounds": 1}
    early = decode(_with(start_timestamp=-(2**62))).batch.native
    assert early is not None
    assert early.start_ms.tolist() == [0]
    nameless = valid()
    del nameless.timeseries[0].labels[:]
    decoded = decode(nameless)
    assert decoded.rejected == {"no_name": 2}
    assert decoded.rejected_histograms == 1
    assert decoded.batch.native is None


@pytest.mark.large
def test_requests_that_would_take_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bytes make a row of a hundred: what a request unpacks to is bounded before it is unpacked."""
    empty = b"\x22\x00" * 2_000_000
    size = [len(empty) >> shift & 127 | 128 for shift in (0, 7, 14)]
    series = bytes([10, *size, len(empty) >> 21]) + empty
    decoder = RemoteWriteDecoder(SeriesTable(), v2=False)
    with pytest.raises(TooLarge, match="2000000 native histograms"):
        decode(series, decoder)
    monkeypatch.setattr(remote_write_histograms, "MAX_BYTES", 1000)
    request = valid()
    request.timeseries[0].histograms[0].positive_deltas.extend([0] * 1000)
    with pytest.raises(TooLarge, match="2 spans and 1003 buckets"):
        decode(request)


@pytest.mark.parametrize("max_bytes", [1, 2000, 1 << 20])
def test_written_histograms_are_read_again(max_bytes: int) -> None:
    """The writer of 1.0 requests is the reader's inverse, and protobuf's library reads the same."""
    pick = random.Random(9)
    request = request_v1([({"__name__": f"h{i}", "a": "é" * i}, []) for i in range(4)])
    for series in request.timeseries:
        for _ in range(8):
            fill(series.histograms.add(), pick, is_float=pick.random() < 0.5, custom=pick.random() < 0.3)
        series.histograms.add(sum=STALE, timestamp=5, count_float=0.0)
    decoded = decode(request)
    rows = decoded.batch.native
    assert rows is not None
    arena = LabelArena(decoded.batch.table, {"from": "here"})
    data = [bytes(one.body) for one in histogram_requests(arena, rows, max_bytes)]
    assert (len(data) == len(rows)) == (max_bytes == 1)
    again: list[Any] = []
    messages: list[Any] = []
    for one in data:
        decoder = RemoteWriteDecoder(SeriesTable(), v2=False)
        found = decode(one, decoder)
        assert found.batch.native is not None
        again += [(str(found.batch.table.series(int(i))),) for i in found.batch.native.series]
        messages += [
            row(found.batch.native, i) | {"flags": int(found.batch.native.flags[i])} for i in range(found.histograms)
        ]
        message = WriteRequest.FromString(one)
        assert sum(len(series.histograms) for series in message.timeseries) == found.histograms
    assert messages == [row(rows, i) | {"flags": int(rows.flags[i])} for i in range(len(rows))]
    assert again[0] == ('h0{from="here"}',)


def test_written_exemplars_are_read_again() -> None:
    """With their labels; one without a time gets the present."""
    request = request_v1([({"__name__": f"c{i}"}, []) for i in range(3)])
    for i, series in enumerate(request.timeseries):
        for k in range(i):
            exemplar = series.exemplars.add(value=k / 2, timestamp=k)
            exemplar.labels.add(name=b"trace_id", value="é".encode() * 40 * k)
            exemplar.labels.add(name=b"b", value=b"c")
    found = decode(request).batch
    assert found.exemplars is not None
    (data,) = exemplar_requests(LabelArena(found.table, {}), found.exemplars, 99, 1 << 20)
    got = [
        (series.labels[0].value, one.value, one.timestamp, [(label.name, label.value) for label in one.labels])
        for series in WriteRequest.FromString(bytes(data.body)).timeseries
        for one in series.exemplars
    ]
    expected = [
        (series.labels[0].value, one.value, one.timestamp or 99, [(label.name, label.value) for label in one.labels])
        for series in request.timeseries
        for one in series.exemplars
    ]
    assert got == expected


@pytest.mark.fuzz
@pytest.mark.parametrize("v2", [False, True])
def test_mutated_requests(v2: bool) -> None:
    """Whatever the bytes, there is an answer or an error; what is taken is what protobuf's library reads."""
    pick = random.Random(11)
    make = request_v2 if v2 else request_v1
    decoder = RemoteWriteDecoder(SeriesTable(), v2=v2)
    request = make([({"__name__": f"h{i}"}, []) for i in range(3)])
    for series in request.timeseries:
        for _ in range(2):
            fill(series.histograms.add(), pick, is_float=pick.random() < 0.5, custom=pick.random() < 0.3)
    whole = request.SerializeToString()
    agreed = 0
    for _ in range(RUNS):
        data = bytearray(whole)
        for _ in range(pick.randint(0, 3)):
            at = pick.randrange(len(data))
            kind = pick.random()
            if kind < 0.7:
                data[at] = pick.randrange(256)
            elif kind < 0.85:
                del data[at : at + pick.randint(1, 8)]
            else:
                data[at:at] = pick.randbytes(pick.randint(1, 8))
        try:
            decoded = decode(bytes(data), decoder)
        except InvalidInput:
            continue
        message = type(request)()
        try:
            message.ParseFromString(bytes(data))
        except Exception:  # noqa: BLE001 -- it raises its own, and is stricter about texts
            continue
        found = [one for series in message.timeseries for one in series.histograms]
        assert decoded.histograms == len(found)
        rows = decoded.batch.native
        finer = any(one.schema > 8 for one in found)
        stale = any(struct.pack("<d", one.sum) == struct.pack("<d", STALE) for one in found)
        if decoded.rejected or rows is None or finer or stale:
            continue
        expected = [
            model(one, series.created_timestamp if v2 else 0)
            for series in message.timeseries
            for one in series.histograms
        ]
        for i, one in enumerate(expected):
            one["hint"] = one["hint"] if 0 <= one["hint"] <= 3 else 0
            got = row(rows, i)
            assert repr(got) == repr(one)
        agreed += 1
    assert agreed > RUNS // 20
