"""Samples as pages that Prometheus scrapes: the text format, and protobuf for clients that take native histograms.

Source:
    Prometheus, "Exposition formats"; ``io.prometheus.client``, ``metrics.proto``; "Native Histograms" specification.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.float_text import format_canonical
from headrace.pipeline.native_histograms import CUSTOM_BUCKETS, ResetHint
from headrace.pipeline.wire.name_escaping import escape
from headrace.store.api.exposition_kernels import LINE, write_lines
from headrace.store.api.read_messages import delimited, label, varint
from headrace.store.promql.natives.float_histograms import as_doubles
from headrace.store.symbols import ABSENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from headrace.pipeline.native_histograms import NativeHistograms
    from headrace.store.labels import LabelTable

NAME = "__name__"
_LEGACY = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SPECIAL = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

_BOUND = "le"

Line = tuple[str, str | None, float]
"""One of a histogram's lines: suffix of the name, label ``le``, value."""

# Types of families, and their numbers in protobuf.
UNTYPED, HISTOGRAM, GAUGE_HISTOGRAM = 3, 4, 5
_TYPE_TEXT = {UNTYPED: "untyped", HISTOGRAM: "histogram", GAUGE_HISTOGRAM: "histogram"}


@dataclass(frozen=True, slots=True)
class Page:
    """n samples in the order of the page, all with a name.

    Attributes:
        labels: n label sets, not all distinct.
        added: Labels that follow those of the sample in each line: names with (n,) values, None where there is none.
        values: (n,) float64; meaningless for histograms.
        times_ms: (n,) int64.
        natives: Histograms.
        rows: (n,) int64 rows of `natives`; -1 for numbers.
        families: Name and type of the family of each sample, where they are not the sample's own.
    """

    labels: LabelTable
    added: Sequence[tuple[str, Sequence[str | None]]]
    values: NDArray[np.float64]
    times_ms: NDArray[np.int64]
    natives: NativeHistograms
    rows: NDArray[np.int64]
    families: Sequence[tuple[str, int]] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def names(self) -> list[str]:
        """Return the metric name of each sample."""
        return [self.labels.text(symbol) for symbol in self.labels.column(NAME).tolist()]

    def types(self) -> list[int]:
        """Return the type of the family that each sample is in."""
        gauges = self.natives.hint == ResetHint.GAUGE
        return [UNTYPED if row < 0 else GAUGE_HISTOGRAM if gauges[row] else HISTOGRAM for row in self.rows.tolist()]

    def firsts(self) -> list[int]:
        """Return the first sample of each family."""
        if self.families is None:
            names = self.labels.column(NAME)
            return np.flatnonzero(np.diff(names, prepend=ABSENT) != 0).tolist()
        before = [None, *self.families[:-1]]
        return [row for row, (one, other) in enumerate(zip(self.families, before, strict=True)) if one != other]

    def heading(self, row: int, scheme: str) -> bytes:
        """Return the line above a family that begins with a sample."""
        name, kind = self.families[row] if self.families else (self.labels.text(self.labels.column(NAME)[row]), UNTYPED)
        return f"# TYPE {_quoted(escape(name, scheme))} {_TYPE_TEXT[kind]}\n".encode()

    def label_texts(self, write: Callable[[str, str], bytes], separator: bytes) -> list[bytes]:
        """Return the labels of each sample but its name, as `write` writes one, in order."""
        columns: list[Iterator[bytes]] = []
        for number, name in enumerate(self.labels.names):
            if name != NAME:
                symbols, which = np.unique(self.labels.values[:, number], return_inverse=True)
                texts = [b"" if one == ABSENT else write(name, self.labels.text(one)) for one in symbols.tolist()]
                columns.append(map(texts.__getitem__, which.ravel().tolist()))
        for name, values in self.added:
            known = {value: b"" if value is None else write(name, value) for value in set(values)}
            columns.append(map(known.__getitem__, values))
        if not columns:
            return [b""] * len(self)
        return [separator.join(filter(None, row)) for row in zip(*columns, strict=True)]


