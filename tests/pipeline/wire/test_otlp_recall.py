"""Parts of OTLP requests that are known again, against protobuf's own classes."""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

import otlp_model as model
from headrace.pipeline.batch import STALE_BITS, BatchContext, Flag
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.wire.otlp import Decoded, OtlpDecoder
from headrace.pipeline.wire.otlp_recall import RecalledBlocks
from headrace.receivers.otlp_ingest import read
from headrace.testing.batches import rows

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))
NOW = 1_700_000_000_000_000_000


def request(*resources: str, names: tuple[str, ...] = ("m",), number: float = 0.0) -> ExportMetricsServiceRequest:
    """Make a request with two points of each metric of each resource; `number` is in its times and values."""
    message = ExportMetricsServiceRequest()
    for resource in resources:
        block = message.resource_metrics.add()
        block.resource.attributes.add(key="host").value.string_value = resource
        scope = block.scope_metrics.add()
        scope.scope.name = "lib"
        for name in names:
            data = scope.metrics.add(name=name).gauge.data_points
            for i in range(2):
                point = data.add(time_unix_nano=NOW + int(number), as_double=number + i)
                point.attributes.add(key="k").value.string_value = str(i)
    return message


def take(decoder: OtlpDecoder, message: ExportMetricsServiceRequest) -> Decoded:
    """Read a request as the receiver does, and say that it has arrived."""
    decoded = asyncio.run(read(decoder, message.SerializeToString(), BatchContext()))
    decoder.confirm(decoded)
    return decoded


def known(decoder: OtlpDecoder, message: ExportMetricsServiceRequest) -> int:
    """Count the points that are known without reading."""
    recalled = decoder.recall(message.SerializeToString())
    return 0 if recalled is None else len(recalled.ids)


def taught(*messages: ExportMetricsServiceRequest) -> OtlpDecoder:
    """Return a decoder that has taken each request twice."""
    decoder = OtlpDecoder(SeriesTable())
    for message in messages:
        take(decoder, message)
        take(decoder, message)
    return decoder


def test_the_third_time_nothing_is_read() -> None:
    """The first time series are new, the second time the block is kept; then only numbers are taken."""
    decoder = OtlpDecoder(SeriesTable())
    found = []
    for number in range(3):
        message = request("a", "b", number=number)
        found.append(known(decoder, message))
        decoded = take(decoder, message)
        assert rows(decoded.batch) == [
            (f'm{{k="{i}"}}', NOW + number, float(number + i)) for _ in range(2) for i in range(2)
        ]
        assert (decoded.points, decoded.rejected, decoded.message) == (4, {}, "")
    assert found == [0, 0, 4]


def test_what_is_new_stands_between_what_is_known() -> None:
    """Rows stay in the order of the request, and blocks that follow a new one are known all the same."""
    decoder = taught(request("a", "b", "c"))
    message = request("x", "a", "y", "z", "b", "c", "w", number=5)
    assert known(decoder, message) == 6
    decoded = take(decoder, message)
    hosts = [decoded.batch.table.series(one).resource for one in decoded.batch.series.tolist()]
    expected = [model.read(message).numbers[i][0].resource for i in range(14)]
    assert hosts == expected
    assert decoded.batch.value.tolist() == [5.0, 6.0] * 7


@pytest.mark.parametrize("change", ["attribute", "name", "resource", "scope", "kind", "one more", "one less"])
def test_another_series_is_not_taken_for_a_known_one(change: str) -> None:
    """A block of the same length with one other byte is another block."""
    message = request("a", names=("m", "n"))
    decoder = taught(message)
    block = message.resource_metrics[0]
    metric = block.scope_metrics[0].metrics[1]
    match change:
        case "attribute":
            metric.gauge.data_points[1].attributes[0].value.string_value = "2"
        case "name":
            metric.name = "o"
        case "resource":
            block.resource.attributes[0].value.string_value = "b"
        case "scope":
            block.scope_metrics[0].scope.name = "lab"
        case "kind":
            metric.gauge.data_points[0].as_int = 7
        case "one more":
            metric.gauge.data_points.add(time_unix_nano=NOW, as_double=1)
        case "one less":
            del metric.gauge.data_points[1]
    assert known(decoder, message) == 0
    expected = model.read(message).numbers
    batch = take(decoder, message).batch
    assert [repr(batch.table.series(one)) for one in batch.series.tolist()] == [repr(row[0]) for row in expected]
    assert [bool(flag & Flag.INTEGER) for flag in batch.flags.tolist()] == [row[4] for row in expected]


