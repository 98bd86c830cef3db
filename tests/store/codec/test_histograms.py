"""The codec of native histograms: lossless to the bit, and safe on any bytes."""

from __future__ import annotations

import os
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.pipeline.errors import CorruptChunk, InvalidInput
from headrace.store.codec import histograms_kernels as kernels
from headrace.store.codec.histograms import HistogramChunks, canonical
from headrace.store.codec.varint_kernels import put_varint
from native_rows import STALE, Growing, Row, bits, columns, rows_of

NO_JIT = os.environ.get("NUMBA_DISABLE_JIT") == "1"
RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))
SERIES = 10 if NO_JIT else 200
EVER = (-(1 << 62), 1 << 62)
ANY_COUNT = st.one_of(st.integers(0, 50), st.integers(0, 2**64 - 1))


def round_trip(series: list[int], times: list[int], rows: list[Row]) -> HistogramChunks:
    """Encode, decode and compare."""
    histograms = columns(series, times, rows)
    chunks = HistogramChunks.of("test", canonical(histograms))
    found = chunks.read(np.unique(histograms.series), *EVER)
    assert rows_of(found) == list(zip(series, times, rows, strict=True))
    return chunks


@st.composite
def layouts(draw: st.DrawFn) -> tuple[tuple[int, int], ...]:
    """Any spans, empty ones and neighbours included."""
    first = draw(st.integers(-(2**31), 2**31 - 1))
    rest = draw(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 4)), max_size=4))
    return ((first, draw(st.integers(0, 4))), *rest) if draw(st.booleans()) else ()


@st.composite
def histograms(draw: st.DrawFn) -> Row:
    """Any histogram."""
    positive, negative = draw(layouts()), draw(layouts())
    size = sum(length for _, length in (*positive, *negative))
    return Row(
        draw(st.integers(0, 1)), draw(st.integers(0, 3)), draw(st.integers(-(2**63), 2**63 - 1)),
        draw(st.integers(-128, 127)), draw(ANY_COUNT), draw(ANY_COUNT), draw(ANY_COUNT), draw(ANY_COUNT.filter(
            lambda b: b != STALE.sum_bits)), positive, negative,
        tuple(draw(st.lists(ANY_COUNT, min_size=size, max_size=size))), tuple(draw(st.lists(ANY_COUNT, max_size=3))),
    )  # fmt: skip


@settings(max_examples=20 if NO_JIT else 300)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 10**6), st.one_of(histograms(), st.just(STALE))), min_size=1)
)
def test_lossless(given_rows: list[tuple[int, int, Row]]) -> None:
    """Every bit of any histograms comes back, whatever follows what."""
    given_rows.sort(key=lambda row: row[0])
    times = np.cumsum([gap for _, gap, _ in given_rows]).tolist()
    round_trip([series for series, _, _ in given_rows], times, [row for _, _, row in given_rows])


def test_series_that_grow() -> None:
    """Layouts that grow, schemas that change, stale markers, and counts above 2^53; read by series and time."""
    pick = random.Random(3)
    series, times, rows = [], [], []
    for ref in range(SERIES):
        growing = Growing(pick)
        n = pick.choice([1, 2, 30, 239, 240, 241, 600]) if not NO_JIT else pick.choice([1, 5, 20])
        series += [3 * ref] * n
        times += (np.arange(n) * 15_000 + pick.randint(0, 10**6)).tolist()
        rows += [growing.next() for _ in range(n)]
    chunks = round_trip(series, times, rows)
    assert chunks.rows.max() <= kernels.MAX_ROWS
    everything = list(zip(series, times, rows, strict=True))
    for _ in range(20):
        refs = np.unique([pick.randrange(3 * SERIES) for _ in range(20)]).astype(np.int32)
        start, end = sorted(pick.randint(0, 10**7) for _ in range(2))
        wanted = [row for row in everything if row[0] in set(refs.tolist()) and start <= row[1] <= end]
        assert rows_of(chunks.read(refs, start, end)) == wanted
        assert refs[chunks.present(refs, start, end)].tolist() == sorted({row[0] for row in wanted})
    assert dict(zip(chunks.refs.tolist(), chunks.newest_ms().tolist(), strict=True)) == dict(
        zip(series, times, strict=True)
    )


def test_a_layout_that_grows_stays_in_one_chunk() -> None:
    """A new bucket, a span that splits and a stale marker between them cost no new chunk; a new schema does."""
    grown = [
        Row(schema=3, count=3, positive=((5, 2),), buckets=(1, 2)),
        Row(schema=3, count=6, positive=((4, 3),), buckets=(1, 2, 3)),
        STALE,
        Row(schema=3, count=6, positive=((4, 1), (0, 2)), negative=((9, 1),), buckets=(1, 2, 3, 0)),
        Row(schema=2, count=6, positive=((2, 2),), buckets=(3, 3)),
    ]
    chunks = round_trip([0] * 5, [1, 2, 3, 4, 5], grown)
    assert chunks.rows.tolist() == [4, 1]


