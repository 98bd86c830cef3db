"""The chunk codec: lossless to the bit, and safe on any bytes."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.store.codec.bitpack_kernels import pack, packed_size, unpack, width_of
from headrace.store.codec.chunk_kernels import decode, encode, max_size
from headrace.store.codec.integers_kernels import CORRUPT
from headrace.store.codec.scratch import scratch

RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))
FLOATS = st.one_of(
    st.floats(width=64),
    st.integers(0, 2**64 - 1).map(lambda bits: float(np.uint64(bits).view(np.float64))),
    st.integers(-1000, 1000).map(float),
    st.integers(-(10**6), 10**6).map(lambda i: i / 100),
    st.sampled_from([0.0, -0.0, 1e300, 5e-324, float("inf"), float("-inf")]),
)


def round_trip(times: np.ndarray, values: np.ndarray) -> int:
    """Encode and decode; return the bytes that the chunk takes."""
    n = len(times)
    buf = np.zeros(max_size(n) + 16, np.uint8)
    room = scratch()
    end = encode(times, values, n, buf, 3, room)
    assert end - 3 <= max_size(n)
    out_times, out_values = np.empty(n, np.int64), np.empty(n, np.float64)
    assert decode(buf, 3, end, n, out_times, out_values, 0, room) == n
    assert out_times.tolist() == times.tolist()
    assert out_values.view(np.uint64).tolist() == values.view(np.uint64).tolist()
    return int(end - 3)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 10**6), FLOATS), min_size=1, max_size=200),
    st.integers(-(2**40), 2**40),
)
def test_lossless(samples: list[tuple[int, float]], first: int) -> None:
    """Every bit pattern and every spacing of times comes back."""
    gaps = np.array([gap for gap, _ in samples], np.int64)
    round_trip(first + np.cumsum(gaps), np.array([value for _, value in samples], np.float64))


def test_special_values() -> None:
    """Stale markers, other NaNs, infinities and -0 among integers."""
    values = np.arange(100, dtype=np.float64)
    bits = values.view(np.uint64)
    bits[10] = 0x7FF0000000000002
    bits[20] = 0x7FF8000000000001
    bits[30] = 0xFFF8000000000000
    values[40], values[50], values[60] = -0.0, np.inf, -np.inf
    round_trip(np.arange(100, dtype=np.int64) * 15_000, values)


@pytest.mark.parametrize(
    ("values", "most"),
    [
        (np.full(1000, 7.25), 0.05),
        (np.arange(1000) * 3.0, 0.05),
        (1e9 + np.cumsum(np.arange(1000) % 7), 0.5),
        (np.round(np.sin(np.arange(1000)) * 100, 2), 2.1),
        (np.random.default_rng(1).random(1000), 7.3),
    ],
    ids=["constant", "regular counter", "counter", "two decimals", "noise"],
)
def test_sizes(values: np.ndarray, most: float) -> None:
    """Bytes a sample, at regular times."""
    size = round_trip(np.arange(1000, dtype=np.int64) * 15_000, values.astype(np.float64))
    assert size / 1000 <= most


@given(st.lists(st.integers(0, 2**64 - 1), min_size=0, max_size=100), st.integers(0, 7))
def test_bit_packing(values: list[int], pos: int) -> None:
    """Any width, at any byte."""
    words = np.array(values, np.uint64)
    width = max((int(width_of(np.uint64(value))) for value in values), default=0)
    buf = np.zeros(pos + packed_size(len(words), width) + 32, np.uint8)
    end = pack(words, 0, len(words), width, buf, pos)
    out = np.empty(len(words), np.int64)
    assert unpack(buf, pos, len(words), width, np.int64(0), out, 0) == end == pos + packed_size(len(words), width)
    assert out.view(np.uint64).tolist() == values


@pytest.mark.fuzz
def test_mutated_chunks() -> None:
    """A damaged chunk decodes to something or says that it is corrupt; nothing else happens."""
    generator = random.Random(5)
    n = 120
    room = scratch()
    corrupt = 0
    for run in range(RUNS):
        times = np.cumsum(np.array([generator.choice([15_000, 15_001]) for _ in range(n)], np.int64))
        values = np.array([generator.choice([1.5, 2.0, run, generator.random()]) for _ in range(n)], np.float64)
        buf = np.zeros(max_size(n) + 64, np.uint8)
        end = encode(times, values, n, buf, 0, room)
        for _ in range(generator.randint(1, 4)):
            buf[generator.randrange(min(int(end), 64))] = generator.randrange(256)
        cut = int(end) - generator.choice([0, 0, 1, 7, 20])
        found = decode(buf, 0, cut, n, np.empty(n, np.int64), np.empty(n, np.float64), 0, room)
        assert found in (CORRUPT, n)
        corrupt += found == CORRUPT
    assert corrupt > RUNS // 10
