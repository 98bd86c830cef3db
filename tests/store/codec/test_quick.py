"""Columns that the head seals: written simply, read by the one reader, lossless."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.store.codec.chunk_kernels import max_size
from headrace.store.codec.quick_kernels import encode_values_quick
from headrace.store.codec.scratch import scratch
from headrace.store.codec.values_kernels import decode_values

_ODD = [0.0, -0.0, float("inf"), float("-inf"), 5e-324, -1e308, 2.0**53, 2.0**53 - 1, -(2.0**53), 0.1, 1e22]
_BITS = [0x7FF0000000000002, 0x7FF8000000000001, 0xFFF8000000000000]

floats = st.one_of(
    st.sampled_from(_ODD),
    st.sampled_from([float(np.uint64(bits).view(np.float64)) for bits in _BITS]),
    st.integers(-(2**53), 2**53).map(float),
    st.integers(-1000, 1000).map(lambda i: i * 4096.0),
    st.integers(-1000, 1000).map(lambda i: i / 100),
    st.floats(width=64),
)


def round_trip(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Return what reading gives, and the bytes taken."""
    room = scratch()
    out = np.zeros(int(max_size(len(values))) + 16, np.uint8)
    end = encode_values_quick(values, len(values), out, 0, room.words, room.integers)
    back = np.empty(len(values))
    assert decode_values(out, 0, end, len(values), 0, len(values), back, 0, room.integers, room.widths) == 0
    return back, int(end)


@given(st.lists(floats, min_size=1, max_size=128))
def test_every_bit_comes_back(values: list[float]) -> None:
    """Whatever the values are, mixed or alike."""
    column = np.array(values)
    back, _ = round_trip(column)
    assert back.view(np.uint64).tolist() == column.view(np.uint64).tolist()


@given(
    st.integers(-(2**50), 2**50),
    st.lists(st.integers(0, 2**20), min_size=1, max_size=127),
    st.sampled_from([1, 7, 4096]),
)
def test_counters_come_back(first: int, steps: list[int], unit: int) -> None:
    """Whole numbers that grow, with and without a divisor."""
    column = (first + unit * np.cumsum([0, *steps])).astype(np.float64)
    back, _ = round_trip(column)
    assert back.tolist() == column.tolist()


@pytest.mark.parametrize(
    ("values", "most"),
    [
        (np.full(40, 3.25), 11),
        (4096.0 * (1000 + np.arange(40) % 7), 40),
        (1e6 + 20.0 * np.arange(40) ** 1.5 // 1, 60),
        (np.round(50 + np.sin(np.arange(40)), 2), 60),
        (np.random.default_rng(1).random(40), 40 * 8 + 1),
    ],
    ids=["constant", "pages", "counter", "decimal", "random"],
)
def test_usual_columns_are_small(values: np.ndarray, most: int) -> None:
    """The simple forms find what is usual."""
    back, size = round_trip(values)
    assert (back == values).all()
    assert size <= most