def text(page: Page, scheme: str) -> memoryview:
    """Return a page in the text format 0.0.4; of histograms only those with custom buckets, as classic ones.

    Args:
        page: What is on it.
        scheme: How names beyond the classic alphabet are written, see `name_escaping`.
    """
    if (page.rows >= 0).any():
        page = _with_classic(page)
    labels = page.label_texts(lambda name, value: _label(escape(name, scheme), value), b",")
    symbols, which = np.unique(page.labels.column(NAME), return_inverse=True)
    names = [escape(page.labels.text(symbol), scheme) for symbol in symbols.tolist()]
    metrics = [_metric(name) for name in names]
    texts = [
        b"".join((metrics[i][0], own, metrics[i][1])) if own else metrics[i][2]
        for i, own in zip(which.ravel().tolist(), labels, strict=True)
    ]
    for row in page.firsts():
        texts[row] = page.heading(row, scheme) + texts[row]
    return _lines(texts, page.values, page.times_ms)


def _lines(texts: Sequence[bytes], values: NDArray[np.float64], times_ms: NDArray[np.int64]) -> memoryview:
    bounds = np.append(0, np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))).astype(np.int64)
    out = np.empty(int(bounds[-1]) + LINE * len(texts), np.uint8)
    size = write_lines(np.frombuffer(bytearray().join(texts), np.uint8), bounds, values, times_ms, out)
    return out[:size].data


def _with_classic(page: Page) -> Page:
    """Return the page with lines of classic histograms for those with custom buckets, and without other ones."""
    schemas = page.natives.schema
    rows: list[int] = []
    names: list[int] = []
    bounds: list[str | None] = []
    values: list[float] = []
    kinds: list[tuple[str, int]] = []
    for row, (name, native, kind) in enumerate(zip(page.names(), page.rows.tolist(), page.types(), strict=True)):
        if native < 0:
            lines: list[Line] = [("", None, float(page.values[row]))]
        else:
            lines = list(classic(page.natives, native)) if schemas[native] == CUSTOM_BUCKETS else []
        for suffix, bound, value in lines:
            rows.append(row)
            names.append(page.labels.symbols.intern(name + suffix))
            bounds.append(bound)
            values.append(value)
            kinds.append((name, kind))
    at = np.array(rows, np.intp)
    labels = page.labels.take(at).with_column(NAME, np.array(names, np.int32))
    added = [(name, [own[row] for row in rows]) for name, own in page.added]
    none = np.full(len(rows), -1, np.int64)
    return Page(labels, [*added, (_BOUND, bounds)], np.array(values), page.times_ms[at], page.natives, none, kinds)


def classic(natives: NativeHistograms, row: int) -> Iterator[Line]:
    """Yield the series of a histogram with custom buckets: suffix, label ``le`` and value."""
    total = _count(natives, row)
    for bound, count in cumulated(natives, row):
        yield "_bucket", go_text(bound), count
    yield "_bucket", "+Inf", total
    yield "_sum", None, float(natives.sum[row])
    yield "_count", None, total


def cumulated(natives: NativeHistograms, row: int) -> list[tuple[float, float]]:
    """Return the upper bounds of custom buckets, with the counts up to each."""
    bounds = natives.bounds[natives.bound_starts[row] : natives.bound_starts[row + 1]]
    counts = np.zeros(len(bounds) + 1)
    spans = natives.spans[natives.span_starts[row] : natives.span_starts[row + 1]].tolist()
    buckets = _buckets(natives, row)
    index = at = 0
    for offset, length in spans:
        index += offset
        counts[index : index + length] = buckets[at : at + length]
        index, at = index + length, at + length
    return list(zip(bounds.tolist(), np.cumsum(counts[:-1]).tolist(), strict=True))


def go_text(value: float) -> str:
    """Print a number with its shortest digits, ``1``, ``0.5``, ``1e+06``, as Go's ``%g`` does."""
    return format_canonical(value).removesuffix(".0")


def _buckets(natives: NativeHistograms, row: int) -> NDArray[np.float64]:
    found = natives.buckets[natives.bucket_starts[row] : natives.bucket_starts[row + 1]]
    return as_doubles(found, np.full(len(found), bool(natives.flags[row] & 1)))


