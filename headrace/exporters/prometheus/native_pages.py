"""Native histograms on pages.

Messages have them whole. Text has no place for exponential buckets: of such a histogram it shows count and sum, and the
one bucket that has all; those with custom buckets are shown as classic ones.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from headrace.exporters.prometheus.families import Family
from headrace.exporters.prometheus.labels import field, text_label, varint
from headrace.exporters.prometheus.layout import header
from headrace.exporters.prometheus.negotiation import Kind
from headrace.kernels.float_text import format_canonical
from headrace.pipeline.identity import MetricType
from headrace.pipeline.native_histograms import CUSTOM_BUCKETS, NativeFlag, ResetHint
from headrace.pipeline.wire.name_escaping import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from headrace.exporters.prometheus.layout import Layout
    from headrace.exporters.prometheus.negotiation import Format
    from headrace.exporters.prometheus.snapshot import Snapshot
    from headrace.pipeline.native_histograms import NativeHistograms

_DOUBLE = struct.Struct("<Bd").pack
Number = int | float


def native_text(layout: Layout, snapshot: Snapshot, form: Format, *, timed: bool) -> bytes:
    """Return the lines of the histograms; none of those whose family has classic lines already."""
    shown = {layout.names.texts[row] for row in np.unique(layout.rows).tolist()}
    parts: list[bytes] = []
    for (name, _), rows in _families(layout, snapshot):
        if f"{name}_count" in shown:
            continue
        parts.append(header(replace(_known(layout, name), type=MetricType.HISTOGRAM), form))
        for row in rows:
            parts += _lines(layout, snapshot, row, name, form, timed=timed)
    return b"".join(parts)


def native_messages(layout: Layout, snapshot: Snapshot, form: Format, *, timed: bool) -> bytes:
    """Return the histograms as ``MetricFamily`` messages, each behind its length."""
    parts: list[bytes] = []
    for (name, kind), rows in _families(layout, snapshot):
        members = [_metric(layout, snapshot, row, timed=timed) for row in rows]
        body = header(replace(_known(layout, name), type=kind), form) + b"".join(members)
        parts.append(varint(len(body)) + body)
    return b"".join(parts)


def _families(layout: Layout, snapshot: Snapshot) -> Iterator[tuple[tuple[str, MetricType], Iterator[int]]]:
    """Yield names and types with the rows of their histograms; only those whose labels are written."""
    shape, native = layout.by_id, snapshot.natives
    known = native.series < min(len(shape.names), len(shape.sizes))
    names = np.where(known, shape.names[np.where(known, native.series, 0)], -1).tolist()
    texts = shape.name_texts

    def key(row: int) -> tuple[str, MetricType]:
        gauge = native.hint[row] == ResetHint.GAUGE
        return texts[names[row]], MetricType.GAUGE_HISTOGRAM if gauge else MetricType.HISTOGRAM

    rows = [row for row, name in enumerate(names) if name >= 0 and shape.sizes[native.series[row]] >= 0]
    return groupby(sorted(rows, key=key), key=key)


def _known(layout: Layout, name: str) -> Family:
    """Return what is known about a family, by its own name."""
    found = layout.names.families[layout.by_id.name_texts.index(name)]
    return Family(name, found.type, found.help, found.unit)


def _labels(layout: Layout, series: int) -> bytes:
    place, size = int(layout.by_id.places[series]), int(layout.by_id.sizes[series])
    return layout.labels[place : place + size].tobytes()


def _lines(
    layout: Layout, snapshot: Snapshot, row: int, name: str, form: Format, *, timed: bool
) -> Iterator[bytes]:  # fmt: skip
    native = snapshot.natives
    own = _labels(layout, int(native.series[row]))
    time = _time(int(native.time_ms[row]), form) if timed else b""
    for suffix, bound, value in _classic(native, row):
        head = escape(name + suffix, form.scheme)
        labels = b",".join(filter(None, (own, text_label("le", bound) if bound else b"")))
        quoted = head != escape(head, "underscores")
        start = b'{"%s"' % head.encode() if quoted else head.encode()
        inner = (b"," if quoted else b"{") + labels if labels else b""
        yield b"".join(
            (start, inner, b"}" if labels or quoted else b"", b" ", _number_text(float(value), form), time, b"\n")
        )


def _number_text(value: float, form: Format) -> bytes:
    text = format_canonical(value)
    return (text if form.kind is Kind.OPENMETRICS else text.removesuffix(".0")).encode()


def _time(time_ms: int, form: Format) -> bytes:
    if form.kind is not Kind.OPENMETRICS:
        return b" %d" % time_ms
    return b" %s%d.%03d" % (b"-" if time_ms < 0 else b"", abs(time_ms) // 1000, abs(time_ms) % 1000)


def _classic(native: NativeHistograms, row: int) -> Iterator[tuple[str, str, Number]]:
    """Yield suffix, bound and value of the lines of a histogram."""
    total = _numbers(native, native.count[row : row + 1], row)[0]
    if native.schema[row] == CUSTOM_BUCKETS:
        for bound, count in _cumulated(native, row):
            yield "_bucket", format_canonical(bound), count
    yield "_bucket", "+Inf", total
    yield "_sum", "", float(native.sum[row])
    yield "_count", "", total


def _cumulated(native: NativeHistograms, row: int) -> Iterator[tuple[float, Number]]:
    """Yield the upper bounds of custom buckets, with the counts up to each."""
    bounds = native.bounds[native.bound_starts[row] : native.bound_starts[row + 1]].tolist()
    counts: dict[int, Number] = {}
    found = iter(_bucket_counts(native, row))
    index = 0
    for offset, length in _spans(native, row):
        index += offset
        for _ in range(length):
            counts[index] = next(found)
            index += 1
    total: Number = 0
    for number, bound in enumerate(bounds):
        total += counts.get(number, 0)
        yield bound, total


def _numbers(native: NativeHistograms, bits: NDArray[np.uint64], row: int) -> list[Number]:
    floats = bool(native.flags[row] & NativeFlag.FLOAT_COUNTS)
    found: list[Number] = (bits.view(np.float64) if floats else bits).tolist()
    return found


def _bucket_counts(native: NativeHistograms, row: int) -> list[Number]:
    return _numbers(native, native.buckets[native.bucket_starts[row] : native.bucket_starts[row + 1]], row)


def _spans(native: NativeHistograms, row: int) -> list[list[int]]:
    found: list[list[int]] = native.spans[native.span_starts[row] : native.span_starts[row + 1]].tolist()
    return found


def _metric(layout: Layout, snapshot: Snapshot, row: int, *, timed: bool) -> bytes:
    native = snapshot.natives
    is_custom = native.schema[row] == CUSTOM_BUCKETS
    parts = [_count(1, 4, _numbers(native, native.count[row : row + 1], row)[0]), _DOUBLE(17, native.sum[row])]
    parts += _classic_buckets(native, row) if is_custom else _native_buckets(native, row)
    start_ms = int(native.start_ms[row])
    if start_ms > 0:
        moment = b"\x08" + varint(start_ms // 1000) + b"\x10" + varint(start_ms % 1000 * 1_000_000)
        parts.append(field(0x7A, moment))
    time = b"\x30" + varint(int(native.time_ms[row]) & (1 << 64) - 1) if timed else b""
    own = _labels(layout, int(native.series[row]))
    return field(0x22, own + field(0x3A, b"".join(parts)) + time)


def _classic_buckets(native: NativeHistograms, row: int) -> Iterator[bytes]:
    for bound, count in _cumulated(native, row):
        yield field(0x1A, _count(1, 4, count) + _DOUBLE(17, bound))


def _native_buckets(native: NativeHistograms, row: int) -> Iterator[bytes]:
    zeros = _numbers(native, native.zero_count[row : row + 1], row)[0]
    spans, counts = _spans(native, row), _bucket_counts(native, row)
    split = int(native.positive_spans[row])
    positive = sum(length for _, length in spans[:split])
    yield b"\x28" + varint(_zigzag(int(native.schema[row])))
    yield _DOUBLE(49, native.zero_threshold[row])
    yield _count(7, 8, zeros)
    yield from _side(9, spans[split:], counts[positive:])
    yield from _side(12, spans[:split], counts[:positive])
    if not spans:
        # An empty span tells a native histogram without buckets from a classic one.
        yield field(0x62, b"\x08\x00\x10\x00")


def _side(first: int, spans: Sequence[Sequence[int]], counts: Sequence[Number]) -> Iterator[bytes]:
    """Yield the fields of one side: spans, then deltas of integers or doubles; `first` is the field of the spans."""
    for offset, length in spans:
        yield field(first << 3 | 2, b"\x08" + varint(_zigzag(offset)) + b"\x10" + varint(length))
    before = 0
    for count in counts:
        if isinstance(count, float):
            yield _DOUBLE((first + 2) << 3 | 1, count)
        else:
            yield bytes([(first + 1) << 3]) + varint(_zigzag(count - before))
            before = count


def _count(whole: int, fraction: int, value: Number) -> bytes:
    """Return a count in the field for integers, or in that for doubles."""
    if isinstance(value, float):
        return _DOUBLE(fraction << 3 | 1, value)
    return bytes([whole << 3]) + varint(value)


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1