def test_many_blocks_that_begin_alike() -> None:
    """More than are kept under one mark: all are right, and some are known."""
    messages = [request("a", names=("m", f"n{i}")) for i in range(10)]
    decoder = taught(*messages)
    for message in messages:
        batch = take(decoder, message).batch
        names = [batch.table.series(one).name for one in batch.series.tolist()]
        assert names == [row[0].name for row in model.read(message).numbers]
    assert 4 <= sum(known(decoder, message) == 4 for message in messages) < 10


def test_numbers_that_need_more_than_a_double() -> None:
    """Integers above 2^53 stay exact, in one request with those that are known."""
    message = request("a", "b")
    points = [block.scope_metrics[0].metrics[0].gauge.data_points[0] for block in message.resource_metrics]
    points[0].as_int = points[1].as_int = 3
    decoder = taught(message)
    points[1].as_int = 2**53 + 1
    assert known(decoder, message) == 2
    batch = take(decoder, message).batch
    assert batch.integers is not None
    assert batch.integers[batch.flags == Flag.INTEGER].tolist() == [3, 2**53 + 1]


def test_absence_is_marked() -> None:
    """A point without a recorded value is stale, and so is one whose value is the marker, as long as it is."""
    message = request("a")
    absent, marked = message.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points
    absent.ClearField("as_double")
    absent.flags = 1
    marked.as_double = float(np.uint64(STALE_BITS).view(np.float64))
    decoder = taught(message)
    assert known(decoder, message) == 2
    assert take(decoder, message).batch.value.view(np.uint64).tolist() == [STALE_BITS] * 2
    marked.as_double = 1.5
    batch = take(decoder, message).batch
    assert batch.flags.tolist() == [Flag.STALE, 0]
    assert batch.value[1] == 1.5


@pytest.mark.parametrize("time", [0, 2**63])
def test_points_that_cannot_be_taken_are_told(time: int) -> None:
    """A bad time in a known block is counted and named as in one that is read."""
    message = request("a", "b")
    decoder = taught(message)
    message.resource_metrics[1].scope_metrics[0].metrics[0].gauge.data_points[1].time_unix_nano = time
    got = take(decoder, message)
    fresh = take(OtlpDecoder(SeriesTable()), message)
    assert got.rejected == fresh.rejected != {}
    assert got.message == fresh.message
    assert rows(got.batch) == rows(fresh.batch)


def test_a_request_that_does_not_decode() -> None:
    """What is wrong has its place in the whole request, and nothing of it is taken."""
    message = request("a", "b")
    decoder = taught(message)
    data = message.SerializeToString() + b"\x0a\x05\x12\x7f"
    with pytest.raises(InvalidInput) as fresh:
        OtlpDecoder(SeriesTable()).decode(data, BatchContext())
    with pytest.raises(InvalidInput) as again:
        asyncio.run(read(decoder, data, BatchContext()))
    assert str(again.value) == str(fresh.value)


def test_blocks_of_freed_series_are_forgotten() -> None:
    """No id of a series that is gone comes back; the others stay known."""
    clock = [0.0]
    table = SeriesTable(clock_s=lambda: clock[0])
    decoder = OtlpDecoder(table)
    for _ in range(2):
        take(decoder, request("a", "b"))
    clock[0] = 100.0
    take(decoder, request("b"))
    table.collect(50)
    assert known(decoder, request("a")) == 0
    assert known(decoder, request("b")) == 2
    batch = take(decoder, request("a", "b", number=3)).batch
    assert table.is_live(batch.series).all()


def test_known_series_are_not_idle() -> None:
    """A block that is recalled counts as seen: its series stay."""
    clock = [0.0]
    table = SeriesTable(clock_s=lambda: clock[0])
    decoder = OtlpDecoder(table)
    for _ in range(10):
        take(decoder, request("a"))
        clock[0] += 10
    assert table.collect(50) == 0