def _count(natives: NativeHistograms, row: int) -> float:
    return float(as_doubles(natives.count[row : row + 1], (natives.flags[row : row + 1] & 1) != 0)[0])


def _quoted(name: str) -> str:
    return name if _LEGACY.fullmatch(name) else f'"{name.translate(_SPECIAL)}"'


def _label(name: str, value: str) -> bytes:
    return f'{_quoted(name)}="{value.translate(_SPECIAL)}"'.encode("utf-8", "replace")


def _metric(name: str) -> tuple[bytes, bytes, bytes]:
    """Return what stands before and behind the labels of a metric, and what it is without labels."""
    quoted = _quoted(name).encode()
    if quoted[:1] == b'"':
        return b"{" + quoted + b",", b"}", b"{" + quoted + b"}"
    return quoted + b"{", b"}", quoted


# -- protobuf --------------------------------------------------------------------------------------------

_DOUBLE = struct.Struct("<Bd").pack


def protobuf(page: Page, scheme: str) -> bytes:
    """Return a page as ``MetricFamily`` messages, each behind its length."""
    labels = page.label_texts(lambda name, value: label(escape(name, scheme), value), b"")
    parts: list[bytes] = []
    members: list[bytes] = []
    family = ("", 0)
    for row, (own, name, kind) in enumerate(zip(labels, page.names(), page.types(), strict=True)):
        if family != (name, kind):
            _close(parts, members, family, scheme)
            family, members = (name, kind), []
        members.append(delimited(34, own + _value(page, row)))
    _close(parts, members, family, scheme)
    return b"".join(parts)


def _close(parts: list[bytes], members: list[bytes], family: tuple[str, int], scheme: str) -> None:
    if members:
        name, kind = family
        body = delimited(10, escape(name, scheme).encode()) + bytes([24, kind]) + b"".join(members)
        parts.append(varint(len(body)) + body)


def _value(page: Page, row: int) -> bytes:
    """Write what a ``Metric`` has besides its labels."""
    time = b"\x30" + varint(int(page.times_ms[row]) & (1 << 64) - 1)
    native = int(page.rows[row])
    if native < 0:
        return delimited(42, _DOUBLE(9, page.values[row])) + time
    write = _classic_message if page.natives.schema[native] == CUSTOM_BUCKETS else _native_message
    return time + delimited(58, write(page.natives, native))


def _classic_message(natives: NativeHistograms, row: int) -> bytes:
    buckets = [delimited(26, _DOUBLE(17, bound) + _DOUBLE(33, count)) for bound, count in cumulated(natives, row)]
    return _DOUBLE(17, natives.sum[row]) + b"".join(buckets) + _DOUBLE(33, _count(natives, row))


def _native_message(natives: NativeHistograms, row: int) -> bytes:
    zeros = float(as_doubles(natives.zero_count[row : row + 1], (natives.flags[row : row + 1] & 1) != 0)[0])
    spans = natives.spans[natives.span_starts[row] : natives.span_starts[row + 1]].tolist()
    positive = int(natives.positive_spans[row])
    counts = _buckets(natives, row).tolist()
    split = sum(length for _, length in spans[:positive])
    return b"".join(
        [
            _DOUBLE(17, natives.sum[row]),
            _DOUBLE(33, _count(natives, row)),
            b"\x28" + varint(_zigzag(int(natives.schema[row]))),
            _DOUBLE(49, natives.zero_threshold[row]),
            _DOUBLE(65, zeros),
            _spans(74, spans[positive:]),
            b"".join(_DOUBLE(89, count) for count in counts[split:]),
            _spans(98, spans[:positive]),
            b"".join(_DOUBLE(113, count) for count in counts[:split]),
        ]
    )


def _spans(tag: int, spans: Sequence[Sequence[int]]) -> bytes:
    return b"".join(
        delimited(tag, b"\x08" + varint(_zigzag(offset)) + b"\x10" + varint(length)) for offset, length in spans
    )


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1
