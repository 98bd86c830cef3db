# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that write remote write requests of version 2.0.

A request is a table of symbols and series that name them by number. Rows come sorted by series; what series are made
of lies in an arena of symbol numbers that hold for all requests, and each request numbers those it uses anew.

Source:
    Prometheus Remote-Write specification 2.0, ``io.prometheus.write.v2.Request``. Created timestamps are written where
    the release candidates up to rc.3 have them (in the series) and where rc.4 has them (in the sample).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import float_bits
from headrace.kernels.jit import kernel
from headrace.pipeline.wire.remote_write_encode_kernels import put_varint, varint_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

KIND = 0
HELP = 1
UNIT = 2

_SYMBOL_BYTES = 6
"""Tag and length of a symbol: no text is longer than 4 GiB."""

_REFERENCE_BYTES = 4
_SERIES_BYTES = 48
_SAMPLE_BYTES = 36


@kernel
def _use(
    symbol: int, sizes: NDArray[np.int32], local: NDArray[np.int32], used: NDArray[np.int32], counts: NDArray[np.int64]
) -> int:
    """Give a symbol a number in this request where it has none; return the bytes that this takes."""
    if local[symbol] >= 0:
        return 0
    local[symbol] = np.int32(counts[0])
    used[counts[0]] = symbol
    counts[0] += 1
    return np.int64(sizes[symbol]) + _SYMBOL_BYTES


@kernel
def plan(
    first: int,
    owners: NDArray[np.int32],
    starts: NDArray[np.int64],
    more: NDArray[np.int64],
    places: NDArray[np.int64],
    lengths: NDArray[np.int32],
    references: NDArray[np.int32],
    names: NDArray[np.int32],
    metadata: NDArray[np.int32],
    sizes: NDArray[np.int32],
    limit: int,
    local: NDArray[np.int32],
    used: NDArray[np.int32],
    counts: NDArray[np.int64],
) -> int:
    """Number the symbols of as many series as fit into a request; return one past the last series.

    Args:
        first: The first series.
        owners: (g,) ids.
        starts: (g + 1,) where the samples of each series begin.
        more: (g,) bytes of the other messages of each series, at most.
        places: Where the symbols of a series are in `references`, by id.
        lengths: How many they are, by id.
        references: Symbols.
        names: Number of the metric's name, by id.
        metadata: (names, 3) kind, symbol of the help, symbol of the unit.
        sizes: Bytes of each symbol.
        limit: Bytes of a request; one series may be larger.
        local: (symbols,) takes the numbers in this request; -1 for symbols without one.
        used: Takes the symbols in the order of their numbers.
        counts: (1,) how many of these there are.
    """
    size = np.int64(0)
    for g in range(first, len(owners)):
        owner = owners[g]
        before = counts[0]
        own = _SERIES_BYTES + more[g] + _SAMPLE_BYTES * (starts[g + 1] - starts[g])
        for k in range(places[owner], places[owner] + lengths[owner]):
            own += _REFERENCE_BYTES + _use(references[k], sizes, local, used, counts)
        meta = metadata[names[owner]]
        own += _use(meta[HELP], sizes, local, used, counts) + _use(meta[UNIT], sizes, local, used, counts)
        if g > first and size + own > limit:
            for k in range(before, counts[0]):
                local[used[k]] = -1
            counts[0] = before
            return g
        size += own
    return len(owners)


