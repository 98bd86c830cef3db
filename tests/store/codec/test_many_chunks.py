"""The codec on many random chunks: every bit comes back, whole and in windows, and damaged bytes do no harm.

``HEADRACE_CHUNKS`` sets how many chunks the round trip runs; a million take about a minute.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headrace.kernels.jit import DISABLED
from headrace.store.codec.chunk_kernels import max_size
from headrace.store.codec.integers_kernels import CORRUPT
from headrace.store.codec.scratch import MAX_SAMPLES, scratch
from headrace.store.codec.times_kernels import decode_times
from headrace.store.codec.values_kernels import decode_values, encode_values
from round_trip_kernels import UNTOUCHED, differences

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CHUNKS = int(os.environ.get("HEADRACE_CHUNKS", "60" if DISABLED else "20000"))
FUZZ_RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))
PIECES = 8 if DISABLED else 100
CHUNKS_OF_A_POOL = 4000
WALL = 16 * mmap.PAGESIZE
SLACK = 16
"""Readable bytes that decoders are promised after a column."""

SPECIAL = np.array(
    [
        0x7FF0000000000002,  # the stale marker
        0x7FF8000000000001, 0xFFF8000000000000, 0x7FFFFFFFFFFFFFFF, 0xFFF0000000000001,  # NaN
        0x7FF0000000000000, 0xFFF0000000000000, 0x8000000000000000, 0,  # ±Inf, ±0
        1, 0x000FFFFFFFFFFFFF, 0x8000000000000001,  # subnormal
        0x7FEFFFFFFFFFFFFF, 0xFFEFFFFFFFFFFFFF,  # largest
        0x4340000000000000, 0x43DFFFFFFFFFFFFF, 0xC3E0000000000000,  # 2^53, below 2^63, -2^63
    ],
    np.uint64,
)  # fmt: skip


def _counter(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return (rng.integers(0, 10**9) + np.cumsum(rng.poisson(rng.lognormal(3, 3), n))).astype(np.float64)


def _scaled(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Multiples of something, over powers of ten."""
    unit = int(rng.choice([1, 3, 7, 512, 4096]))
    walk = np.cumsum(rng.integers(-50, 50, n)) * unit
    return np.asarray(walk / 10.0 ** int(rng.integers(0, 23)))


