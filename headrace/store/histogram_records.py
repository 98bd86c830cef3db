"""Records of native histograms in the log: columns, each as narrow as its values are. Layout: docs/format/wal.md."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.errors import CorruptChunk
from headrace.pipeline.native_histograms import NativeHistograms

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HEAD = struct.Struct("<IIIIq")
"""Histograms, spans, buckets, bounds, time of the first histogram."""

_SAME = 0
"""In place of a width: one value of eight bytes, which all rows have."""

_WIDTHS = (1, 2, 4, 8)

_ROWS: tuple[tuple[str, str], ...] = (
    ("time", "i"), ("start_ms", "i"), ("flags", "u"), ("hint", "u"), ("schema", "i"), ("zero_threshold", "f"),
    ("zero_count", "u"), ("count", "u"), ("sum", "f"), ("positive_spans", "i"),
    ("span_counts", "u"), ("bucket_counts", "u"), ("bound_counts", "u"),
)  # fmt: skip
"""Columns with one value a histogram, and their kinds: signed, unsigned, bits of doubles."""


def encode(histograms: NativeHistograms) -> bytes:
    """Write histograms."""
    one = histograms
    first = int(one.time_ms[0]) if len(one) else 0
    derived = {
        "time": one.time_ms - first,
        "span_counts": np.diff(one.span_starts),
        "bucket_counts": np.diff(one.bucket_starts),
        "bound_counts": np.diff(one.bound_starts),
    }
    parts = [_HEAD.pack(len(one), len(one.spans), len(one.buckets), len(one.bounds), first), _put(one.series, "i")]
    parts += [_put_row(derived[name] if name in derived else getattr(one, name), kind) for name, kind in _ROWS]
    parts += [_put(one.spans[:, 0], "i"), _put(one.spans[:, 1], "u"), _put(one.buckets, "u"), _put(one.bounds, "f")]
    return b"".join(parts)


def _put_row(column: NDArray[np.generic], kind: str) -> bytes:
    words = _words(column, kind)
    if len(words) and bool((words == words[0]).all()):
        return bytes([_SAME]) + words[:1].tobytes()
    return _put(column, kind)


def _put(column: NDArray[np.generic], kind: str) -> bytes:
    words = _words(column, kind)
    narrow = words if kind == "f" else next(
        cast for width in _WIDTHS
        if (cast := words.astype(f"<{kind}{width}")).itemsize == words.itemsize or bool((cast == words).all())
    )  # fmt: skip
    return bytes([narrow.itemsize]) + narrow.tobytes()


def _words(column: NDArray[np.generic], kind: str) -> NDArray[np.generic]:
    """Return a column as 64-bit integers."""
    if kind == "f":
        return column.view(np.uint64)
    return column.astype(np.int64 if kind == "i" else np.uint64)


class _Reader:
    """Reads columns one after the other."""

    def __init__(self, payload: bytes | bytearray | memoryview) -> None:
        self._payload = payload
        self.at = _HEAD.size

    def column(self, n: int, kind: str, *, may_repeat: bool = False) -> NDArray[np.generic]:
        """Return the next column, as 64-bit integers.

        Raises:
            CorruptChunk: It does not lie in the record.
        """
        width = self._payload[self.at] if self.at < len(self._payload) else -1
        repeats = may_repeat and width == _SAME and n > 0
        size = 8 if repeats else n * width
        if (width not in _WIDTHS and not repeats) or self.at + 1 + size > len(self._payload):
            raise CorruptChunk(f"histograms record: a column of width {width} does not hold {n} values")
        letter = "u" if kind == "f" else kind
        dtype = np.dtype(f"<{letter}{8 if repeats else width}")
        found = np.frombuffer(self._payload, dtype, 1 if repeats else n, self.at + 1)
        self.at += 1 + size
        wide: NDArray[np.generic] = found.astype(f"{letter}8")
        return np.repeat(wide, n) if repeats else wide


def decode(payload: bytes | bytearray | memoryview) -> NativeHistograms:
    """Read what `encode` wrote; whether rows are what they should be, `canonical` checks.

    Raises:
        CorruptChunk: The columns are not what the head says.
    """
    if len(payload) < _HEAD.size:
        raise CorruptChunk("histograms record: shorter than its head")
    n, spans, buckets, bounds, first = _HEAD.unpack_from(payload)
    reader = _Reader(payload)
    series = reader.column(n, "i").astype(np.int32)
    rows = {name: reader.column(n, kind, may_repeat=True) for name, kind in _ROWS}
    offsets, lengths = reader.column(spans, "i"), reader.column(spans, "u")
    found_buckets, found_bounds = reader.column(buckets, "u"), reader.column(bounds, "f")
    if reader.at != len(payload):
        raise CorruptChunk(f"histograms record: {len(payload) - reader.at} bytes too many")
    return NativeHistograms(
        series=series, time_ms=rows["time"].astype(np.int64) + first, start_ms=rows["start_ms"].astype(np.int64),
        flags=rows["flags"].astype(np.uint8), hint=rows["hint"].astype(np.uint8),
        schema=rows["schema"].astype(np.int8), zero_threshold=rows["zero_threshold"].view(np.float64),
        zero_count=rows["zero_count"].astype(np.uint64), count=rows["count"].astype(np.uint64),
        sum=rows["sum"].view(np.float64), positive_spans=rows["positive_spans"].astype(np.int32),
        span_starts=_starts(rows["span_counts"], spans),
        spans=np.stack([offsets.astype(np.int32), lengths.astype(np.int32)], axis=1),
        bucket_starts=_starts(rows["bucket_counts"], buckets), buckets=found_buckets.astype(np.uint64),
        bound_starts=_starts(rows["bound_counts"], bounds), bounds=found_bounds.view(np.float64),
    )  # fmt: skip


def _starts(counts: NDArray[np.generic], total: int) -> NDArray[np.int64]:
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts.astype(np.int64), out=starts[1:])
    if bool((np.diff(starts) < 0).any()) or starts[-1] != total or int(counts.max(initial=0)) > total:
        raise CorruptChunk(f"histograms record: rows of {int(starts[-1])} values, of which there are {total}")
    return starts