def test_memory_is_bounded() -> None:
    """What does not fit is read; later the room is given to those who send then."""
    clock = [0.0]
    decoder = OtlpDecoder(SeriesTable())
    one = len(request("a0").SerializeToString())
    decoder._blocks = RecalledBlocks(decoder._table, 3 * one, lambda: clock[0])
    for _ in range(3):
        for i in range(9):
            take(decoder, request(f"a{i}"))
    assert sum(known(decoder, request(f"a{i}")) > 0 for i in range(9)) == 3
    clock[0] = 301.0
    for _ in range(3):
        take(decoder, request("a8"))
    assert known(decoder, request("a8")) == 2


def _changed(rng: random.Random, message: ExportMetricsServiceRequest) -> ExportMetricsServiceRequest:
    """Give the number points of a request other times and values."""
    out = ExportMetricsServiceRequest.FromString(message.SerializeToString())
    for point in _number_points(out):
        bad = rng.random() < 0.01
        point.time_unix_nano = rng.choice([0, 2**63] if bad else [NOW, NOW + 1, 2**63 - 1])
        if point.start_time_unix_nano:
            point.start_time_unix_nano = rng.choice([5, 2**64 - 1])
        if point.WhichOneof("value") == "as_int":
            point.as_int = rng.choice([0, 1, -1, -(2**53), 2**53 + int(rng.random() < 0.1)])
        elif point.WhichOneof("value"):
            point.as_double = rng.choice([0.0, -0.0, model.NAN, model.STALE, rng.random()])
        if rng.random() < 0.01:
            point.attributes.add(key="more").value.int_value = rng.randint(0, 1)
    return out


def _block(seed: int) -> Any:
    """Make a random part of a request; three of four are such as can be known again."""
    rng = random.Random(seed)
    message = model.make(rng)
    if not message.resource_metrics:
        return _block(seed + 1000)
    block = message.resource_metrics[0]
    if not seed % 4:
        return block
    for scope in block.scope_metrics:
        numbers = [metric for metric in scope.metrics if metric.HasField("gauge") or metric.HasField("sum")]
        del scope.metrics[:]
        scope.metrics.extend(numbers)
        for metric in scope.metrics:
            if metric.HasField("sum"):
                metric.sum.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
    whole = ExportMetricsServiceRequest(resource_metrics=[block])
    for point in _number_points(whole):
        del point.exemplars[:]
    return whole.resource_metrics[0]


def _number_points(message: ExportMetricsServiceRequest) -> Iterator[Any]:
    for block in message.resource_metrics:
        for scope in block.scope_metrics:
            for metric in scope.metrics:
                yield from metric.gauge.data_points if metric.HasField("gauge") else metric.sum.data_points


@pytest.mark.fuzz
def test_random_requests() -> None:
    """Whatever comes again in whatever company, all columns are what protobuf's classes say."""
    rng = random.Random(6)
    blocks = [_block(seed) for seed in range(40)]
    decoder = taught(*(ExportMetricsServiceRequest(resource_metrics=[block]) for block in blocks))
    recalled, runs = 0, max(RUNS, 100)
    for _ in range(runs):
        message = ExportMetricsServiceRequest()
        message.resource_metrics.extend(rng.choices(blocks, k=rng.randint(0, 5)))
        message = _changed(rng, message)
        recalled += known(decoder, message)
        got, expected = take(decoder, message), model.read(message)
        assert sum(got.rejected.values()) == expected.rejected
        batch = got.batch
        columns: list[list[Any]] = [
            [repr(batch.table.series(one)) for one in batch.series.tolist()], batch.time_ns.tolist(),
            batch.start_ns.tolist(), batch.value.view(np.uint64).tolist(), batch.flags.tolist(),
        ]  # fmt: skip
        read_by_protobuf = [
            (repr(series), time, start, bits, int(integer) * Flag.INTEGER + int(stale) * Flag.STALE)
            for series, time, start, bits, integer, stale in expected.numbers
        ]
        assert list(zip(*columns, strict=True)) == read_by_protobuf
        assert (0 if batch.histograms is None else len(batch.histograms)) == len(expected.histograms)
    assert recalled > runs // 4
