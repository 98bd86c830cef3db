"""Protobuf expositions, against protobuf's own library and a plain reading, and with bytes that are none."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from exposition_messages import (
    COUNTER,
    GAUGE,
    GAUGE_HISTOGRAM,
    HISTOGRAM,
    SUMMARY,
    UNTYPED,
    MetricFamily,
    Sample,
    family,
    page,
    plain_reading,
)  # fmt: skip
from headrace.pipeline.batch import Metadata
from headrace.pipeline.errors import InvalidInput, TooLarge
from headrace.pipeline.identity import MetricType
from headrace.pipeline.native_histograms import ResetHint
from headrace.pipeline.wire import remote_write_histograms
from headrace.pipeline.wire.exposition_proto import ProtoPage, ProtoReader

SECRET = np.array([1, 2], np.uint64)


def reader(*, native: bool = True, classic: bool = False) -> ProtoReader:
    return ProtoReader(SECRET, native=native, classic=classic)


def samples(read: ProtoPage) -> list[Sample]:
    spans = read.labels(np.arange(len(read)))
    native = set() if read.native is None else set(read.native.rows.tolist())
    created = np.zeros(len(read), np.int64) if read.created is None else read.created
    found: list[Sample] = []
    for row in range(len(read)):
        labels = tuple(
            (spans.buf[a : a + b].tobytes().decode(), spans.buf[c : c + d].tobytes().decode())
            for a, b, c, d in spans.spans[spans.starts[row] : spans.starts[row + 1]].tolist()
        )
        value = "native" if row in native else float(read.values[row])
        found.append((labels, value, int(read.times[row]) if read.timed[row] else 0, int(created[row])))
    return found


EVERYTHING = (
    family(
        "requests_total", COUNTER,
        {"labels": {"path": "/a", "code": "200"},
         "counter": {"value": 7.5, "created_timestamp": {"seconds": 1_700_000_000, "nanos": 250_000_000}}},
        {"labels": {"path": "/ä"}, "counter": {"value": 1}, "timestamp_ms": 1_700_000_000_123},
        help="Requests.", unit="requests",
    ),
    family("temperature", GAUGE, {"gauge": {"value": -3.25}}, {"labels": {"room": ""}, "gauge": {"value": math.inf}}),
    family("something", UNTYPED, {"labels": {"a.b": "c"}, "untyped": {"value": 9}, "timestamp_ms": -5}),
    family(
        "took_seconds", SUMMARY,
        {"labels": {"a": "b"}, "summary": {
            "sample_count": 10, "sample_sum": 3.5,
            "quantile": [{"quantile": 0.5, "value": 0.25}, {"quantile": 0.999, "value": 1}],
            "created_timestamp": {"seconds": 5}}},
    ),
    family(
        "sizes", HISTOGRAM,
        {"labels": {"a": "b"}, "histogram": {
            "sample_count": 4, "sample_sum": 8.0, "bucket": [
                {"cumulative_count": 1, "upper_bound": 1}, {"cumulative_count": 3, "upper_bound": 2.5}],
            "created_timestamp": {"seconds": 9}}},
        {"histogram": {"sample_count_float": 4.5, "sample_sum": 8.0, "bucket": [
            {"cumulative_count_float": 1.5, "upper_bound": 1e-7},
            {"cumulative_count_float": 4.5, "upper_bound": math.inf}]}},
    ),
    family(
        "durations", HISTOGRAM,
        {"labels": {"a": "b"}, "histogram": {
            "sample_count": 15, "sample_sum": 20.5, "schema": 3, "zero_threshold": 1e-128, "zero_count": 2,
            "positive_span": [{"offset": -2, "length": 2}, {"offset": 3, "length": 1}], "positive_delta": [1, 2, -1],
            "negative_span": [{"offset": 0, "length": 1}], "negative_delta": [7],
            "bucket": [{"cumulative_count": 15, "upper_bound": 1}],
            "created_timestamp": {"seconds": 1_600_000_000}}},
    ),
    family(
        "queue", GAUGE_HISTOGRAM,
        {"histogram": {"sample_count_float": 1.5, "sample_sum": 2.0, "schema": 0,
                       "positive_span": [{"offset": 0, "length": 1}], "positive_count": [1.5]}},
    ),
)  # fmt: skip


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("classic", [True, False])
def test_a_page_with_everything_reads_as_the_plain_reading_does(native: bool, classic: bool) -> None:
    """Samples, labels, timestamps and created timestamps of all types are those that the messages say."""
    read = reader(native=native, classic=classic).read(page(*EVERYTHING))
    assert samples(read) == plain_reading(*EVERYTHING, native=native, classic=classic)
    assert len({tuple(pair) for pair in read.hashes.tolist()}) == len(read)


def test_native_histograms_are_columns_with_exact_counts() -> None:
    """Spans, counts, thresholds, hints and created timestamps of native histograms arrive."""
    native = reader().read(page(*EVERYTHING)).native
    assert native is not None
    columns = native.columns
    assert native.faults.tolist() == [0, 0]
    assert columns.schema.tolist() == [3, 0]
    assert columns.count.tolist() == [15, np.array(1.5).view(np.uint64)]
    assert columns.sum.tolist() == [20.5, 2.0]
    assert columns.zero_count.tolist() == [2, 0]
    assert columns.zero_threshold.tolist() == [1e-128, 0.0]
    assert columns.spans.tolist() == [[-2, 2], [3, 1], [0, 1], [0, 1]]
    assert columns.positive_spans.tolist() == [2, 1]
    assert columns.buckets.tolist() == [1, 3, 2, 7, np.array(1.5).view(np.uint64)]
    assert columns.hint.tolist() == [ResetHint.UNKNOWN, ResetHint.GAUGE]
    assert columns.start_ms.tolist() == [1_600_000_000_000, 0]


def test_packed_numbers_read_as_single_ones_do() -> None:
    """Repeated numbers may come packed: the bytes differ, the counts do not."""
    histogram = b"\x28\x00" + b"\x62\x04\x08\x00\x10\x02" + b"\x6a\x02\x02\x02" + b"\x08\x03"
    metric = b"\x3a" + bytes([len(histogram)]) + histogram
    body = b"\x0a\x01h\x18\x04\x22" + bytes([len(metric)]) + metric
    native = reader().read(bytes([len(body)]) + body).native
    assert native is not None
    assert (native.columns.buckets.tolist(), native.faults.tolist()) == ([1, 2], [0])


def exemplar(value: float, seconds: int = 0, **labels: str) -> dict[str, Any]:
    pairs = [{"name": name, "value": text} for name, text in labels.items()]
    return {"label": pairs, "value": value, **({"timestamp": {"seconds": seconds}} if seconds else {})}


def test_exemplars_belong_to_counters_buckets_and_native_histograms() -> None:
    """A native histogram has its own exemplars, or those of its classic buckets where it has none."""
    buckets = [{"cumulative_count": 1, "upper_bound": 1, "exemplar": exemplar(0.5, 7, trace_id="bucket")}]
    native = {"sample_count": 1, "positive_span": [{"offset": 0, "length": 1}], "positive_delta": [1]}
    families = (
        family("c_total", COUNTER, {"counter": {"value": 1, "exemplar": exemplar(0.25, trace_id="abc", span_id="d")}}),
        family("h", HISTOGRAM, {"histogram": {"sample_count": 1, "bucket": buckets}}),
        family("n", HISTOGRAM, {"histogram": {**native, "bucket": buckets}}),
        family("o", HISTOGRAM, {"histogram": {**native, "bucket": buckets, "exemplars": [exemplar(2.0, 8, x="own")]}}),
    )
    read = reader().read(page(*families))
    names = [dict(labels).get("le", dict(labels)["__name__"]) for labels, *_ in samples(read)]
    assert [names[row] for row in read.exemplars[:, 0].tolist()] == ["c_total", "1.0", "n", "o"]
    assert read.exemplar_values.tolist() == [0.25, 0.5, 0.5, 2.0]
    assert read.exemplar_times.tolist() == [0, 7000, 7000, 8000]
    spans = read.exemplar_labels()
    texts = [spans.buf[at : at + size].tobytes() for row in spans.spans.tolist() for at, size in zip(*[iter(row)] * 2)]  # noqa: B905 -- pairs
    assert texts == [b"trace_id", b"abc", b"span_id", b"d", *[b"trace_id", b"bucket"] * 2, b"x", b"own"]
    assert spans.starts.tolist() == [0, 2, 3, 4, 5]


def test_metadata_and_its_digest() -> None:
    """Type, help and unit of each family arrive, and the digest tells whether they are others."""
    read = reader().read(page(*EVERYTHING))
    found: dict[str, Metadata] = {}
    for _ in read.collect_metadata(found):
        pass
    assert found["requests_total"] == Metadata("requests_total", MetricType.COUNTER, "Requests.", "requests")
    assert [one.type for one in found.values()] == [
        MetricType.COUNTER, MetricType.GAUGE, MetricType.UNKNOWN, MetricType.SUMMARY, MetricType.HISTOGRAM,
        MetricType.HISTOGRAM, MetricType.GAUGE_HISTOGRAM,
    ]  # fmt: skip
    again = reader().read(page(family("temperature", GAUGE, {"gauge": {"value": 1}})))
    other = reader().read(page(family("temperature", COUNTER, {"counter": {"value": 1}})))
    same = reader().read(page(family("temperature", GAUGE, {"gauge": {"value": 2}})))
    assert again.digest == same.digest != other.digest
    assert again.hashes.tolist() == same.hashes.tolist()


def test_fields_in_any_order_and_unknown_ones() -> None:
    """Metrics before the name, a value before the labels and fields that nobody knows change nothing."""
    value = b"\x12\x09\x09" + np.float64(2.5).tobytes()
    unknown = b"\xfa\x01\x02zz"
    label = b"\x0a\x06\x0a\x01a\x12\x01b"
    other = b"\x0a\x06\x12\x01d\x0a\x01c"
    metric = value + label + unknown + other
    body = b"\x22" + bytes([len(metric)]) + metric + unknown + b"\x18\x01" + b"\x0a\x01g"
    read = reader().read(bytes([len(body)]) + body)
    assert samples(read) == [((("__name__", "g"), ("a", "b"), ("c", "d")), 2.5, 0, 0)]


def test_a_stale_marker_of_the_page_is_a_plain_nan() -> None:
    """Stale markers are not for targets to set: a float becomes another NaN, a native histogram is at fault."""
    stale = float(np.array(0x7FF0000000000002, np.uint64).view(np.float64))
    read = reader().read(
        page(
            family("g", GAUGE, {"gauge": {"value": stale}}),
            family("h", HISTOGRAM, {"histogram": {"sample_sum": stale, "positive_span": [{"offset": 0, "length": 0}]}}),
        )
    )
    assert read.values[:1].view(np.uint64).tolist() == [0x7FF8000000000001]
    assert read.native is not None
    assert read.native.faults.tolist() != [0]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(b"\x05", "passes the end", id="cut-length"),
        pytest.param(b"\x02\x0a\x05", "passes the end", id="cut-name"),
        pytest.param(b"\x02\x18\x00", "has no name", id="no-name"),
        pytest.param(b"\x05\x0a\x01g\x18\x09", "no such metric type", id="type"),
        pytest.param(b"\x07\x0a\x01g\x18\x01\x22\x00", "no value of its family's type: 'g'", id="no-value"),
        pytest.param(b"\x02\x0b\x00", "wire type", id="group"),
        pytest.param(b"\xff" * 11, "more than ten bytes", id="varint"),
    ],
)
def test_what_does_not_decode_is_named(data: bytes, why: str) -> None:
    """A page with a fault is refused as a whole, with what is wrong."""
    with pytest.raises(InvalidInput, match=why):
        reader().read(data)


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        pytest.param(b"\x0a\x03\x12\x01v", "a label name is empty", id="no-name"),
        pytest.param(b"\x0a\x05\x0a\x01\xff\x12\x00", "a label name is empty or not valid UTF-8", id="name"),
        pytest.param(b"\x0a\x06\x0a\x01a\x12\x01\xff", "a label value is not valid UTF-8", id="value"),
        pytest.param(b"\x0a\x04\x0a\x01a\x12", "passes the end", id="cut"),
    ],
)
def test_labels_that_are_wrong_are_found_when_they_are_looked_at(labels: bytes, why: str) -> None:
    """What is inside the labels is read for new rows only, and names the family."""
    metric = labels + b"\x12\x00"
    body = b"\x0a\x01g\x18\x01\x22" + bytes([len(metric)]) + metric
    read = reader().read(bytes([len(body)]) + body)
    with pytest.raises(InvalidInput, match=f"{why}.*'g'"):
        read.labels(np.arange(1))


def test_an_empty_page_has_nothing() -> None:
    """No bytes are no families."""
    assert len(reader().read(b"")) == 0


@pytest.mark.large
def test_histograms_that_would_take_too_much_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A span and a bucket of two bytes each make much more in memory, within a bound."""
    monkeypatch.setattr(remote_write_histograms, "MAX_BYTES", 1 << 20)
    wide = family("h", HISTOGRAM, *[
        {"histogram": {"positive_span": [{} for _ in range(2000)]}} for _ in range(4)
    ])  # fmt: skip
    reader().read(page(wide))
    with pytest.raises(TooLarge, match="native histograms"):
        reader().read(page(wide) * 50)


