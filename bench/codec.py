"""The codec beside Gorilla's: values a second, both ways, and bytes a value, for each class of `bench.value_classes`.

Chunks are as long as those of blocks (960) and of the head (40). Values decode straight into an array of doubles, as a
query gets them; one thread, seconds of CPU. ``python -m bench.codec`` prints a table.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench import codec_kernels, gorilla_kernels
from bench.value_classes import CLASSES, TIMES
from headrace.store.codec.chunk_kernels import max_size
from headrace.store.codec.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

LENGTHS = (960, 40)
"""Samples of a chunk: in a block, in the head."""

_SAMPLES = 384_000
_ROUNDS = 7
_SEED = 20


class Figures(NamedTuple):
    """What one codec does with one class.

    Attributes:
        bytes: Bytes a value.
        encode: Values encoded a second.
        decode: Values decoded a second.
    """

    bytes: float
    encode: float
    decode: float


def _quickest(work: Callable[[], object], values: int) -> float:
    """Return values a second of CPU; the first call compiles, the quickest of the rest counts."""
    work()
    best = np.inf
    for _ in range(_ROUNDS):
        began = time.thread_time_ns()
        work()
        best = min(best, time.thread_time_ns() - began)
    return values / best * 1e9


def _ours(rows: NDArray[Any], *, values: bool) -> Figures:
    chunks, length = rows.shape
    buf = np.zeros(chunks * int(max_size(length)) + 16, np.uint8)
    places = np.zeros(chunks + 1, np.int64)
    room = scratch()
    out = np.empty_like(rows)
    encode = codec_kernels.encode_all_values if values else codec_kernels.encode_all_times
    decode = codec_kernels.decode_all_values if values else codec_kernels.decode_all_times
    encoded = _quickest(lambda: encode(rows, buf, places, room), rows.size)
    decoded = _quickest(lambda: decode(buf, places, out, room), rows.size)
    _check(rows, out)
    return Figures(int(places[-1]) / rows.size, encoded, decoded)


def _gorilla(rows: NDArray[Any], *, values: bool) -> Figures:
    chunks, length = rows.shape
    words = np.zeros(chunks * (2 * length + 8), np.uint64)
    places = np.zeros(chunks + 1, np.int64)
    out = np.empty_like(rows)
    encode = gorilla_kernels.encode_all_values if values else gorilla_kernels.encode_all_times
    decode = gorilla_kernels.decode_all_values if values else gorilla_kernels.decode_all_times

    def encode_anew() -> None:
        words[: places[-1]] = 0
        encode(rows, words, places)

    encoded = _quickest(encode_anew, rows.size)
    decoded = _quickest(lambda: decode(words, places, out), rows.size)
    _check(rows, out)
    # Each column ends in an unused part of a word and one more, which are not its fault.
    return Figures(8 * (int(places[-1]) - 1.5 * chunks) / rows.size, encoded, decoded)


def _check(rows: NDArray[Any], out: NDArray[Any]) -> None:
    if not np.array_equal(rows.view(np.uint64), out.view(np.uint64)):
        raise AssertionError("bug: what was decoded is not what was encoded")


def measure(length: int) -> dict[str, tuple[Figures, Figures]]:
    """Return the figures of both codecs, ours first, for each class and each kind of timestamps."""
    chunks = _SAMPLES // length
    out = {}
    for name, make in CLASSES.items():
        values = make(np.random.default_rng(_SEED), max(chunks // (960 // length), 1), 960)
        rows = np.ascontiguousarray(values.reshape(-1, length))
        out[name] = _ours(rows, values=True), _gorilla(rows, values=True)
    for name, make_times in TIMES.items():
        rng = np.random.default_rng(_SEED)
        times = np.stack([make_times(rng, length) for _ in range(chunks)])
        out[f"{name}_times"] = _ours(times, values=False), _gorilla(times, values=False)
    return out


def run() -> dict[str, float]:
    """Measure; names are class, length of the chunk, codec, and the unit."""
    out = {}
    for length in LENGTHS:
        for name, both in measure(length).items():
            for codec, figures in zip(("headrace", "gorilla"), both, strict=True):
                out[f"{name}_{length}_{codec}_bytes_per_value"] = round(figures.bytes, 4)
                out[f"{name}_{length}_{codec}_encode_values_per_s"] = round(figures.encode)
                out[f"{name}_{length}_{codec}_decode_values_per_s"] = round(figures.decode)
    return out


def main() -> None:
    """Print a table."""
    for length in LENGTHS:
        print(f"\nchunks of {length}: bytes a value, million values a second encoded and decoded; Gorilla's beside")
        for name, both in measure(length).items():
            cells = [f"{f.bytes:7.3f} {f.encode / 1e6:6.0f} {f.decode / 1e6:6.0f}" for f in both]
            print(f"{name:16s} {' | '.join(cells)}")


if __name__ == "__main__":
    main()
