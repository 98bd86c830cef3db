"""Bytes a sample in blocks, by class of `bench.value_classes`: values, times and tables, without series and labels.

Six hours of series that are scraped every 15 seconds, 50 of them of one target, one scrape in fifty late: in blocks of
two hours, as the head writes them, and in one of six, as after a merge. ``python -m bench.block_bytes`` prints a table.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.value_classes import CLASSES, MIX, TIMES
from headrace.store.block import Block, BlockMeta
from headrace.store.block_writer import BlockWriter
from headrace.store.files import Files
from headrace.store.runs import Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCRAPES = 1440
"""Six hours."""

WINDOWS = {"2h": 480, "6h": SCRAPES}
"""Scrapes of a block."""

_SERIES = 1000
_SERIES_OF_A_TARGET = 50
_SEED = 3
_OLDEST, _NEWEST = -(1 << 60), 1 << 60


def samples(name: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the times and values of a class, both of shape (series, SCRAPES)."""
    rng = np.random.default_rng(_SEED)
    values = CLASSES[name](rng, _SERIES, SCRAPES)
    targets = -(-len(values) // _SERIES_OF_A_TARGET)
    times = np.stack([TIMES["late"](rng, SCRAPES) for _ in range(targets)])
    return np.repeat(times, _SERIES_OF_A_TARGET, 0)[: len(values)], values


def sizes(times: NDArray[np.int64], values: NDArray[np.float64], scrapes: int) -> dict[str, float]:
    """Return bytes a sample of the parts of blocks of some scrapes, after reading every bit back."""
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="headrace-blocks-") as directory:
        for number, first in enumerate(range(0, times.shape[1], scrapes), 1):
            window = slice(first, first + scrapes)
            block = _block(Path(directory) / f"{number:08d}.block", times[:, window], values[:, window])
            total.update(block.section_sizes())
    del total["series"], total["meta"]
    parts = {"values": total.pop("values"), "times": total.pop("times"), "tables": sum(total.values())}
    return {part: size / values.size for part, size in parts.items()}


def _block(path: Path, times: NDArray[np.int64], values: NDArray[np.float64]) -> Block:
    writer = BlockWriter(Files(), path)
    n, length = values.shape
    offsets = np.arange(n + 1, dtype=np.int64) * length
    writer.add(np.arange(1, n + 1, dtype=np.int32), Samples(offsets, times.flatten(), values.flatten()))
    writer.finish(BlockMeta("bench", writer.min_ms, writer.max_ms, writer.samples, writer.series), b"")
    block = Block(path)
    found = block.read(block.refs, _OLDEST, _NEWEST)
    if not np.array_equal(found.values.view(np.uint64), values.flatten().view(np.uint64)):
        raise AssertionError("bug: the block gives back other values")
    return block


def run() -> dict[str, float]:
    """Measure; the mix weighs the classes as `bench.value_classes.MIX` says."""
    out = {}
    for window, scrapes in WINDOWS.items():
        mix = 0.0
        for name in CLASSES:
            parts = sizes(*samples(name), scrapes)
            out.update({f"{name}_{window}_{part}_bytes_per_sample": round(size, 4) for part, size in parts.items()})
            mix += sum(parts.values()) * MIX[name] / sum(MIX.values())
        out[f"mix_{window}_bytes_per_sample"] = round(mix, 4)
    return out


def main() -> None:
    """Print a table."""
    figures = run()
    for window in WINDOWS:
        print(f"\nblocks of {window}: bytes a sample; of these values, times, tables")
        for name in CLASSES:
            parts = [figures[f"{name}_{window}_{part}_bytes_per_sample"] for part in ("values", "times", "tables")]
            print(f"{name:14s} {sum(parts):7.4f} | {' '.join(f'{part:7.4f}' for part in parts)}")
        print(f"{'mix':14s} {figures[f'mix_{window}_bytes_per_sample']:7.4f}")


if __name__ == "__main__":
    main()