def test_growing_pages_are_read_whole() -> None:
    """A reader that has seen a small page reads a large one, and the other way round."""
    large = family("g", GAUGE, *[{"labels": {"i": str(i)}, "gauge": {"value": i}} for i in range(1000)])
    one = reader()
    for wanted in (1000, 1, 1000):
        made = large if wanted == 1000 else family("g", GAUGE, {"gauge": {"value": 1}})
        assert len(one.read(page(made))) == wanted


def random_family(source: random.Random, number: int) -> Any:
    kind = source.randrange(6)
    made = MetricFamily(name=f"m{number}", type=kind, help="h" * source.randrange(3))
    for i in range(source.randrange(4)):
        metric = made.metric.add(label=[{"name": "i", "value": str(i)}], timestamp_ms=source.choice([0, 5]))
        histogram = {
            "sample_count": 3, "sample_sum": 1.5,
            "bucket": [{"cumulative_count": n, "upper_bound": float(n)} for n in range(source.randrange(3))],
            "positive_span": [{"offset": source.randrange(-3, 4), "length": 1} for _ in range(source.randrange(3))],
        }  # fmt: skip
        field = ("counter", "gauge", "summary", "untyped", "histogram", "histogram")[kind]
        value: dict[str, Any] = histogram if field == "histogram" else {"value": source.random()}
        if field == "summary":
            value = {"sample_count": 2, "quantile": [{"quantile": 0.5, "value": 1}] * source.randrange(3)}
        getattr(metric, field).CopyFrom(type(getattr(metric, field))(**value))
    return made


