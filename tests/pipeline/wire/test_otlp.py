"""The OTLP decoder, against a plain reading by protobuf's own classes."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

import otlp_model as model
from headrace.pipeline.batch import STALE_BITS, BatchContext, Flag, MetricBatch
from headrace.pipeline.errors import InvalidInput, TooLarge
from headrace.pipeline.identity import Form, Kind, MetricType, Resource, Scope, Temporality
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.wire import otlp_walk
from headrace.pipeline.wire.otlp import Decoded, OtlpDecoder
from headrace.testing.batches import rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))
NOW = 1_700_000_000_000_000_000


def decode(message: ExportMetricsServiceRequest | bytes, decoder: OtlpDecoder | None = None) -> Decoded:
    data = message if isinstance(message, bytes) else message.SerializeToString()
    return (decoder or OtlpDecoder(SeriesTable())).decode(data, BatchContext(source="test"))


def one_metric(**settings: Any) -> tuple[ExportMetricsServiceRequest, Any]:
    message = ExportMetricsServiceRequest()
    return message, message.resource_metrics.add().scope_metrics.add().metrics.add(**{"name": "m", **settings})


def read(decoded: Decoded) -> model.Read:
    """Return a batch in the form of the plain reading."""
    batch = decoded.batch
    out = model.Read(rejected=sum(decoded.rejected.values()))
    columns: tuple[NDArray[Any], ...] = (
        batch.series, batch.time_ns, batch.start_ns, batch.value.view(np.uint64), batch.flags,
    )  # fmt: skip
    for series, time, start, bits, flags in zip(*(column.tolist() for column in columns), strict=True):
        integer, stale = bool(flags & Flag.INTEGER), bool(flags & Flag.STALE)
        out.numbers.append((batch.table.series(series), time, start, bits, integer, stale))
    found = batch.histograms
    for i in range(0 if found is None else len(found)):
        assert found is not None
        stale = bool(found.flags[i] & Flag.STALE)
        numbers: list[NDArray[Any]] = [found.count, found.sum, found.minimum, found.maximum]
        shape: list[NDArray[Any]] = [
            found.scale, found.zero_count, found.zero_threshold, found.positive_offset, found.negative_offset,
            found.positive_size,
        ]  # fmt: skip
        values = [column[i].item() for column in (*numbers, *shape)]
        rest = tuple(model.bits(one) if isinstance(one, float) else one for one in values)
        where = slice(found.starts[i], found.starts[i + 1])
        buckets = tuple(tuple(column[where].view(np.uint64).tolist()) for column in (found.bounds, found.counts))
        out.histograms.append(
            (
                batch.table.series(int(found.series[i])),
                int(found.time_ns[i]),
                int(found.start_ns[i]),
                stale,
                int(found.kind[i]),
                rest,
                () if stale else buckets,
            )
        )
    return out


def assert_same(decoded: Decoded, message: ExportMetricsServiceRequest) -> None:
    got, expected = read(decoded), model.read(message)
    # NaN of resources and attributes is not equal to itself, so texts are compared.
    assert list(map(str, map(_shown, got.numbers))) == list(map(str, map(_shown, expected.numbers)))
    assert list(map(str, map(_shown, got.histograms))) == list(map(str, map(_shown, expected.histograms)))
    assert got.rejected == expected.rejected
    assert decoded.points == len(got.numbers) + len(got.histograms) + got.rejected
    assert bool(decoded.message) == bool(got.rejected)


def _shown(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return repr(row[0]), *row[1:]


def test_identity() -> None:
    """A stream is its resource, scope, metric and attributes; those that are no strings say so."""
    message, metric = one_metric(unit="By")
    message.resource_metrics[0].resource.attributes.add(key="service.name").value.string_value = "shop"
    message.resource_metrics[0].schema_url = "https://r"
    message.resource_metrics[0].scope_metrics[0].scope.name = "lib"
    message.resource_metrics[0].scope_metrics[0].scope.version = "1"
    metric.sum.is_monotonic = True
    metric.sum.aggregation_temporality = 2
    point = metric.sum.data_points.add(time_unix_nano=NOW, start_time_unix_nano=NOW - 5, as_int=3)
    point.attributes.add(key="port").value.int_value = 80
    point.attributes.add(key="host").value.string_value = "a"
    batch = decode(message).batch
    series = batch.table.series(int(batch.series[0]))
    assert series.labels == (("__name__", "m"), ("host", "a"), ("port", "80"))
    assert series.types == (("port", "int"),)
    assert series.form is Form.OTLP
    assert series.kind == Kind(MetricType.COUNTER, Temporality.CUMULATIVE)
    assert series.unit == "By"
    assert series.resource == Resource((("service.name", "shop"),), "https://r")
    assert series.scope == Scope("lib", "1")
    assert (batch.time_ns[0], batch.start_ns[0], batch.value[0], batch.flags[0]) == (NOW, NOW - 5, 3.0, Flag.INTEGER)
    assert batch.context.source == "test"


def test_known_streams_are_looked_up() -> None:
    """The second request of a stream interns nothing and means the same."""
    decoder = OtlpDecoder(SeriesTable())
    message, metric = one_metric()
    for i, text in enumerate("abc"):
        point = metric.gauge.data_points.add(time_unix_nano=NOW + i, as_double=i)
        point.attributes.add(key="k").value.string_value = text
    first = decode(message, decoder).batch
    first.table.intern_spans = None  # type: ignore[method-assign, assignment]  # it must not be asked
    second = decode(message, decoder).batch
    assert rows(first) == rows(second) == [(f'm{{k="{text}"}}', NOW + i, float(i)) for i, text in enumerate("abc")]


def test_the_order_of_attributes_does_not_matter() -> None:
    """Nor does what lies between them: it is one stream."""
    decoder = OtlpDecoder(SeriesTable())
    message, metric = one_metric()
    point = metric.gauge.data_points.add(time_unix_nano=NOW, as_double=1, flags=0)
    for name in ("a", "b", "c"):
        point.attributes.add(key=name).value.string_value = "x"
    data = message.SerializeToString()
    rng = random.Random(1)
    found = {int(decode(model.shuffled(data, rng), decoder).batch.series[0]) for _ in range(50)}
    assert len(found) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"time_unix_nano": 0}, "no_timestamp"),
        ({"time_unix_nano": 2**63}, "out_of_bounds"),
        ({"as_double": None}, "no_value"),
    ],
)
def test_points_that_cannot_be_taken(change: dict[str, Any], reason: str) -> None:
    """One bad point does not hurt the others; it is named."""
    message, metric = one_metric()
    good: dict[str, Any] = {"time_unix_nano": NOW, "as_double": 1.0}
    metric.gauge.data_points.add(**good)
    metric.gauge.data_points.add(**{**good, **change})
    decoded = decode(message)
    assert decoded.rejected == {reason: 1}
    assert decoded.message.endswith("metric 'm', data point 1 of the request")
    assert rows(decoded.batch) == [("m", NOW, 1.0)]


@pytest.mark.parametrize("temporality", [0, 7, -1])
def test_sums_say_what_they_cover(temporality: int) -> None:
    """A sum without temporality cannot be understood."""
    message, metric = one_metric()
    metric.sum.aggregation_temporality = temporality
    metric.sum.data_points.add(time_unix_nano=NOW, as_int=1)
    assert decode(message).rejected == {"no_temporality": 1}


def test_delta_travels() -> None:
    """What may not be stored may still be passed on."""
    message, metric = one_metric()
    metric.sum.aggregation_temporality = 1
    metric.sum.data_points.add(time_unix_nano=NOW, as_int=1)
    batch = decode(message).batch
    assert batch.table.series(int(batch.series[0])).kind.temporality is Temporality.DELTA


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [("", "x", "empty_label_name"), ("k", "x" * 70_000, "label_too_long"), ("k" * 2000, "x", "label_too_long")],
)
def test_bad_attributes(key: str, value: str, reason: str) -> None:
    """The limits of the table are kept, the second time as well."""
    message, metric = one_metric()
    point = metric.gauge.data_points.add(time_unix_nano=NOW, as_int=1)
    point.attributes.add(key=key).value.string_value = value
    decoder = OtlpDecoder(SeriesTable())
    for _ in range(2):
        assert decode(message, decoder).rejected == {reason: 1}


def test_attributes_that_are_not_worth_reading() -> None:
    """Too many, or one that is far too long as a label, are refused before there are objects of them."""
    message, metric = one_metric()
    point = metric.gauge.data_points.add(time_unix_nano=NOW, as_int=1)
    for i in range(600):
        point.attributes.add(key=str(i)).value.int_value = i
    point = metric.gauge.data_points.add(time_unix_nano=NOW, as_int=1)
    values = point.attributes.add(key="k").value.array_value.values
    for _ in range(150_000):
        values.add()
    metric.gauge.data_points.add(time_unix_nano=NOW, as_int=2)
    decoded = decode(message)
    assert decoded.rejected == {"too_many_labels": 1, "label_too_long": 1}
    assert rows(decoded.batch) == [("m", NOW, 2.0)]


def test_a_huge_resource() -> None:
    """It is refused while it is bytes."""
    message, metric = one_metric()
    metric.gauge.data_points.add(time_unix_nano=NOW, as_int=1)
    message.resource_metrics[0].resource.attributes.add(key="k").value.string_value = "x" * 300_000
    with pytest.raises(TooLarge, match="resource"):
        decode(message)


@pytest.mark.large
def test_much_that_is_new_is_learnt_in_steps() -> None:
    """So that the event loop can do other things; a request may name a stream in several of them."""
    message, metric = one_metric()
    for i in range(2500):
        metric.gauge.data_points.add(time_unix_nano=NOW, as_int=i).attributes.add(key="i").value.string_value = str(
            i % 1200
        )
    decoder = OtlpDecoder(SeriesTable())
    found = decoder.walk(message.SerializeToString())
    assert len(list(decoder.identify(found))) == 5
    assert rows(decoder.take(found, BatchContext()).batch) == rows(decode(message).batch)
    assert list(decoder.identify(decoder.walk(message.SerializeToString()))) == []


def test_invalid_utf8_in_an_attribute() -> None:
    """The stream is left out."""
    message, metric = one_metric()
    point = metric.gauge.data_points.add(time_unix_nano=NOW, as_int=1)
    point.attributes.add(key="k").value.string_value = "@@@"
    decoded = decode(message.SerializeToString().replace(b"@@@", b"\xff\xff\xff"))
    assert decoded.rejected == {"invalid_utf8": 1}


@pytest.mark.parametrize("value", [2**53, -(2**53), 2**53 + 1, -(2**63)])
def test_large_integers_stay_exact(value: int) -> None:
    """They have a column of their own, when a double does not hold them."""
    message, metric = one_metric()
    metric.gauge.data_points.add(time_unix_nano=NOW, as_int=value)
    metric.gauge.data_points.add(time_unix_nano=NOW, as_double=1.5)
    batch = decode(message).batch
    if abs(value) <= 2**53:
        assert batch.integers is None
    else:
        assert batch.integers is not None
        assert batch.integers[0] == value
    assert batch.flags.tolist() == [Flag.INTEGER, 0]


def test_no_recorded_value() -> None:
    """It is a stale marker, of histograms as well."""
    message, metric = one_metric()
    metric.gauge.data_points.add(time_unix_nano=NOW, as_int=5, flags=1)
    other = message.resource_metrics[0].scope_metrics[0].metrics.add(name="h").histogram
    other.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
    other.data_points.add(time_unix_nano=NOW, flags=1)
    batch = decode(message).batch
    assert batch.value.view(np.uint64).tolist() == [int(STALE_BITS)]
    assert batch.flags.tolist() == [Flag.STALE]
    assert batch.histograms is not None
    assert batch.histograms.flags.tolist() == [Flag.STALE]
    assert batch.histograms.sum.view(np.uint64).tolist() == [int(STALE_BITS)]


def exemplars(batch: MetricBatch) -> list[tuple[str, int, float, dict[str, str]]]:
    found = batch.exemplars
    if found is None:
        return []
    out = []
    for i in range(len(found)):
        spans = found.spans[found.starts[i] : found.starts[i + 1]].tolist()
        labels = {
            bytes(found.arena[a : a + b]).decode(): bytes(found.arena[c : c + d]).decode() for a, b, c, d in spans
        }
        series = str(batch.table.series(int(found.series[i])))
        out.append((series, int(found.time_ns[i]), float(found.value[i]), labels))
    return out


def test_exemplars() -> None:
    """Ids are hexadecimal; of attributes strings, integers and truth values are kept."""
    message, metric = one_metric()
    point = metric.gauge.data_points.add(time_unix_nano=NOW, as_int=5)
    one = point.exemplars.add(time_unix_nano=7, as_int=-2, trace_id=bytes(range(16)), span_id=bytes(range(8)))
    for key, value in (("s", "text"), ("i", -120), ("b", True), ("c", False), ("z", 0)):
        added = one.filtered_attributes.add(key=key).value
        if isinstance(value, str):
            added.string_value = value
        elif isinstance(value, bool):
            added.bool_value = value
        else:
            added.int_value = value
    one.filtered_attributes.add(key="d").value.double_value = 0.5
    other = message.resource_metrics[0].scope_metrics[0].metrics.add(name="h").exponential_histogram
    other.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
    other.data_points.add(time_unix_nano=NOW).exemplars.add(as_double=1.5, trace_id=bytes(16), span_id=b"short")
    labels = {"trace_id": bytes(range(16)).hex(), "span_id": bytes(range(8)).hex(), "s": "text", "i": "-120"}
    assert exemplars(decode(message).batch) == [
        ("m", 7, -2.0, {**labels, "b": "true", "c": "false", "z": "0"}),
        ("h", 0, 1.5, {}),
    ]


@pytest.mark.parametrize(("size", "kept"), [(128 - 63 - 2, True), (128 - 63 - 1, False)])
def test_long_exemplars_keep_their_ids(size: int, kept: bool) -> None:
    """Attributes that would pass 128 characters are left out, as Prometheus does, and ids stay."""
    message, metric = one_metric()
    point = metric.gauge.data_points.add(time_unix_nano=NOW, as_int=5)
    point.exemplars.add(time_unix_nano=6).filtered_attributes.add(key="a").value.string_value = "b"
    one = point.exemplars.add(time_unix_nano=7, trace_id=bytes(range(16)), span_id=bytes(range(8)))
    one.filtered_attributes.add(key="a").value.string_value = "é" * size + "b"
    point.exemplars.add(time_unix_nano=8).filtered_attributes.add(key="a").value.string_value = "c"
    ids = {"trace_id": bytes(range(16)).hex(), "span_id": bytes(range(8)).hex()}
    assert sum(len(name) + len(value) for name, value in ids.items()) == 63
    found = [labels for _, _, _, labels in exemplars(decode(message).batch)]
    assert found == [{"a": "b"}, {**ids, **({"a": "é" * size + "b"} if kept else {})}, {"a": "c"}]


def test_metadata() -> None:
    """Families have the names that they get in Prometheus; what was confirmed is not said again."""
    message, metric = one_metric(unit="By", description="What it is.")
    metric.sum.aggregation_temporality = 2
    metric.sum.is_monotonic = True
    metric.sum.data_points.add(time_unix_nano=NOW, as_int=1)
    decoder = OtlpDecoder(SeriesTable())
    first = decode(message, decoder)
    (one,) = first.batch.metadata
    assert (one.family, one.type, one.help, one.unit) == ("m_bytes_total", MetricType.COUNTER, "What it is.", "By")
    assert len(decode(message, decoder).batch.metadata) == 1
    decoder.confirm(first)
    assert decode(message, decoder).batch.metadata == ()
    metric.description = "Something else."
    assert [one.help for one in decode(message, decoder).batch.metadata] == ["Something else."]


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b"\x0a", "in the request at byte 0"),
        (b"\x0a\x05\x12", "in the request at byte 0"),
        (b"\x0a\x02\x12\x05", "in ResourceMetrics at byte 2"),
        (b"\x0a\x04\x12\x02\x12\x05", "in ScopeMetrics at byte 4"),
        (b"\x0a\x06\x12\x04\x12\x02\x2a\x09", "in Metric at byte 6"),
        (b"\x0a\x08\x12\x06\x12\x04\x2a\x02\x0a\x09", "in the points of a Metric at byte 8"),
        (b"\x0a\x0a\x12\x08\x12\x06\x2a\x04\x0a\x02\x19\x09", "in a data point at byte 10"),
        (b"\x0b", "unknown wire type"),
        (b"\x08" + b"\xff" * 11, "more than 64 bits"),
    ],
)
def test_faults_have_a_place(data: bytes, where: str) -> None:
    """The error says in which message and where."""
    with pytest.raises(InvalidInput, match=where):
        decode(data)


@pytest.mark.parametrize("what", ["MAX_BYTES", "MAX_ITEMS", "MAX_BUCKETS"])
def test_size_bombs(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More parts than allowed are refused before there is room for them."""
    monkeypatch.setattr(otlp_walk, what, 3)
    message, metric = one_metric()
    metric.histogram.aggregation_temporality = 2
    for _ in range(4 if what == "MAX_ITEMS" else 1):
        metric.histogram.data_points.add(time_unix_nano=NOW, bucket_counts=[0] * 4, explicit_bounds=[1, 2, 3])
    with pytest.raises(TooLarge, match="passes the limit of 3"):
        decode(message)