@kernel
def write_symbols(
    used: NDArray[np.int32],
    count: int,
    places: NDArray[np.int64],
    sizes: NDArray[np.int32],
    texts: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> int:
    """Write the symbols of a request; return the bytes written.

    Args:
        used: Symbols in the order of their numbers.
        count: How many.
        places: Where the text of each is in `texts`.
        sizes: Its bytes.
        texts: UTF-8.
        out: Large enough.
    """
    p = 0
    for k in range(count):
        size = np.int64(sizes[used[k]])
        out[p] = 34
        p = put_varint(out, p + 1, np.uint64(size))
        at = places[used[k]]
        out[p : p + size] = texts[at : at + size]
        p += size
    return p


@kernel
def _size_of_metadata(kind: int, help_: int, unit: int) -> int:
    size = 0
    if kind:
        size += 2
    if help_:
        size += 1 + varint_size(np.uint64(help_))
    if unit:
        size += 1 + varint_size(np.uint64(unit))
    return size


@kernel
def _size_of_sample(time: np.int64, created: np.int64) -> int:
    size = 9 + 1 + varint_size(np.uint64(time))
    return size + 1 + varint_size(np.uint64(created)) if created else size


@kernel
def _size_of_messages(starts: NDArray[np.int64], first: int, until: int) -> int:
    """Return the bytes of messages with tags and lengths; message k is ``starts[k]:starts[k + 1]``."""
    size = np.int64(0)
    for k in range(first, until):
        own = starts[k + 1] - starts[k]
        size += 1 + varint_size(np.uint64(own)) + own
    return size


@kernel
def _put_messages(
    out: NDArray[np.uint8],
    p: int,
    tag: int,
    starts: NDArray[np.int64],
    first: int,
    until: int,
    messages: NDArray[np.uint8],
) -> int:
    for k in range(first, until):
        size = starts[k + 1] - starts[k]
        out[p] = tag
        p = put_varint(out, p + 1, np.uint64(size))
        out[p : p + size] = messages[starts[k] : starts[k + 1]]
        p += size
    return p


@kernel
def _put_sample(out: NDArray[np.uint8], p: int, value: float, time: np.int64, created: np.int64) -> int:
    out[p] = 18
    out[p + 1] = np.uint8(_size_of_sample(time, created))
    out[p + 2] = 9
    bits = np.uint64(float_bits(value))
    for k in range(8):
        out[p + 3 + k] = np.uint8((bits >> np.uint64(8 * k)) & np.uint64(255))
    out[p + 11] = 16
    p = put_varint(out, p + 12, np.uint64(time))
    if created:
        out[p] = 24
        p = put_varint(out, p + 1, np.uint64(created))
    return p


@kernel
def _put_metadata(out: NDArray[np.uint8], p: int, kind: int, help_: int, unit: int) -> int:
    size = _size_of_metadata(kind, help_, unit)
    if size == 0:
        return p
    out[p] = 42
    out[p + 1] = size
    p += 2
    if kind:
        out[p] = 8
        out[p + 1] = kind
        p += 2
    if help_:
        out[p] = 24
        p = put_varint(out, p + 1, np.uint64(help_))
    if unit:
        out[p] = 32
        p = put_varint(out, p + 1, np.uint64(unit))
    return p


@kernel
def write_series(
    first: int,
    until: int,
    owners: NDArray[np.int32],
    starts: NDArray[np.int64],
    times: NDArray[np.int64],
    created: NDArray[np.int64],
    values: NDArray[np.float64],
    histogram_rows: NDArray[np.int64],
    histogram_starts: NDArray[np.int64],
    histograms: NDArray[np.uint8],
    histogram_created: NDArray[np.int64],
    exemplar_rows: NDArray[np.int64],
    exemplar_starts: NDArray[np.int64],
    exemplars: NDArray[np.uint8],
    places: NDArray[np.int64],
    lengths: NDArray[np.int32],
    references: NDArray[np.int32],
    names: NDArray[np.int32],
    metadata: NDArray[np.int32],
    local: NDArray[np.int32],
    out: NDArray[np.uint8],
) -> int:
    """Write the series `first` to `until`; return the bytes written. See `plan`.

    Args:
        first: The first series.
        until: One past the last.
        owners: (g,) ids.
        starts: (g + 1,) where the samples of each series begin.
        times: (n,) milliseconds.
        created: (n,) milliseconds, 0 for unknown.
        values: (n,).
        histogram_rows: (g + 1,) where the histograms of each series begin.
        histogram_starts: (h + 1,) where their messages begin in `histograms`.
        histograms: Messages.
        histogram_created: (h,) milliseconds, 0 for unknown.
        exemplar_rows: (until - first + 1,) where the exemplars of each series begin, counted from `first` on.
        exemplar_starts: Where their messages begin in `exemplars`.
        exemplars: Messages.
        places: Where the symbols of a series are in `references`, by id.
        lengths: How many they are, by id.
        references: Symbols.
        names: Number of the metric's name, by id.
        metadata: (names, 3).
        local: Numbers of symbols in this request.
        out: Large enough.
    """
    p = 0
    for g in range(first, until):
        owner = owners[g]
        labels = np.int64(0)
        for k in range(places[owner], places[owner] + lengths[owner]):
            labels += varint_size(np.uint64(local[references[k]]))
        since = np.int64(0)
        size = 1 + varint_size(np.uint64(labels)) + labels
        for i in range(starts[g], starts[g + 1]):
            own = _size_of_sample(times[i], created[i])
            size += 2 + own
            since = created[i] if since == 0 else since
        for i in range(histogram_rows[g], histogram_rows[g + 1]):
            since = histogram_created[i] if since == 0 else since
        size += _size_of_messages(histogram_starts, histogram_rows[g], histogram_rows[g + 1])
        e = g - first
        size += _size_of_messages(exemplar_starts, exemplar_rows[e], exemplar_rows[e + 1])
        meta = metadata[names[owner]]
        about = _size_of_metadata(meta[KIND], local[meta[HELP]], local[meta[UNIT]])
        size += 2 + about if about else 0
        size += 1 + varint_size(np.uint64(since)) if since else 0
        out[p] = 42
        p = put_varint(out, p + 1, np.uint64(size))
        out[p] = 10
        p = put_varint(out, p + 1, np.uint64(labels))
        for k in range(places[owner], places[owner] + lengths[owner]):
            p = put_varint(out, p, np.uint64(local[references[k]]))
        for i in range(starts[g], starts[g + 1]):
            p = _put_sample(out, p, values[i], times[i], created[i])
        p = _put_messages(out, p, 26, histogram_starts, histogram_rows[g], histogram_rows[g + 1], histograms)
        p = _put_messages(out, p, 34, exemplar_starts, exemplar_rows[e], exemplar_rows[e + 1], exemplars)
        p = _put_metadata(out, p, meta[KIND], local[meta[HELP]], local[meta[UNIT]])
        if since:
            out[p] = 48
            p = put_varint(out, p + 1, np.uint64(since))
    return p
