"""Writing Prometheus' chunks: against the encoder in plain Python, and read back by the decoder."""

from __future__ import annotations

import math
import random
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.pipeline.native_histograms import CUSTOM_BUCKETS, NativeFlag, ResetHint
from headrace.store.api.read_messages import parse, varint
from headrace.store.prometheus_blocks import chunk_writing
from headrace.store.prometheus_blocks.chunks import ChunkSegments
from native_rows import STALE, Row, bits, columns, rows_of
from prometheus_chunks import crc32c, histogram_chunk, stored, xor_chunk

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.pipeline.native_histograms import NativeHistograms

T0 = 1_700_000_000_000
STALE_NAN = np.uint64(0x7FF0000000000002)
HEADER = struct.pack(">IB3x", 0x85BD40DD, 1)
FLOAT = int(NativeFlag.FLOAT_COUNTS)


def fields(message: bytes) -> list[tuple[int, int | bytes]]:
    """Split a message into its fields."""
    found: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(message):
        tag, at = number(message, at)
        value, at = number(message, at)
        if tag & 7 == 2:
            found.append((tag >> 3, message[at : at + value]))
            at += value
        else:
            found.append((tag >> 3, value))
    return found


def number(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def chunk_fields(chunks: chunk_writing.Chunks) -> list[dict[int, int | bytes]]:
    """Decode messages ``Chunk``: 1 and 2 are times, 3 the encoding, 4 the data."""
    data = chunks.messages.tobytes()
    pieces = [data[p : p + n] for p, n in zip(chunks.places.tolist(), chunks.sizes.tolist(), strict=True)]
    found = [fields(piece)[0] for piece in pieces]
    assert {tag for tag, _ in found} <= {2}
    return [dict(fields(inner)) for _, inner in found if isinstance(inner, bytes)]


def write(times: list[int], values: list[float]) -> list[dict[int, int | bytes]]:
    offsets = np.array([0, len(times)], np.int64)
    found = chunk_writing.float_chunks(
        offsets, np.array(times, np.int64), np.array(values, np.float64), np.zeros(len(times), np.bool_)
    )
    return chunk_fields(found)


@pytest.mark.parametrize(
    ("times", "values"),
    [
        pytest.param([T0], [1.5], id="one"),
        pytest.param([-5, 0, 1 << 40], [0.0, -0.0, math.inf], id="odd-times"),
        pytest.param([0, 1, 2 + (1 << 13), 3 + (1 << 14)], [1.0, 1.0, 2.0, 2.0], id="14-bits"),
        pytest.param([0, 10, 20 + (1 << 16), 30 + (1 << 17), 40 + (1 << 20)], [5.0] * 5, id="17-and-20-bits"),
        pytest.param([0, 1 << 20, (1 << 20) + 1, 1 << 41], [1.0, 3.0, 7.0, 15.5], id="64-bits"),
        pytest.param([1, 2, 3], [1.0, -1.0, 2.2250738585072014e-308], id="all-bits-change"),
        pytest.param([1, 2, 3, 4], [0.0, 5e-324, 0.0, 1e300], id="many-zeros-before"),
    ],
)
def test_the_bytes_are_those_of_the_plain_encoder(times: list[int], values: list[float]) -> None:
    """Every width of time steps, every kind of change of a double."""
    (chunk,) = write(times, values)

    assert chunk[4] == xor_chunk(times, [bits(value) for value in values])
    assert chunk[3] == 1
    assert [chunk.get(1, 0), chunk.get(2, 0)] == [times[0] % (1 << 64), times[-1] % (1 << 64)]


def test_many_random_chunks() -> None:
    """Random steps and values of all magnitudes, stale markers and payloads of NaN among them."""
    rng = random.Random(5)
    for _ in range(60):
        times, now = [], rng.randrange(-(1 << 40), 1 << 41)
        for _ in range(rng.randrange(1, 120)):
            now += rng.choice([1, 15_000, 15_001, rng.randrange(1, 1 << rng.randrange(1, 34))])
            times.append(now)
        words = [rng.choice([0, int(STALE_NAN), rng.getrandbits(64), bits(rng.random())]) for _ in times]
        values = np.array(words, np.uint64).view(np.float64)
        offsets = np.array([0, len(times)], np.int64)
        found = chunk_writing.float_chunks(offsets, np.array(times, np.int64), values, np.zeros(len(times), np.bool_))
        (chunk,) = chunk_fields(found)
        assert chunk[4] == xor_chunk(times, words)


def test_chunks_end_after_120_samples_and_at_breaks() -> None:
    """Each series begins one of its own, and one without samples has none."""
    offsets = np.array([0, 130, 130, 200, 441], np.int64)
    times = np.arange(441, dtype=np.int64)
    breaks = np.zeros(441, np.bool_)
    breaks[150] = True

    found = chunk_writing.float_chunks(offsets, times, times.astype(np.float64), breaks)

    assert found.times_ms.tolist() == [0, 120, 130, 150, 200, 320, 440]
    assert found.series.tolist() == [0, 0, 2, 2, 3, 3, 3]


def test_frames() -> None:
    """Length, checksum, labels and chunks of one series; the number of the query where it is not the first."""
    offsets = np.array([0, 250, 251], np.int64)
    times = np.arange(251, dtype=np.int64)
    chunks = chunk_writing.float_chunks(offsets, times, np.ones(251), np.zeros(251, np.bool_))

    data = chunk_writing.frames(chunks, [b"\x0a\x01a", b""], 300, int(chunks.sizes[0]) + 4).tobytes()

    seen = []
    at = 0
    while at < len(data):
        size, at = number(data, at)
        message = data[at + 4 : at + 4 + size]
        assert int.from_bytes(data[at : at + 4], "big") == crc32c(message)
        at += 4 + size
        outer = fields(message)
        assert outer[1] == (2, 300)
        inner = fields(bytes(outer[0][1])) if not isinstance(outer[0][1], int) else []
        seen.append([tag for tag, _ in inner])
    assert seen == [[1, 2, 2], [1, 2], [2]]


def test_frames_of_nothing() -> None:
    """No series, no bytes."""
    none = np.zeros(0, np.int64)
    chunks = chunk_writing.float_chunks(np.zeros(1, np.int64), none, np.zeros(0), np.zeros(0, np.bool_))

    assert chunk_writing.frames(chunks, [], 0, 1000).tobytes() == b""


# -- native histograms -----------------------------------------------------------------------------------


def counter(rng: random.Random, size: int, *, is_float: bool) -> list[Row]:
    """Make histograms whose counts only grow; a sum that jumps."""
    counts = [rng.randrange(1 << rng.choice([1, 8, 40])) for _ in range(size)]
    rows = []
    for _ in range(rng.randrange(1, 40)):
        counts = [count + rng.choice([0, 0, 1, rng.randrange(1 << 30)]) for count in counts]
        shown = [bits(float(count)) if is_float else count for count in counts]
        zero = bits(3.5) if is_float else 3
        rows.append(
            Row(
                flags=FLOAT if is_float else 0, hint=int(ResetHint.UNKNOWN), schema=3,
                threshold_bits=bits(0.001), zero_count=zero,
                count=bits(float(sum(counts))) if is_float else sum(counts),
                sum_bits=bits(rng.gauss(0, 1e6)), positive=((-3, 2), (4, size - 3)), negative=((0, 1),),
                buckets=tuple(shown),
            )
        )  # fmt: skip
    return rows


def encoded(rows: list[Row], times: list[int]) -> chunk_writing.Chunks:
    offsets = np.array([0, len(rows)], np.int64)
    return chunk_writing.histogram_chunks(offsets, columns([0] * len(rows), times, rows), np.zeros(len(rows), np.bool_))


def decoded(folder: Path, chunks: chunk_writing.Chunks) -> NativeHistograms:
    pieces = [stored(int(chunk[3]), bytes(chunk[4])) for chunk in chunk_fields(chunks)]
    places = np.cumsum([len(HEADER), *map(len, pieces[:-1])]).astype(np.int64)
    (folder / "000001").write_bytes(HEADER + b"".join(pieces))
    found = ChunkSegments(folder)
    return found.decode_histograms(found.locate(places), np.zeros(len(pieces), np.int64))


@pytest.mark.parametrize("is_float", [False, True])
def test_histograms_are_the_bytes_of_the_plain_encoder(is_float: bool) -> None:
    """Integers as changes of changes, doubles as what changed."""
    rng = random.Random(8)
    for _ in range(20):
        rows = counter(rng, rng.randrange(4, 9), is_float=is_float)
        times = [T0 + 15_000 * i + rng.randrange(100) for i in range(len(rows))]
        (chunk,) = chunk_fields(encoded(rows, times))
        plain = histogram_chunk(
            times, [(row.count, row.zero_count, row.sum_bits, *row.buckets) for row in rows],
            positive=[*rows[0].positive], negative=rows[0].negative, schema=3,
            threshold=b"\xff" + struct.pack(">d", 0.001), is_float=is_float,
        )  # fmt: skip
        assert chunk[4] == plain
        assert chunk[3] == (3 if is_float else 2)


def test_histograms_come_back(tmp_path: Path) -> None:
    """Layouts that change, resets, gauges, stale markers, custom bounds: all as they were, hints as they mean."""
    base = Row(schema=0, count=4, zero_count=1, sum_bits=bits(2.5), positive=((0, 2),), buckets=(1, 2),
               threshold_bits=bits(2.0**-10))  # fmt: skip
    more = Row(schema=0, count=6, zero_count=1, sum_bits=bits(3.5), positive=((0, 2),), buckets=(2, 3),
               threshold_bits=bits(2.0**-10))  # fmt: skip
    wider = Row(schema=0, count=7, zero_count=1, sum_bits=bits(3.5), positive=((0, 3),), buckets=(2, 3, 1),
                threshold_bits=bits(2.0**-10))  # fmt: skip
    gauge = Row(hint=int(ResetHint.GAUGE), count=9, sum_bits=bits(-1.0), positive=((1, 1),), buckets=(9,))
    lower = Row(hint=int(ResetHint.GAUGE), count=2, sum_bits=bits(-1.0), positive=((1, 1),), buckets=(2,))
    custom = Row(schema=CUSTOM_BUCKETS, count=3, sum_bits=bits(math.nan), positive=((0, 2),), buckets=(1, 2),
                 bounds_bits=(bits(-1.5), bits(0.005), bits(0.1), bits(1 / 3), bits(40_000_000.0)))  # fmt: skip
    rows = [base, more, base, wider, STALE, base, gauge, lower, custom, custom]
    times = [T0 + 1000 * i for i in range(len(rows))]

    back = rows_of(decoded(tmp_path, encoded(rows, times)))

    assert [time for _, time, _ in back] == times
    unknown, reset, going_on, is_gauge = (int(hint) for hint in ResetHint)
    hints = [unknown, going_on, reset, unknown, unknown, unknown, is_gauge, is_gauge, unknown, going_on]
    wanted = [replace(row, hint=hint) for row, hint in zip(rows, hints, strict=True)]
    assert [row for _, _, row in back] == wanted


@pytest.mark.parametrize("threshold", [0.0, 2.0**-242, 2.0**-128, 1.0, 1024.0, 2048.0, 1e-3, 5e-324, 2.0**-243])
def test_zero_thresholds_come_back(tmp_path: Path, threshold: float) -> None:
    """Powers of two within a range take one byte, all others nine."""
    row = Row(count=1, zero_count=1, sum_bits=0, threshold_bits=bits(threshold))

    ((_, _, back),) = rows_of(decoded(tmp_path, encoded([row], [1])))

    assert back.threshold_bits == bits(threshold)


def test_hints_of_senders_are_kept(tmp_path: Path) -> None:
    """What says that it is a reset begins a chunk; what says that it is none goes on although counts fall."""

    def row(count: int, hint: ResetHint) -> Row:
        return Row(hint=int(hint), count=count, sum_bits=0, positive=((0, 1),), buckets=(count,))

    rows = [row(5, ResetHint.NOT_RESET), row(3, ResetHint.NOT_RESET), row(4, ResetHint.RESET)]
    chunks = encoded(rows, [1, 2, 3])

    assert len(chunks.sizes) == 2
    assert [one.hint for _, _, one in rows_of(decoded(tmp_path, chunks))] == [
        0,
        2,
        1,
    ]  # readers take the first of a chunk for one that they do not know about


def test_requests_decode() -> None:
    """A request made by hand: two queries with matchers, a negative time, packed and single kinds of answers."""
    matcher = b"\x08\x02\x12\x03job\x1a\x03a.*"
    query = (
        b"\x08" + varint((1 << 64) - 5) + b"\x10\x07" + b"\x1a" + varint(len(matcher)) + matcher + b"\x22\x02\x08\x01"
    )
    found = parse(b"\x0a" + varint(len(query)) + query + b"\x0a\x00" + b"\x12\x02\x01\x00" + b"\x10\x01")

    first, second = found.queries
    assert (first.start_ms, first.end_ms) == (-5, 7)
    assert [str(one) for one in first.matchers] == ['job=~"a.*"']
    assert (second.start_ms, second.end_ms, second.matchers) == (0, 0, ())
    assert found.accepted == [1, 0, 1]
