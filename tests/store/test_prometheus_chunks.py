"""Reading Prometheus' chunks, against an encoder in plain Python, bytes written down by hand, and damage."""

from __future__ import annotations

import math
import os
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.pipeline.errors import CorruptChunk
from headrace.pipeline.native_histograms import NativeFlag, NativeHistograms, ResetHint
from headrace.store.prometheus_blocks import bit_stream_kernels, checksums
from headrace.store.prometheus_blocks.chunks import ChunkSegments
from prometheus_chunks import STALE, Bits, crc32c, double_bits, histogram_chunk, stored, xor_chunk

if TYPE_CHECKING:
    from pathlib import Path

T0 = 1_700_000_000_000
FUZZ_RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))
HEADER = struct.pack(">IB3x", 0x85BD40DD, 1)
Samples = tuple[list[int], list[int]]


def segments(folder: Path, *chunks: bytes) -> tuple[ChunkSegments, np.ndarray[Any, Any]]:
    places = np.cumsum([len(HEADER), *map(len, chunks[:-1])])
    (folder / "000001").write_bytes(HEADER + b"".join(chunks))
    return ChunkSegments(folder), places.astype(np.int64)


def floats(folder: Path, *chunks: bytes) -> list[Samples]:
    found, refs = segments(folder, *(stored(1, chunk) for chunk in chunks))
    located = found.locate(refs)
    places = np.cumsum(located.counts) - located.counts
    times, values = np.empty(int(located.counts.sum()), np.int64), np.empty(int(located.counts.sum()))
    found.decode_floats(located, places, times, values)
    bits = values.view(np.uint64)
    return [
        (times[p : p + n].tolist(), bits[p : p + n].tolist())
        for p, n in zip(places.tolist(), located.counts.tolist(), strict=True)
    ]


def histograms(folder: Path, chunk: bytes, *, is_float: bool = False) -> NativeHistograms:
    found, refs = segments(folder, stored(3 if is_float else 2, chunk))
    return found.decode_histograms(found.locate(refs), np.array([7]))


def test_checksum_of_the_standard_text() -> None:
    """The check value of CRC-32C, and odd lengths against a bit at a time."""
    assert checksums.crc32c(b"123456789") == 0xE3069283
    data = bytes(range(256)) * 2
    for size in (0, 1, 7, 8, 9, 31, 511):
        assert checksums.crc32c(data[:size]) == crc32c(data[:size])


def test_golden_bytes(tmp_path: Path) -> None:
    """A chunk worked out by hand from tsdb/docs/format/chunks.md: times 1000, 2000, 3001; values 1.0, 1.0, 2.0."""
    # 3 samples; varint 1000; 1.0; uvarint 1000; value bit 0; time 10 + 14 bits of 1; value 11, 1 leading, 11 bits.
    tail = Bits()
    tail.put(0, 1)
    tail.put(0b10, 2)
    tail.put(1, 14)
    tail.put(0b11, 2)
    tail.put(1, 5)
    tail.put(11, 6)
    tail.put(0b11111111111, 11)
    chunk = bytes.fromhex("0003 d00f 3ff0000000000000 e807") + tail.bytes()
    assert chunk.hex() == "0003d00f3ff0000000000000e8074000e12fff80"
    assert floats(tmp_path, chunk) == [([1000, 2000, 3001], [double_bits(v) for v in (1.0, 1.0, 2.0)])]


@pytest.mark.parametrize(
    ("times", "values"),
    [
        pytest.param([T0], [double_bits(1.5)], id="one"),
        pytest.param([-5, 0, 1 << 40], [0, 1, 2], id="odd-times"),
        pytest.param(
            [T0 + i * 15_000 for i in range(120)],
            [double_bits(v) for v in [math.nan, math.inf, -math.inf, -0.0, 5e-324] * 24],
            id="special",
        ),
        pytest.param([T0, T0 + 1, T0 + 2], [STALE, 0x7FF0000000000001, (1 << 64) - 1], id="payloads"),
    ],
)
def test_doubles_are_those_that_were_written(tmp_path: Path, times: list[int], values: list[int]) -> None:
    """Times and every bit of the values."""
    assert floats(tmp_path, xor_chunk(times, values)) == [(times, values)]