def test_random_pages_read_as_the_plain_reading_does() -> None:
    """Whatever the library writes is read alike, in all four ways."""
    source = random.Random(5)
    for round_ in range(60):
        families = [random_family(source, n) for n in range(source.randrange(6))]
        native, classic = bool(round_ % 2), bool(round_ % 4 < 2)
        read = reader(native=native, classic=classic).read(page(*families))
        assert samples(read) == plain_reading(*families, native=native, classic=classic)


def test_damaged_pages_never_do_more_than_fail() -> None:
    """Bytes that are changed, cut out or doubled raise `InvalidInput` or read as something; nothing else happens."""
    source = random.Random(7)
    whole = page(*EVERYTHING, *[random_family(source, n) for n in range(4)])
    failed = 0
    for _ in range(1500):
        data = bytearray(whole)
        for _ in range(source.randrange(1, 4)):
            at = source.randrange(len(data))
            if source.random() < 0.7:
                data[at] = source.choice([0, 1, 127, 128, 255, source.randrange(256)])
            elif source.random() < 0.5:
                del data[at : at + source.randrange(1, 9)]
            else:
                data[at:at] = data[at : at + source.randrange(1, 9)]
        try:
            read = reader(classic=bool(source.randrange(2))).read(bytes(data))
            samples(read)
            read.exemplar_labels()
            for _ in read.collect_metadata({}):
                pass
        except InvalidInput:
            failed += 1
    assert 0 < failed < 1500
