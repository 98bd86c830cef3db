"""Bytes of native histograms as docs/format/histograms.md has them: what was written stays readable."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest

from headrace.kernels.buffers import padded
from headrace.pipeline.errors import CorruptChunk, InvalidInput
from headrace.store import histogram_records
from headrace.store.codec.histograms import HistogramChunks, canonical
from native_rows import STALE, Growing, Row, bits, columns, rows_of

RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))
START = 1_700_000_000_000
SMALL = bits(2.0**-128)
WHOLE = [
    Row(hint=2, schema=3, threshold_bits=SMALL, zero_count=1, count=4, sum_bits=bits(1.5), positive=((5, 2),),
        buckets=(1, 2)),
    STALE,
    Row(hint=2, schema=3, threshold_bits=SMALL, zero_count=1, count=8, sum_bits=bits(2.5), positive=((4, 3),),
        negative=((-1, 1),), buckets=(1, 2, 3, 1)),
]  # fmt: skip
DOUBLES = [
    Row(flags=1, start_ms=1000, schema=-53, count=bits(9.0), sum_bits=bits(0.1), positive=((0, 2),),
        buckets=(bits(0.5), bits(1.5)), bounds_bits=(bits(0.25), bits(2.5))),
]  # fmt: skip
CHUNKS = [
    # Bits, schema, threshold, bounds, number of layouts, layouts; then times and columns.
    (
        WHOLE,
        "06 03 000000000000f037 00 02 01000a02 010108030101",
        "0380a0abfef9629875070000010002000482040100070001041e0a010002000200000000010002000201000200040100020000010002",
    ),
    (
        DOUBLES,
        "01 cb 0000000000000000 02 0700020432e1010002 01 01000002",
        "0180a0abfef96200d00f0a0020009a9999999999b93f0200200804002006224004002006e03f04002006f83f",
    ),
]
RECORD = (
    "030000000300000006000000000000000068e5cf8b01000001070707020000983a3075000000000000000000010002000102"
    "00020103000308000000000000f0370000000000000000000000000000f037010100010104000808000000000000f83f0200"
    "00000000f07f0000000000000440010100010101000201020004000000000000000000010504ff0102030101010201020301"
    "08"
)


def chunks_of(data: bytes, rows: int) -> HistogramChunks:
    """Return one chunk of series 7."""
    buf = padded(data)
    count, first, last = (np.array([value], np.int64) for value in (rows, START, START + (rows - 1) * 15_000))
    places, firsts = np.array([0, len(data)], np.int64), np.array([0, 1], np.int64)
    return HistogramChunks("golden", np.array([7], np.int32), firsts, count, first, last, places, buf)


def with_places(rows: list[Row]) -> list[tuple[int, int, Row]]:
    return [(7, START + i * 15_000, row) for i, row in enumerate(rows)]


@pytest.mark.parametrize(("rows", "head", "rest"), CHUNKS)
def test_chunks(rows: list[Row], head: str, rest: str) -> None:
    """Golden chunks are read; what comes before the columns, whose forms may get better, is written as it was."""
    data = bytes.fromhex(head + rest)
    assert rows_of(chunks_of(data, len(rows)).read(np.array([7], np.int32), 0, 1 << 60)) == with_places(rows)
    series, times, _ = zip(*with_places(rows), strict=True)
    written = HistogramChunks.of("golden", canonical(columns(series, times, rows)))
    assert bytes(written.buf).startswith(bytes.fromhex(head))


def test_record() -> None:
    """A golden record is read, and written as it was."""
    data = bytes.fromhex(RECORD)
    assert rows_of(histogram_records.decode(data)) == with_places(WHOLE)
    series, times, _ = zip(*with_places(WHOLE), strict=True)
    assert histogram_records.encode(canonical(columns(series, times, WHOLE))) == data


def test_records_are_lossless() -> None:
    """Any histograms, none included, come back."""
    pick = random.Random(2)
    for n in (0, 1, 50):
        growing = [Growing(pick) for _ in range(3)]
        given = [(pick.randrange(1 << 31), pick.randrange(1 << 62), pick.choice(growing).next()) for _ in range(n)]
        made = columns([s for s, _, _ in given], [t for _, t, _ in given], [row for _, _, row in given])
        assert rows_of(histogram_records.decode(histogram_records.encode(made))) == given


@pytest.mark.fuzz
def test_mutated_records() -> None:
    """A damaged record is read as something, or refused; nothing else happens."""
    pick = random.Random(4)
    refused = 0
    for _ in range(RUNS):
        data = bytearray.fromhex(RECORD)
        for _ in range(pick.randint(1, 3)):
            data[pick.choice([pick.randrange(24), pick.randrange(len(data))])] = pick.randrange(256)
        try:
            canonical(histogram_records.decode(data[: len(data) - pick.choice([0, 0, 1, 9])]))
        except (CorruptChunk, InvalidInput):
            refused += 1
    assert refused > RUNS // 3


@pytest.mark.parametrize("at", range(4))
def test_records_that_claim_too_much(at: int) -> None:
    """Numbers that the bytes cannot hold are refused before memory is taken."""
    data = bytearray.fromhex(RECORD)
    data[4 * at : 4 * at + 4] = b"\xff\xff\xff\x7f"
    with pytest.raises(CorruptChunk, match="histograms record"):
        histogram_records.decode(data)