def test_random_chunks_of_doubles(tmp_path: Path) -> None:
    """Steps of all widths and values of all kinds, many chunks of a segment at once."""
    rng = np.random.default_rng(7)
    written = []
    for _ in range(40):
        n = int(rng.integers(1, 60))
        widths = rng.integers(0, 40, n)
        times = np.cumsum([int(rng.integers(0, 1 << int(w))) + 1 for w in widths]) + T0
        walk = np.cumsum(rng.integers(-5, 6, n)).astype(np.float64)
        any_bits = rng.integers(0, 1 << 63, n, np.uint64)
        values = np.where(rng.random(n) < 0.5, walk.view(np.uint64), any_bits)
        written.append((times.tolist(), values.tolist()))
    assert floats(tmp_path, *(xor_chunk(*one) for one in written)) == written


SPANS: dict[str, Any] = {"positive": [(0, 2), (3, 1)], "negative": [(-4, 1)]}
ROWS = [[10 + 3 * i, i, double_bits(i * 0.5), 1, 2 + i, 3, 4 + i] for i in range(20)]


@pytest.mark.parametrize("resets", [0, 1, 2, 3])
def test_integer_histograms(tmp_path: Path, resets: int) -> None:
    """Layout, absolute counts, sums, and the hints that the header stands for."""
    times = [T0 + 15_000 * i + i % 3 for i in range(20)]
    found = histograms(tmp_path, histogram_chunk(times, ROWS, schema=3, resets=resets, threshold=b"\x74", **SPANS))
    assert found.time_ms.tolist() == times
    assert found.count.tolist() == [row[0] for row in ROWS]
    assert found.zero_count.tolist() == [row[1] for row in ROWS]
    assert found.sum.view(np.uint64).tolist() == [row[2] for row in ROWS]
    assert found.buckets.reshape(-1, 4).tolist() == [row[3:] for row in ROWS]
    assert found.spans.reshape(-1, 3, 2).tolist() == [[[0, 2], [3, 1], [-4, 1]]] * 20
    assert set(found.positive_spans.tolist()) == {2}
    assert set(found.zero_threshold.tolist()) == {2.0**-128}
    assert set(found.schema.tolist()) == {3}
    assert set(found.series.tolist()) == {7}
    first, others = {
        0: (ResetHint.UNKNOWN, ResetHint.NOT_RESET),
        1: (ResetHint.UNKNOWN, ResetHint.NOT_RESET),
        2: (ResetHint.RESET, ResetHint.NOT_RESET),
        3: (ResetHint.GAUGE, ResetHint.GAUGE),
    }[resets]
    assert found.hint.tolist() == [first, *[others] * 19]


@pytest.mark.parametrize("is_float", [False, True])
def test_stale_histograms_have_nothing_but_their_marker(tmp_path: Path, *, is_float: bool) -> None:
    """Behind others, and alone in a chunk."""
    rows = [*ROWS[:3], [0, 0, STALE], [0, 0, STALE]]
    if not is_float:
        # In integer chunks the steps of counts stay as they were.
        rows[3:] = [[*rows[2][:2], STALE]] * 2
    times = [T0 + 10 * i for i in range(5)]
    chunk = histogram_chunk(times, rows, is_float=is_float, threshold=struct.pack(">Bd", 255, 0.1), **SPANS)
    found = histograms(tmp_path, chunk, is_float=is_float)
    kind = NativeFlag.FLOAT_COUNTS if is_float else 0
    assert found.flags.tolist() == [kind] * 3 + [kind | NativeFlag.STALE] * 2
    assert found.sum.view(np.uint64).tolist()[3:] == [STALE] * 2
    assert np.diff(found.bucket_starts).tolist() == [4, 4, 4, 0, 0]
    assert found.zero_threshold.tolist() == [0.1] * 3 + [0.0] * 2
    alone = histograms(
        tmp_path, histogram_chunk([T0], [[0, 0, STALE]], positive=[], is_float=is_float), is_float=is_float
    )
    assert (len(alone), len(alone.buckets)) == (1, 0)