def test_unusual_shapes() -> None:
    """Messages in parts and lists that are not packed mean what protobuf says they mean."""
    message, metric = one_metric()
    metric.histogram.aggregation_temporality = 2
    metric.histogram.data_points.add(time_unix_nano=NOW, count=3, bucket_counts=[1, 2], explicit_bounds=[5])
    data = message.SerializeToString()
    unpacked = bytes([0x31]) + (1).to_bytes(8, "little") + bytes([0x31]) + (2).to_bytes(8, "little")
    packed = bytes([0x32, 16]) + (1).to_bytes(8, "little") + (2).to_bytes(8, "little")
    assert packed in data
    # Each of the enclosing messages is as much longer.
    moved = data.replace(packed, b"\x7a" + bytes([len(packed) - 2]) + packed[2:])
    assert len(unpacked) == len(packed)
    assert ExportMetricsServiceRequest.FromString(data.replace(packed, unpacked)) == message
    assert_same(decode(data.replace(packed, unpacked)), message)
    assert_same(decode(moved), ExportMetricsServiceRequest.FromString(moved))
    both = ExportMetricsServiceRequest.FromString(data + data)
    assert_same(decode(data + data), both)
    resource = message.resource_metrics[0].SerializeToString() + message.resource_metrics[0].SerializeToString()
    split = b"\x0a" + bytes([len(resource)]) + resource
    assert_same(decode(split), ExportMetricsServiceRequest.FromString(split))