def _few(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return np.asarray(rng.choice(_bits(rng, int(rng.integers(1, 12))), n))


def _rare(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Jumps among nothing, up to the largest integers."""
    jumps = rng.integers(-(10 ** int(rng.integers(1, 18))), 10**18, n) * (rng.random(n) < 0.05)
    return np.cumsum(jumps).astype(np.float64)


def _bits(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return rng.integers(0, 2**64, n, np.uint64).view(np.float64)


def _integers_at_the_edge(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Whole numbers around 2^53 and 2^63."""
    edge = float(rng.choice([2.0**53, -(2.0**53), 2.0**63, -(2.0**63), 9.0e15]))
    return np.asarray(edge + rng.integers(-3000, 3000, n) * float(rng.choice([1.0, 2.0, 1024.0, 2048.0])), np.float64)


def _neighbours(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Bit patterns close to each other, across zero and infinity too."""
    start = np.uint64(rng.choice(SPECIAL))
    return (start + rng.integers(0, 1 << int(rng.integers(1, 60)), n, np.uint64)).view(np.float64)


def _specials(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return np.asarray(rng.choice(SPECIAL, n)).view(np.float64)


def _noise(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return rng.lognormal(rng.normal(0, 100), rng.random() * 2, n)


KINDS: tuple[Callable[[np.random.Generator, int], NDArray[np.float64]], ...] = (
    _counter, _scaled, _few, _rare, _bits, _integers_at_the_edge, _neighbours, _specials, _noise,
)  # fmt: skip


def random_values(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Return values of one kind, often with a piece of another, often with some special ones."""
    values = KINDS[rng.integers(len(KINDS))](rng, n).copy()
    if rng.random() < 0.3:
        first, last = np.sort(rng.integers(0, n + 1, 2))
        values[first:last] = KINDS[rng.integers(len(KINDS))](rng, int(last - first))
    if rng.random() < 0.3:
        where = rng.random(n) < rng.choice([0.002, 0.02, 0.2])
        values[where] = _specials(rng, int(where.sum()))
    return values


def random_gaps(rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    """Return times between samples: even, some late, jittered, or anything that a thousand of do not overflow."""
    kind = rng.integers(4)
    if kind == 3:
        return rng.integers(1, 1 << int(rng.integers(1, 51)), n)
    step = int(rng.choice([1, 1000, 15_000, 3_600_000]))
    off = np.zeros(n + 1, np.int64)
    if kind == 1:
        off = rng.integers(0, min(step, 20), n + 1) * (rng.random(n + 1) < 0.02)
    if kind == 2:
        off = rng.integers(0, step, n + 1)
    return np.asarray(step + np.diff(off))


def random_length(rng: np.random.Generator) -> int:
    """Return 1 to 1024, often short, often around a block of integers."""
    kind = rng.integers(4)
    if kind == 0:
        return int(rng.integers(1, 8))
    if kind == 1:
        return int(rng.choice([40, 126, 127, 128, 129, 130, 131, 256, 257, 258, 385, 960, 1023, 1024]))
    return int(rng.integers(1, 200 if kind == 2 else MAX_SAMPLES + 1))


def pool(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return values and gaps, pieces of all kinds one after the other, that chunks are cut from."""
    lengths = [random_length(rng) for _ in range(PIECES)]
    values = np.concatenate([random_values(rng, n) for n in [*lengths, MAX_SAMPLES]])
    rng.shuffle(lengths)
    return values, np.concatenate([random_gaps(rng, n) for n in [*lengths, MAX_SAMPLES]])


def random_chunks(rng: np.random.Generator, n: int, places: int) -> NDArray[np.int64]:
    """Return `n` rows as `round_trip_kernels.differences` takes them; every other chunk is read whole."""
    sizes = np.array([random_length(rng) for _ in range(64)])[rng.integers(0, 64, n)]
    windows = np.sort(rng.integers(0, sizes[:, None] + 1, (n, 2)), 1)
    whole = rng.random(n) < 0.5
    windows[whole, 0] = 0
    windows[whole, 1] = sizes[whole]
    times = np.where(rng.random(n) < 0.5, 1_700_000_000_000, rng.integers(-(2**61), 2**61, n))
    return np.stack([rng.integers(0, places, n), sizes, times, *windows.T, rng.integers(0, 8, n)], 1)


@pytest.mark.timeout(300 + CHUNKS // 500)
def test_every_bit_comes_back() -> None:
    """Values and times, the column as a whole and any window of it; nothing else is written."""
    rng = np.random.default_rng(int(os.environ.get("HEADRACE_SEED", "1")))
    untouched = float(UNTOUCHED.view(np.float64))
    buf = np.empty(max_size(MAX_SAMPLES) + SLACK, np.uint8)
    times, times_out = np.empty(MAX_SAMPLES, np.int64), np.empty(MAX_SAMPLES + 128, np.int64)
    out = np.full(MAX_SAMPLES + 16, untouched)
    for done in range(0, CHUNKS, CHUNKS_OF_A_POOL):
        values, gaps = pool(rng)
        chunks = random_chunks(rng, min(CHUNKS_OF_A_POOL, CHUNKS - done), len(values) - MAX_SAMPLES)
        assert differences(values, gaps, chunks, buf, times, times_out, out, untouched, scratch()) == 0, done


def test_a_difference_is_found() -> None:
    """The loop that looks for differences sees one: a place that the column must not write is not as it was."""
    rng = np.random.default_rng(3)
    values, gaps = pool(rng)
    chunks = random_chunks(rng, 3, len(values) - MAX_SAMPLES)
    buf = np.empty(max_size(MAX_SAMPLES) + SLACK, np.uint8)
    times, times_out = np.empty(MAX_SAMPLES, np.int64), np.empty(MAX_SAMPLES + 128, np.int64)
    out = np.full(MAX_SAMPLES + 16, float(UNTOUCHED.view(np.float64)))
    out[-1] = 1.0
    assert differences(values, gaps, chunks, buf, times, times_out, out, out[0], scratch()) == len(chunks)


def make_wall() -> NDArray[np.uint8]:
    """Return bytes that end where memory must not be read."""
    area = mmap.mmap(-1, WALL + mmap.PAGESIZE)
    whole = np.frombuffer(area, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(whole.ctypes.data + WALL), mmap.PAGESIZE, 0) == 0, ctypes.get_errno()
    return whole[:WALL]


def before_a_wall(data: NDArray[np.uint8], wall: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a copy of `data` that ends at the wall."""
    copy = wall[WALL - len(data) :]
    copy[:] = data
    return copy


@pytest.mark.fuzz
def test_damaged_columns() -> None:
    """Bytes changed or cut off: it decodes to something or says so, and touches nothing that is not its own."""
    rng = np.random.default_rng(2)
    wall = make_wall()
    room = scratch()
    corrupt = 0
    for _ in range(FUZZ_RUNS):
        n = random_length(rng)
        whole = np.zeros(max_size(n) + SLACK, np.uint8)
        values = random_values(rng, n)
        end = encode_values(values, n, whole, 0, room.words, room.integers, room.rest, room.widths)
        data = whole[:end].copy()
        # Most of what steers the decoder stands in front and at the beginning of each block of integers.
        reach = end if rng.random() < 0.5 else min(end, 24)
        for _ in range(int(rng.integers(1, 5))):
            data[rng.integers(reach)] = rng.integers(256) if rng.random() < 0.5 else rng.choice([0, 127, 128, 255])
        end = int(rng.integers(1, end + 1)) if rng.random() < 0.3 else end
        # Not a byte more than promised: a read beyond it ends the process.
        buf = before_a_wall(np.concatenate([data[:end], rng.integers(0, 256, SLACK).astype(np.uint8)]), wall)
        claimed = n if rng.random() < 0.8 else random_length(rng)
        first, last = np.sort(rng.integers(0, claimed + 1, 2)).tolist()
        out = np.full(last - first + 16, 7.25)
        status = decode_values(buf, 0, end, claimed, first, last, out, 8, room.integers, room.widths)
        assert status in (0, CORRUPT)
        assert (out[:8] == 7.25).all()
        assert (out[8 + last - first :] == 7.25).all()
        corrupt += status == CORRUPT
        times_out = np.empty(MAX_SAMPLES + 128, np.int64)
        assert decode_times(buf, 0, end, claimed, times_out, room.widths) <= end
    assert corrupt > FUZZ_RUNS // 20
