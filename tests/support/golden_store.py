"""What the golden files of the store hold, and the program that writes them anew.

Usage: ``python tests/support/golden_store.py`` after a deliberate change of a format; the change of the page in
``docs/format`` belongs to it.
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import numpy as np

from headrace.store import records
from headrace.store.block import BlockMeta
from headrace.store.block_writer import BlockWriter
from headrace.store.codec.chunk_kernels import encode, max_size
from headrace.store.codec.scratch import scratch
from headrace.store.files import Files
from headrace.store.index import Index, LabelSets
from headrace.store.interfaces import Labels, MetadataRow, Record, SeriesBatch
from headrace.store.log import MAGIC
from headrace.store.log import encode as encode_record
from headrace.store.manifest import Manifest
from headrace.store.runs import Samples
from headrace.store.tombstones import Tombstone, Tombstones

GOLDEN = Path(__file__).parents[1] / "golden"
START = 1_700_000_000_000
LABELS: list[Labels] = [
    (("__name__", "requests_total"), ("code", "200")),
    (("__name__", "temperature"), ("place", "Zürich")),
    (("__name__", "up"),),
]
FAMILIES = [MetadataRow("requests_total", "counter", "Requests.", ""), MetadataRow("up", "gauge", "“Is up”", "")]
TOMBSTONES = Tombstones(
    (
        Tombstone(START, START + 60_000, 7, np.array([0, 2], np.int32)),
        Tombstone(-(1 << 63), (1 << 63) - 1, 9, np.array([1], np.int32)),
    )
)
MANIFEST = Manifest(3, START + 7_200_000, (4, 7, 8), 9, tuple(FAMILIES))


def bits(*patterns: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return doubles with these bits."""
    return np.array(patterns, np.uint64).view(np.float64)


def chunks() -> dict[str, tuple[list[int], np.ndarray[tuple[int], np.dtype[np.float64]]]]:
    """Return times and values that bring out the forms of columns, by what they are about."""
    n = np.arange(300)
    even = (START + 15_000 * n).tolist()
    jitter = (START + 15_000 * n + n * n % 7).tolist()
    wild = (n * 7919 % 1000).astype(np.float64)
    outliers = np.where(n % 50 == 49, 1e9, wild % 4)
    geometric = np.cumsum([1 << (i * 7919 % 11) for i in range(300)]).astype(np.float64)
    mixed = np.where(n % 29 == 3, np.nan, wild / 100)
    mixed[7] = -0.0
    mixed[8] = bits(0x7FF0000000000002)[0]
    full = 1.0 + (n * n * 48271 % 65537) / 65537
    return {
        "one": ([START], np.array([42.5])),
        "two": ([START, START + 1], np.array([1.0, -1.0])),
        "before 1970": ([-5, -3, -1], np.array([0.1, 0.2, 0.3])),
        "constant": (even, np.full(300, 0.1)),
        "zero": (even, np.zeros(300)),
        "counter": (even, 1000.0 + 15 * n),
        "quadratic": (even, (n * n).astype(np.float64)),
        "decimals": (jitter, wild / 100),
        "divisor": (jitter, wild * 4096),
        "two values": (even, (n % 7 == 0).astype(np.float64)),
        "now and then": (even, np.where(n % 4 == 1, 1_000_000 + wild % 16, 0.0)),
        "late scrapes": ((START + 15_000 * n + np.where(n % 40 == 7, n, 0)).tolist(), wild),
        "divided quadratic": (even, (n * n * 10).astype(np.float64)),
        "sparse": (even, np.where(n % 60 == 0, wild, 0.0)),
        "outliers": (even, outliers),
        "geometric": (even, geometric),
        "exceptions": (even, mixed),
        "patterns": (even, full),
        "raw": (even[:5], bits(1, 0xFFFFFFFFFFFFFFFF, 0x7FF0000000000001, 0x8000000000000000, 0x3FF123456789ABCD)),
        "stale": (even[:4], np.array([1.0, 1.0, bits(0x7FF0000000000002)[0], 1.0])),
    }


def chunk_file() -> bytes:
    """Return all chunks, each after its size as u32."""
    out = []
    for times, values in chunks().values():
        buf = np.zeros(int(max_size(len(times))), np.uint8)
        end = encode(np.array(times, np.int64), values, len(times), buf, 0, scratch())
        out.append(struct.pack("<I", end) + buf[:end].tobytes())
    return b"".join(out)


def index() -> Index:
    """Return an index of LABELS, refs 0 to 2."""
    made = Index()
    made.intern(LabelSets.of(LABELS))
    return made


def log_records() -> list[Record]:
    """Return a record of each kind."""
    refs = np.array([0, 1, 2], np.int32)
    near = SeriesBatch(refs, np.array([START, START - 5, START + 7], np.int64), np.array([1.0, -0.0, 21.5]))
    far = SeriesBatch(refs[:2], np.array([START, 5], np.int64), np.array([np.inf, 1e-300]))
    return [
        Record(records.SERIES, "default", index().encode(refs)),
        Record(records.METADATA, "default", records.encode_metadata(FAMILIES)),
        Record(records.SAMPLES, "default", records.encode_samples(near)),
        Record(records.LATE, "default", records.encode_samples(far)),
        Record(records.DELETED, "default", TOMBSTONES.encode()),
        Record(records.REMOVED, "other-workspace", b""),
    ]


def samples() -> Samples:
    """Return the samples of the block: three series, the third of two chunks."""
    kept = [chunks()["counter"], chunks()["exceptions"]]
    n = np.arange(1500)
    kept.append(((START + 15_000 * n).tolist(), (n % 5 == 0).astype(np.float64)))
    offsets = np.cumsum([0, *(len(times) for times, _ in kept)]).astype(np.int64)
    return Samples(
        offsets, np.concatenate([np.array(times, np.int64) for times, _ in kept]), np.concatenate([v for _, v in kept])
    )


def write_block(path: Path) -> None:
    """Write the block."""
    refs = np.array([0, 1, 2], np.int32)
    writer = BlockWriter(Files(), path)
    writer.add(refs, samples())
    meta = BlockMeta("default", writer.min_ms, writer.max_ms, writer.samples, writer.series, 1, (2, 3))
    writer.finish(meta, index().encode(refs))


def made() -> dict[str, bytes]:
    """Return the bytes of all golden files as the present code writes them."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        write_block(directory / "00000004.block")
        MANIFEST.write(Files(), directory)
        TOMBSTONES.write(Files(), directory)
        return {
            "segment.bin": MAGIC + b"".join(map(encode_record, log_records())),
            "chunks.bin": chunk_file(),
            "block.bin": (directory / "00000004.block").read_bytes(),
            "manifest.bin": (directory / "manifest.json").read_bytes(),
            "tombstones.bin": (directory / "tombstones").read_bytes(),
        }


if __name__ == "__main__":
    for name, data in made().items():
        (GOLDEN / name).write_bytes(data)
