"""Requests of version 2.0 as we write them, read by protobuf's own library and by our decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.kernels.buffers import padded
from headrace.pipeline.batch import STALE_BITS, BatchContext, ExemplarColumns, Metadata, MetricBatch
from headrace.pipeline.identity import MetricType
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.wire.families import Families
from headrace.pipeline.wire.remote_write import RemoteWriteDecoder
from headrace.pipeline.wire.remote_write_v2 import SymbolArena, requests
from headrace.testing.batches import make_batch, rows, with_native
from remote_write_messages import Request

if TYPE_CHECKING:
    from headrace.pipeline.wire.remote_write_request import Encoded

MS = 1_000_000
SERIES = [{"__name__": "up", "job": "é" * 100}, {"__name__": "down", "up": "up"}, {"__name__": "up", "job": "é" * 100}]


def encode(batch: MetricBatch, max_bytes: int = 1 << 20, families: Families | None = None, **external: str) -> Any:
    arena = SymbolArena(batch.table, external, families)
    return list(requests(arena, batch, 99, max_bytes))


def messages(found: list[Encoded]) -> list[Any]:
    return [Request.FromString(bytes(one.body)) for one in found]


def decode(found: list[Encoded]) -> list[MetricBatch]:
    decoder = RemoteWriteDecoder(SeriesTable(), v2=True)
    return [decoder.decode(padded(one.body), len(one.body), BatchContext()).batch for one in found]


def labels(message: Any, references: Any) -> dict[str, str]:
    texts = [message.symbols[i] for i in references]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def test_round_trip() -> None:
    """Labels are sorted, symbols are there once, points of a series stay in order, all bits of values survive."""
    batch = make_batch(SERIES, time_ns=[3 * MS, 1_700_000_000_123 * MS, -4 * MS])
    batch.value[:] = np.array([STALE_BITS, 0x8000000000000000, 0x7FF8000000000123], np.uint64).view(np.float64)
    found = encode(batch, zone="eu", job="other")
    (message,) = messages(found)
    assert message.symbols[0] == ""
    assert len(set(message.symbols)) == len(message.symbols)
    read = {labels(message, one.labels_refs)["__name__"]: one for one in message.timeseries}
    assert [s.timestamp for s in read["up"].samples] == [3, -4]
    assert list(labels(message, read["down"].labels_refs).items()) == [
        ("__name__", "down"), ("job", "other"), ("up", "up"), ("zone", "eu"),
    ]  # fmt: skip
    (back,) = decode(encode(batch))
    order = np.argsort(batch.series, kind="stable")
    assert back.value.tobytes() == batch.value[order].tobytes()
    assert [row[:2] for row in rows(back)] == [rows(batch)[i][:2] for i in order.tolist()]


def test_requests_are_split() -> None:
    """No series is torn apart, none is forgotten, each request stands alone and is small enough."""
    batch = make_batch([{"__name__": f"m{i % 100}", "i": str(i % 100)} for i in range(300)], time_ns=list(range(300)))
    found = encode(batch, 1500)
    assert len(found) > 2
    assert all(len(one.body) <= 1500 for one in found)
    assert sum(one.samples for one in found) == 300
    assert len({i for one in found for i in one.series.tolist()}) == sum(len(one.series) for one in found) == 100
    assert sorted(row for back in decode(found) for row in rows(back)) == sorted(rows(_cut_to_ms(batch)))


def _cut_to_ms(batch: MetricBatch) -> MetricBatch:
    return batch.with_columns(time_ns=batch.time_ms * MS)


def test_created_timestamps() -> None:
    """They are where older and newer readers look for them."""
    batch = make_batch(["a", "b"]).with_columns(start_ns=np.array([5 * MS, 0]))
    (message,) = messages(encode(batch))
    assert [(one.created_timestamp, one.samples[0].start_timestamp) for one in message.timeseries] == [(5, 5), (0, 0)]


def test_histograms_and_exemplars() -> None:
    """They are in the series that they are of, beside its samples, each exemplar with labels of its own."""
    batch = with_native(make_batch(["h", "m"]), ["h", "n"])
    assert batch.native is not None
    batch.native.start_ms[:] = [7, 0]
    text = np.frombuffer(b"trace_idabcm", np.uint8)
    exemplars = ExemplarColumns(
        batch.series[[1, 0, 1]],
        np.array([7 * MS, 0, 8 * MS]),
        np.array([1.5, 2.5, 3.5]),
        np.array([0, 1, 1, 3], np.int32),
        np.array([[0, 8, 8, 3], [0, 8, 11, 1], [8, 3, 8, 0]], np.int32),
        text,
    )
    found = encode(batch.with_columns(exemplars=exemplars))
    (message,) = messages(found)
    assert len(set(message.symbols)) == len(message.symbols)
    assert (found[0].samples, found[0].histograms, found[0].exemplars) == (2, 2, 3)
    read = {labels(message, one.labels_refs)["__name__"]: one for one in message.timeseries}
    assert [(s.value, s.timestamp, labels(message, s.labels_refs)) for s in read["m"].exemplars] == [
        (1.5, 7, {"trace_id": "abc"}), (3.5, 8, {"trace_id": "m", "abc": ""}),
    ]  # fmt: skip
    assert [(s.value, s.timestamp) for s in read["h"].exemplars] == [(2.5, 99)]
    assert [(h.sum, h.count_int, h.start_timestamp) for h in read["h"].histograms] == [(1.0, 1, 7)]
    assert (read["h"].created_timestamp, len(read["n"].samples), len(read["n"].histograms)) == (7, 0, 1)
    (back,) = decode(found)
    assert back.native is not None
    assert back.native.count.tolist() == [1, 2]


def test_metadata() -> None:
    """A series tells what is known of its family, also when that becomes known, or changes, later."""
    families = Families()
    families.learn([Metadata("requests", MetricType.COUNTER, "How many.", "requests")])
    batch = make_batch(["requests_total", "other", "up"])
    arena = SymbolArena(batch.table, {}, families)

    def read() -> dict[str, tuple[int, str, str]]:
        (message,) = messages(list(requests(arena, batch, 0, 1 << 20)))
        return {
            labels(message, one.labels_refs)["__name__"]: (
                one.metadata.type, message.symbols[one.metadata.help_ref], message.symbols[one.metadata.unit_ref],
            )
            for one in message.timeseries
        }  # fmt: skip

    none = (0, "", "")
    assert read() == {"requests_total": (1, "How many.", "requests"), "other": none, "up": none}
    families.learn([Metadata("up", MetricType.GAUGE, "Is it?"), Metadata("requests", MetricType.COUNTER, "All.")])
    assert read() == {"requests_total": (1, "All.", ""), "other": none, "up": (2, "Is it?", "")}


def test_freed_ids_are_taken_apart_again() -> None:
    """An id that means another series does not keep the old labels."""
    now = 0.0
    table = SeriesTable(clock_s=lambda: now)
    arena = SymbolArena(table, {}, None)
    for name in ("a", "b", "c"):
        batch = make_batch([name], table=table)
        (message,) = messages(list(requests(arena, batch, 0, 1000)))
        assert labels(message, message.timeseries[0].labels_refs) == {"__name__": name}
        del batch
        now += 100
        for _ in range(3):
            table.collect(10)


@pytest.mark.parametrize("count", [0, 1, 200, pytest.param(20_000, marks=pytest.mark.large)])
def test_many_symbols(count: int) -> None:
    """References of any size."""
    batch = make_batch([{"__name__": "m", "i": f"{i}"} for i in range(count)])
    read = [row for back in decode(encode(batch, 1 << 24)) for row in rows(back)]
    assert sorted(read) == sorted(rows(batch))