@pytest.mark.fuzz
def test_random_requests() -> None:
    """All columns are what protobuf's classes say, new and known, in any order of fields."""
    decoder = OtlpDecoder(SeriesTable())
    for seed in range(RUNS):
        rng = random.Random(seed)
        message = model.make(rng)
        data = message.SerializeToString()
        if rng.random() < 0.5:
            data = model.shuffled(data, rng)
            assert ExportMetricsServiceRequest.FromString(data) == message
        assert_same(decode(data, decoder if seed % 2 else None), message)


def _parsed(data: bytes) -> ExportMetricsServiceRequest | None:
    try:
        return ExportMetricsServiceRequest.FromString(data)
    except DecodeError:
        return None


@pytest.mark.fuzz
def test_damaged_requests() -> None:
    """Damage is an error, or what protobuf makes of it; never anything else."""
    decoder = OtlpDecoder(SeriesTable())
    taken = 0
    for seed in range(RUNS):
        rng = random.Random(seed)
        data = model.mutated(model.make(rng).SerializeToString(), rng)
        message, decoded, why = _parsed(data), None, ""
        try:
            decoded = decode(data, decoder)
        except InvalidInput as error:
            why = str(error)
        if message is not None:
            # Groups are long gone from Protocol Buffers, and its parsers still skip them.
            assert decoded is not None or "wire type" in why, (seed, why)
        if message is not None and decoded is not None:
            taken += 1
            assert_same(decoded, message)
    assert taken > RUNS // 20