def test_custom_bounds_and_float_counts(tmp_path: Path) -> None:
    """Bounds of thousandths and others; counts keep the bits of their doubles."""
    bounds = [0.1, 2.5, math.pi, 33554.43, 4e9]
    rows = [[double_bits(v + i) for v in (5.5, 0.0, 1.25, 1.0, 2.5, -0.0)] for i in range(9)]
    chunk = histogram_chunk(
        [T0 + i for i in range(9)], rows, positive=[(0, 3)], schema=-53, bounds=bounds, is_float=True
    )
    found = histograms(tmp_path, chunk, is_float=True)
    assert found.bounds.reshape(9, -1).tolist() == [bounds] * 9
    assert found.buckets.reshape(9, -1).tolist() == [row[3:] for row in rows]
    assert set(found.schema.tolist()) == {-53}


def test_variable_width_integers_at_their_edges() -> None:
    """Each width's smallest and largest."""
    for width in (3, 6, 9, 12, 18, 25, 56):
        for value in (1 << width - 1, -(1 << width - 1) + 1, (1 << width - 1) + 1):
            out = Bits()
            out.signed(value)
            buf = np.frombuffer(out.bytes(), np.uint8)
            assert bit_stream_kernels.read_signed(buf, 0, 8 * len(buf))[1] == value
        out = Bits()
        out.unsigned((1 << width) - 1)
        buf = np.frombuffer(out.bytes(), np.uint8)
        assert bit_stream_kernels.read_unsigned(buf, 0, 8 * len(buf))[1] == (1 << width) - 1


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(stored(1, xor_chunk([1, 2], [3, 4]))[:-1] + b"\x00", "another checksum", id="checksum"),
        pytest.param(stored(1, b"\x00"), "too short", id="no-count"),
        pytest.param(stored(1, b"\xff\xff\x00"), "too short for its samples", id="bomb"),
        pytest.param(stored(9, b"\x00\x00"), "encoding 9 is not known", id="encoding"),
        pytest.param(b"\xff" * 12, "does not lie in the segment", id="size"),
        pytest.param(b"\x40\x01", "does not lie in the segment", id="cut"),
    ],
)
def test_damaged_chunks_are_named(tmp_path: Path, data: bytes, why: str) -> None:
    """The file, the place and what is wrong."""
    found, refs = segments(tmp_path, data)
    with pytest.raises(CorruptChunk, match=rf"000001: the chunk at byte 8[\s\S]*{why}"):
        found.locate(refs)


def test_streams_that_end_early_do_not_decode(tmp_path: Path) -> None:
    """Whatever the checksum says; every length of chunks of each kind."""
    chunk = xor_chunk([T0 + i * i for i in range(9)], [double_bits(i * 0.1) for i in range(9)])
    for size in range(8, len(chunk) - 1):
        with pytest.raises(CorruptChunk, match=r"does not decode|too short"):
            floats(tmp_path, chunk[:size])
    for is_float in (False, True):
        chunk = histogram_chunk([T0 + 9 * i for i in range(20)], ROWS, is_float=is_float, **SPANS)
        for size in range(3, len(chunk) - 1, 3):
            with pytest.raises(CorruptChunk, match=r"does not decode|too short"):
                histograms(tmp_path, chunk[:size], is_float=is_float)


@pytest.mark.fuzz
def test_mutated_chunks_never_break_the_reader(tmp_path: Path) -> None:
    """They decode to something, or are named as damaged; nothing is read or written outside."""
    rng = np.random.default_rng(3)
    chunks = [
        (1, xor_chunk([T0 + i * i for i in range(30)], [double_bits(i * 0.1) for i in range(30)])),
        (2, histogram_chunk([T0 + 9 * i for i in range(20)], ROWS, schema=-4, **SPANS)),
        (3, histogram_chunk([T0 + 9 * i for i in range(20)], ROWS, schema=-53, bounds=[1.0], is_float=True, **SPANS)),
    ]
    outcomes = {"fine": 0, "damaged": 0}
    for _ in range(FUZZ_RUNS):
        kind, data = chunks[int(rng.integers(3))]
        mutated = bytearray(data)
        for _ in range(int(rng.integers(1, 4))):
            mutated[int(rng.integers(len(mutated)))] = int(rng.integers(256))
        try:
            if kind == 1:
                floats(tmp_path, bytes(mutated))
            else:
                histograms(tmp_path, bytes(mutated), is_float=kind == 3)
            outcomes["fine"] += 1
        except CorruptChunk:
            outcomes["damaged"] += 1
    assert min(outcomes.values()) > 0
