"""Batches as records: everything comes back, in another table, whatever records were not read."""

from __future__ import annotations

import os
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest

from headrace.pipeline.batch import (
    STALE_BITS,
    BatchContext,
    ExemplarColumns,
    HistogramColumns,
    Metadata,
    MetricBatch,
)
from headrace.pipeline.identity import Form, Kind, MetricType, Resource, Scope, Series, Temporality
from headrace.pipeline.series import SeriesLimits, SeriesTable
from headrace.pipeline.storage.batches import BatchDecoder, BatchEncoder
from headrace.pipeline.storage.records import RecordFlag
from headrace.testing.batches import make_batch, rows, with_native

RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))

OTLP = Series.of(__name__="request.size", route="/é")
OTLP = replace(
    OTLP,
    form=Form.OTLP,
    kind=Kind(MetricType.HISTOGRAM, Temporality.CUMULATIVE, is_exponential=True),
    unit="By",
    resource=Resource((("b", b"\x00\xff"), ("n", float("nan")), ("service.name", "shop")), "https://x/1"),
    scope=Scope("lib", "1.2", (("k", 3),)),
    types=(("route", "int"),),
)


def full_batch(table: SeriesTable) -> MetricBatch:
    """Make a batch that has something in each column."""
    batch = make_batch(
        ["up", {"__name__": "down", "job": "x"}, "up"],
        table=table,
        time_ns=[1, -2, 3],
        context=BatchContext("default", "otlp", "somebody", 17),
    )
    batch.value[:] = np.array([STALE_BITS, 0x7FF8000000000123, 0x8000000000000000], np.uint64).view(np.float64)
    (histogram,) = table.intern([OTLP])
    one = {
        "series": [histogram], "time_ns": [5], "start_ns": [4], "flags": [2], "kind": [1], "count": [3.0],
        "sum": [np.nan], "minimum": [0.1], "maximum": [9.0], "scale": [-2], "zero_count": [1.0],
        "zero_threshold": [0.5], "positive_offset": [-3], "negative_offset": [2], "positive_size": [2],
        "starts": [0, 3], "bounds": [0.0, 0.0, 0.0], "counts": [1.0, 2.0, 3.0],
    }  # fmt: skip
    dtypes = {one.name: one.type for one in fields(HistogramColumns)}
    histograms = HistogramColumns(
        **{name: np.array(column, str(dtypes[name])[8:-1].removeprefix("np.")) for name, column in one.items()}
    )
    batch = with_native(batch, ["native", "native2"])
    text = np.frombuffer(b"....trace_idabc....span_iddef", np.uint8)
    exemplars = ExemplarColumns(
        batch.series[:2],
        np.array([7, 0]),
        np.array([1.5, -1.0]),
        np.array([0, 1, 2], np.int32),
        np.array([[4, 8, 12, 3], [19, 7, 26, 3]], np.int32),
        text,
    )
    return batch.with_columns(
        flags=np.array([2, 0, 1], np.uint8),
        start_ns=np.array([0, 8, 9]),
        integers=np.array([1, 2, 1 << 62]),
        histograms=histograms,
        exemplars=exemplars,
        metadata=(Metadata("up", MetricType.GAUGE, "Is it?", "ratio"),),
    )


def told(batch: MetricBatch) -> dict[str, Any]:
    """Return all that a batch says, in terms that do not depend on a table."""

    def series(ids: Any) -> list[str]:
        return [repr(batch.table.series(i)) for i in ids.tolist()]

    found: dict[str, Any] = {"context": batch.context, "metadata": batch.metadata}
    for name in MetricBatch.__slots__:
        value = getattr(batch, name, None)
        if isinstance(value, np.ndarray):
            found[name] = series(value) if name == "series" else (value.dtype, value.tobytes())
        elif is_dataclass(value) and hasattr(value, "series"):
            for one in fields(value):
                column = getattr(value, one.name)
                said = series(column) if one.name == "series" else (column.dtype, column.shape, column.tobytes())
                found[f"{name}.{one.name}"] = said
    if batch.exemplars is not None:
        spans, arena = batch.exemplars.spans, batch.exemplars.arena.tobytes()
        found["exemplars.spans"] = [arena[at : at + size] for row in spans.tolist() for at, size in (row[:2], row[2:])]
        del found["exemplars.arena"]
    return found


class Reader:
    """A decoder with tables of its own, and what it lost."""

    def __init__(self, limits: SeriesLimits | None = None) -> None:
        self.now = 0.0
        self.table = SeriesTable(limits, clock_s=lambda: self.now)
        self.lost: list[tuple[int, str]] = []
        self.decoder = BatchDecoder(lambda _: self.table, lambda points, why: self.lost.append((points, why)))