def test_a_histogram_with_very_many_buckets() -> None:
    """What is too large to share a chunk has one of its own."""
    size = kernels.MAX_CELLS // 2 - 1 if not NO_JIT else 3000
    row = Row(count=size, positive=((0, size),), buckets=(1,) * size)
    chunks = round_trip([0] * 3, [1, 2, 3], [row] * 3)
    assert len(chunks.rows) == (2 if not NO_JIT else 1)


def test_size() -> None:
    """Bytes a histogram of 50 buckets whose counts grow by a few: near the entropy of what is new in it."""
    generator = np.random.default_rng(1)
    n, size = 240, 50
    counts = generator.poisson(np.exp(-(((np.arange(size) - 25) / 8) ** 2) / 2) * 20, (n, size)).cumsum(0)
    rows = [
        Row(schema=3, count=int(sum(row)), sum_bits=bits(0.0), positive=((-10, size),), buckets=tuple(row))
        for row in counts.tolist()
    ]
    chunks = round_trip([0] * n, (np.arange(n) * 15_000).tolist(), rows)
    assert chunks.places[-1] / n < 28


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"bucket_starts": np.array([0, 1], np.int64)}, "1 buckets"),
        ({"spans": np.array([[0, -2], [1, 4]], np.int32)}, r"\[0, -2\]"),
        ({"spans": np.array([[0, 1], [-1, 1]], np.int32)}, r"\[-1, 1\]"),
        ({"positive_spans": np.array([3], np.int32)}, "spans"),
        ({"hint": np.array([4], np.uint8)}, "hint 4"),
    ],
)
def test_rows_that_contradict_themselves(change: dict[str, np.ndarray], what: str) -> None:
    """Kernels trust the columns, so that they are checked first; the error shows the row."""
    good = columns([0], [1], [Row(positive=((0, 1), (1, 1)), buckets=(1, 1))])
    canonical(good)
    with pytest.raises(InvalidInput, match=what):
        canonical(replace(good, **change))


def _bomb(*numbers: int) -> np.ndarray:
    """Return a chunk whose tables claim sizes: bounds, layouts, positive spans, negative spans, offset, length."""
    buf = np.zeros(200, np.uint8)
    pos = 10
    for number in numbers:
        pos = int(put_varint(buf, pos, np.uint64(number)))
    return buf


@pytest.mark.parametrize(
    "numbers",
    [
        (1 << 40,), (1 << 17,), (0, 1 << 40), (0, 33), (0, 1, 1 << 40), (0, 1, 1, 1 << 62), (0, 1, 1, 0, 0, 1 << 31),
        (0, 1, 1, 0, 0, 4000), (0, 1, 2, 0, 0, 1, 1, 1), (0, 0),
    ],
    ids=str,
)  # fmt: skip
def test_size_bombs(numbers: tuple[int, ...]) -> None:
    """Sizes that the bytes cannot hold are refused before memory is taken."""
    buf = _bomb(*numbers)
    one = np.array([1], np.int64)
    places = np.array([0, len(buf) - 16], np.int64)
    chunks = HistogramChunks("bomb", np.zeros(1, np.int32), np.array([0, 1], np.int64), one, one, one, places, buf)
    with pytest.raises(CorruptChunk, match="bomb"):
        chunks.read(np.zeros(1, np.int32), *EVER)


@pytest.mark.fuzz
def test_mutated_chunks() -> None:
    """A damaged chunk decodes to something or says that it is corrupt; nothing else happens."""
    pick = random.Random(5)
    refs = np.zeros(1, np.int32)
    corrupt = 0
    for run in range(RUNS):
        if run % 50 == 0:
            growing = Growing(pick)
            n = pick.choice([1, 7, 12 if NO_JIT else 240])
            times = (np.arange(n) * 15_000).tolist()
            good = HistogramChunks.of("test", canonical(columns([0] * n, times, [growing.next() for _ in range(n)])))
        buf = good.buf.copy()
        size = int(good.places[-1])
        for _ in range(pick.randint(1, 4)):
            buf[pick.randrange(pick.choice([size, min(size, 40)]))] = pick.randrange(256)
        places = good.places.copy()
        places[-1] = max(size - pick.choice([0, 0, 1, 7, 20]), places[-2])
        bad = replace(good, buf=buf[: places[-1] + 16], places=places)
        try:
            found = bad.read(refs, *EVER)
            assert len(found) <= n
        except CorruptChunk:
            corrupt += 1
    assert corrupt > RUNS // 10