def test_everything_comes_back() -> None:
    """To the bit, payloads of NaNs too."""
    batch = full_batch(SeriesTable())
    record = BatchEncoder().encode(batch)
    assert (record.points, record.size) == (len(batch), batch.size_bytes)
    assert record.flags & RecordFlag.DEFINES
    assert told(Reader().decoder.decode(record.payload)) == told(batch)


def test_series_are_defined_once() -> None:
    """Later records name them by number, and are read with the definitions alone."""
    table = SeriesTable()
    encoder = BatchEncoder()
    names = [{"__name__": "metric", "i": str(i)} for i in range(1000)]
    first = encoder.encode(make_batch(names, table=table))
    second = encoder.encode(make_batch([*names[500:], "new"], table=table, value=2.0))
    third = encoder.encode(make_batch(names, table=table, value=3.0))
    assert not third.flags & RecordFlag.DEFINES
    assert len(third.payload) < len(first.payload) / 2
    reader = Reader()
    reader.decoder.define(first.payload)
    reader.decoder.define(second.payload)
    assert rows(reader.decoder.decode(third.payload)) == rows(make_batch(names, value=3.0))
    assert reader.lost == []


def test_each_file_stands_alone() -> None:
    """After a reset everything is defined again."""
    table = SeriesTable()
    encoder = BatchEncoder()
    encoder.encode(make_batch(["a", "b"], table=table))
    encoder.reset()
    batch = make_batch(["b", "c"], table=table)
    assert rows(Reader().decoder.decode(encoder.encode(batch).payload)) == rows(batch)


def test_workspaces_are_kept_apart() -> None:
    """Two tables have numbers of their own in the same file."""
    encoder = BatchEncoder()
    batches = [make_batch([f"m{i}", "same"], context=BatchContext(workspace=f"w{i}")) for i in range(2)]
    payloads = [encoder.encode(batch).payload for batch in (*batches, *batches)]
    tables = {"w0": SeriesTable(), "w1": SeriesTable()}
    decoder = BatchDecoder(tables.__getitem__, lambda _points, _why: None)
    for batch, payload in zip((*batches, *batches), payloads, strict=True):
        found = decoder.decode(payload)
        assert found.table is tables[batch.context.workspace]
        assert rows(found) == rows(batch)


def test_a_lost_definition_costs_its_points_only() -> None:
    """They never become points of another series, and they are counted."""
    table = SeriesTable()
    encoder = BatchEncoder()
    encoder.encode(make_batch(["a", "b"], table=table))
    later = encoder.encode(make_batch(["c", "a"], table=table))
    reader = Reader()
    assert [name for name, _, _ in rows(reader.decoder.decode(later.payload))] == ["c"]
    assert reader.lost == [(1, "undefined_series")]


def test_ids_that_either_table_frees() -> None:
    """The writer defines the series again, the reader interns it again."""
    now = 0.0
    table = SeriesTable(clock_s=lambda: now)
    encoder = BatchEncoder()
    reader = Reader()
    for round_ in range(4):
        batch = make_batch([f"m{round_ % 2}", "always"], table=table, value=float(round_))
        expected = rows(batch)
        found = reader.decoder.decode(encoder.encode(batch).payload)
        assert rows(found) == expected
        del batch, found
        now += 100
        reader.now += 100
        for _ in range(3):
            table.collect(10)
            reader.table.collect(10)
    assert reader.lost == []


def test_a_full_table() -> None:
    """Points whose series find no room are counted."""
    record = BatchEncoder().encode(make_batch(["a", "b", "c"]))
    reader = Reader(SeriesLimits(max_series=2))
    assert len(reader.decoder.decode(record.payload)) == 2
    assert reader.lost == [(1, "undefined_series")]


@pytest.mark.parametrize("payload", [b"", b"x", b"\x05hello"])
def test_what_is_no_record(payload: bytes) -> None:
    """It says so, and defines nothing."""
    decoder = Reader().decoder
    with pytest.raises(ValueError, match=r"."):
        decoder.decode(payload)
    decoder.define(payload)


@pytest.mark.fuzz
def test_damaged_records_never_raise_anything_else() -> None:
    """The checksum of the record is another safeguard; this is what happens without it."""
    payload = BatchEncoder().encode(full_batch(SeriesTable())).payload
    generator = np.random.default_rng(1)
    for _ in range(RUNS):
        data = bytearray(payload)
        data[generator.integers(len(data))] ^= int(generator.integers(1, 256))
        try:
            Reader().decoder.decode(bytes(data))
        except ValueError:
            continue
