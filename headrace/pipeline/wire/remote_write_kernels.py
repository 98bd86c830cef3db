# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that read remote write requests, 1.0 and 2.0, into columns.

A first pass counts, so that memory is taken once and for what is there; the second fills. The raw key of a series is
a keyed hash of its labels as encoded (1.0), or of the hashes of its symbols (2.0).

Source:
    Prometheus Remote-Write specification 1.0 and 2.0, ``prompb/types.proto``, ``io/prometheus/write/v2/types.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import load_f64, store_u64
from headrace.kernels.jit import kernel
from headrace.kernels.siphash_kernels import siphash128, siphash128_rows
from headrace.pipeline.wire.protobuf_kernels import TRUNCATED, skip, span, varint

if TYPE_CHECKING:
    from numpy.typing import NDArray

BAD_REFERENCE = -4
"""A symbol that the request does not have, or an odd number of references."""

# What `count` tells.
SERIES = 0
SAMPLES = 1
EXEMPLARS = 2
HISTOGRAMS = 3
METADATA = 4
SYMBOLS = 5
EXEMPLAR_BYTES = 6
REFERENCES = 7
COUNTS = 8

# Columns of a series row.
FIRST = 0
"""Offset of the labels."""
SIZE = 1
"""Bytes of the labels."""
TYPE_OF = 2
"""2.0: type of the metric; -1 without metadata."""
HELP_OF = 3
UNIT_OF = 4
SERIES_COLUMNS = 5

_SCATTERED = -2
"""In TYPE_OF while a request is read: other fields lie between the labels."""

# Columns of an exemplar row; a histogram row has the same, for its message.
EXEMPLAR_SERIES = 0
EXEMPLAR_FIRST = 1
EXEMPLAR_SIZE = 2
EXEMPLAR_COLUMNS = 3


@kernel
def count(buf: NDArray[np.uint8], n: int, v2: bool, out: NDArray[np.int64]) -> int:
    """Count what a request of `n` bytes holds.

    Args:
        buf: The request, padded.
        n: Its bytes.
        v2: Whether it is of version 2.0.
        out: (COUNTS,) counts.

    Returns:
        0, or a negative status.
    """
    series_tag = np.uint64(42) if v2 else np.uint64(10)
    sample_tag = np.uint64(18)
    histogram_tag = np.uint64(26) if v2 else np.uint64(34)
    exemplar_tag = np.uint64(34) if v2 else np.uint64(26)
    series = 0
    samples = 0
    p = 0
    while p < n:
        tag, p = varint(buf, p, n)
        if p < 0:
            return p
        if tag == series_tag:
            p, end = span(buf, p, n)
            if p < 0:
                return p
            series += 1
            while p < end:
                # Nearly every field is a short message: one byte of tag, one of length.
                if buf[p] & 135 == 2 and buf[p + 1] < 128 and p + 2 + buf[p + 1] <= end:
                    tag = np.uint64(buf[p])
                    first = p + 1
                    p += 2 + np.int64(buf[p + 1])
                    if not v2 and tag == np.uint64(10):
                        continue
                else:
                    tag, p = varint(buf, p, end)
                    if p < 0:
                        return p
                    first = p
                    p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
                    if p < 0:
                        return p
                if tag == sample_tag:
                    samples += 1
                elif tag == exemplar_tag:
                    out[EXEMPLARS] += 1
                    out[EXEMPLAR_BYTES] += p - first
                elif tag == histogram_tag:
                    out[HISTOGRAMS] += 1
                elif v2 and tag == np.uint64(10):
                    out[REFERENCES] += p - first
            continue
        if v2 and tag == np.uint64(34):
            out[SYMBOLS] += 1
        elif not v2 and tag == np.uint64(26):
            out[METADATA] += 1
        p = skip(buf, p, n, np.int64(tag & np.uint64(7)))
        if p < 0:
            return p
    out[SERIES] = series
    out[SAMPLES] = samples
    return 0


@kernel
def _point(
    buf: NDArray[np.uint8], p: int, end: int, value_tag: np.uint64, time_tag: np.uint64, start_tag: np.uint64
) -> tuple[int, float, np.int64, np.int64]:
    """Read a message of a value and times; return a status, the value, the time and the start time."""
    value = 0.0
    time = np.int64(0)
    start = np.int64(0)
    if end - p >= 10 and np.uint64(buf[p]) == value_tag:
        value = load_f64(buf, p + 1)
        p += 9
    while p < end:
        tag, p = varint(buf, p, end)
        if p < 0:
            return p, value, time, start
        if tag == value_tag:
            if p + 8 > end:
                return TRUNCATED, value, time, start
            value = load_f64(buf, p)
            p += 8
        elif tag in (time_tag, start_tag):
            number, p = varint(buf, p, end)
            if p < 0:
                return p, value, time, start
            if tag == time_tag:
                time = np.int64(number)
            else:
                start = np.int64(number)
        else:
            p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
            if p < 0:
                return p, value, time, start
    return 0, value, time, start


@kernel
def _hash_scattered(
    buf: NDArray[np.uint8], p: int, end: int, scratch: NDArray[np.uint8], k0: np.uint64, k1: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """Hash label fields that other fields lie between, as if they were adjacent; they have been read once."""
    size = 0
    while p < end:
        first = p
        tag, p = varint(buf, p, end)
        p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
        if tag == np.uint64(10):
            scratch[size : size + p - first] = buf[first:p]
            size += p - first
    return siphash128(scratch, 0, size, k0, k1)


@kernel
def read_v1(
    buf: NDArray[np.uint8],
    n: int,
    k0: np.uint64,
    k1: np.uint64,
    scratch: NDArray[np.uint8],
    keys: NDArray[np.uint64],
    series: NDArray[np.int32],
    owner: NDArray[np.int32],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    exemplars: NDArray[np.int32],
    exemplar_times: NDArray[np.int64],
    exemplar_values: NDArray[np.float64],
    histograms: NDArray[np.int32],
    metadata: NDArray[np.int32],
) -> int:
    """Fill the columns of a request of version 1.0 that `count` has been through.

    Args:
        buf: The request, padded.
        n: Its bytes.
        k0: Lower half of the key that raw keys are hashed with.
        k1: Upper half.
        scratch: (n + PAD,) bytes.
        keys: (series, 2) raw keys.
        series: (series, SERIES_COLUMNS).
        owner: (samples,) series of each sample.
        times: (samples,) milliseconds.
        values: (samples,).
        exemplars: (exemplars, EXEMPLAR_COLUMNS); where the labels lie.
        exemplar_times: (exemplars,) milliseconds.
        exemplar_values: (exemplars,).
        histograms: (histograms, EXEMPLAR_COLUMNS); where the messages lie.
        metadata: (metadata, 2) offset and size of each message.

    Returns:
        0, or a negative status.
    """
    p = 0
    s = 0
    m = 0
    x = 0
    h = 0
    d = 0
    while p < n:
        tag, p = varint(buf, p, n)
        if p < 0:
            return p
        if tag != np.uint64(10):
            first = p
            p = skip(buf, p, n, np.int64(tag & np.uint64(7)))
            if p < 0:
                return p
            if tag == np.uint64(26):
                first, p = span(buf, first, n)
                metadata[d, 0] = first
                metadata[d, 1] = p - first
                d += 1
            continue
        p, end = span(buf, p, n)
        if p < 0:
            return p
        begin = -1
        until = p
        scattered = False
        while p < end:
            field = p
            if buf[p] == 10 and buf[p + 1] < 128 and p + 2 + buf[p + 1] <= end:
                p += 2 + np.int64(buf[p + 1])
                if begin < 0:
                    begin = field
                elif field != until:
                    scattered = True
                until = p
                continue
            tag, p = varint(buf, p, end)
            if p < 0:
                return p
            if tag == np.uint64(10):
                p = span(buf, p, end)[1]
                if p < 0:
                    return p
                if begin < 0:
                    begin = field
                elif field != until:
                    scattered = True
                until = p
            elif tag == np.uint64(18):
                p, last = span(buf, p, end)
                if p < 0:
                    return p
                status, value, time, _ = _point(buf, p, last, np.uint64(9), np.uint64(16), np.uint64(24))
                if status < 0:
                    return status
                p = last
                owner[m] = s
                times[m] = time
                values[m] = value
                m += 1
            elif tag == np.uint64(26):
                p, last = span(buf, p, end)
                if p < 0:
                    return p
                status, value, time, _ = _point(buf, p, last, np.uint64(17), np.uint64(24), np.uint64(0))
                if status < 0:
                    return status
                exemplars[x, EXEMPLAR_SERIES] = s
                exemplars[x, EXEMPLAR_FIRST] = p
                exemplars[x, EXEMPLAR_SIZE] = last - p
                exemplar_times[x] = time
                exemplar_values[x] = value
                x += 1
                p = last
            else:
                first = p
                p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
                if p < 0:
                    return p
                if tag == np.uint64(34):
                    first = span(buf, first, end)[0]
                    histograms[h, EXEMPLAR_SERIES] = s
                    histograms[h, EXEMPLAR_FIRST] = first
                    histograms[h, EXEMPLAR_SIZE] = p - first
                    h += 1
        if begin < 0:
            begin = until
        series[s, FIRST] = begin
        series[s, SIZE] = until - begin
        series[s, TYPE_OF] = _SCATTERED if scattered else -1
        s += 1
    siphash128_rows(buf, series[:, FIRST], series[:, SIZE], k0, k1, keys)
    for i in range(s):
        if series[i, TYPE_OF] == _SCATTERED:
            series[i, TYPE_OF] = -1
            begin = np.int64(series[i, FIRST])
            until = begin + np.int64(series[i, SIZE])
            keys[i, 0], keys[i, 1] = _hash_scattered(buf, begin, until, scratch, k0, k1)
    return 0


@kernel
def symbols(
    buf: NDArray[np.uint8],
    n: int,
    k0: np.uint64,
    k1: np.uint64,
    spans: NDArray[np.int32],
    hashes: NDArray[np.uint64],
) -> int:
    """Find and hash the symbols of a request of version 2.0.

    Args:
        buf: The request, padded.
        n: Its bytes.
        k0: Lower half of the key.
        k1: Upper half.
        spans: (symbols, 2) offset and size.
        hashes: (symbols, 2).

    Returns:
        0, or a negative status.
    """
    p = 0
    i = 0
    while p < n:
        tag, p = varint(buf, p, n)
        if p < 0:
            return p
        if tag == np.uint64(34):
            p, end = span(buf, p, n)
            if p < 0:
                return p
            spans[i, 0] = p
            spans[i, 1] = end - p
            hashes[i, 0], hashes[i, 1] = siphash128(buf, p, end - p, k0, k1)
            i += 1
            p = end
        else:
            p = skip(buf, p, n, np.int64(tag & np.uint64(7)))
            if p < 0:
                return p
    return 0


@kernel
def _metadata_v2(buf: NDArray[np.uint8], p: int, end: int, size: int, row: NDArray[np.int32]) -> int:
    """Read type, help and unit of a series into its row."""
    row[TYPE_OF] = 0
    while p < end:
        tag, p = varint(buf, p, end)
        if p < 0:
            return p
        if tag & np.uint64(7) != np.uint64(0):
            p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
            if p < 0:
                return p
            continue
        number, p = varint(buf, p, end)
        if p < 0:
            return p
        if tag == np.uint64(8):
            row[TYPE_OF] = np.int64(min(number, np.uint64(7)))
        elif tag in (np.uint64(24), np.uint64(32)):
            if number >= np.uint64(size):
                return BAD_REFERENCE
            row[HELP_OF if tag == np.uint64(24) else UNIT_OF] = np.int64(number)
    return 0


@kernel
def read_v2(
    buf: NDArray[np.uint8],
    n: int,
    k0: np.uint64,
    k1: np.uint64,
    hashes: NDArray[np.uint64],
    scratch: NDArray[np.uint8],
    keys: NDArray[np.uint64],
    series: NDArray[np.int32],
    owner: NDArray[np.int32],
    times: NDArray[np.int64],
    starts: NDArray[np.int64],
    values: NDArray[np.float64],
    exemplars: NDArray[np.int32],
    exemplar_times: NDArray[np.int64],
    exemplar_values: NDArray[np.float64],
    histograms: NDArray[np.int32],
    histogram_starts: NDArray[np.int64],
) -> int:
    """Fill the columns of a request of version 2.0 that `count` has been through; see `read_v1`.

    `hashes` are those of the symbols, `scratch` has 16 bytes for each reference (and PAD more), `starts` takes the
    samples' start times, `histogram_starts` those of the histograms' series. Labels and exemplar labels are packed
    references.
    """
    p = 0
    s = 0
    m = 0
    x = 0
    h = 0
    size = len(hashes)
    while p < n:
        tag, p = varint(buf, p, n)
        if p < 0:
            return p
        if tag != np.uint64(42):
            p = skip(buf, p, n, np.int64(tag & np.uint64(7)))
            if p < 0:
                return p
            continue
        p, end = span(buf, p, n)
        if p < 0:
            return p
        created = np.int64(0)
        first_sample = m
        first_histogram = h
        series[s, FIRST] = p
        series[s, TYPE_OF] = -1
        used = 0
        while p < end:
            tag, p = varint(buf, p, end)
            if p < 0:
                return p
            if tag == np.uint64(10):
                p, last = span(buf, p, end)
                if p < 0:
                    return p
                if series[s, SIZE]:
                    return BAD_REFERENCE
                series[s, FIRST] = p
                series[s, SIZE] = last - p
                references = 0
                while p < last:
                    if buf[p] < 128:
                        number = np.uint64(buf[p])
                        p += 1
                    elif buf[p + 1] < 128 and p + 1 < last:
                        number = np.uint64(buf[p] & 127) | np.uint64(buf[p + 1]) << np.uint64(7)
                        p += 2
                    else:
                        number, p = varint(buf, p, last)
                        if p < 0:
                            return p
                    if number >= np.uint64(size):
                        return BAD_REFERENCE
                    store_u64(scratch, used, hashes[np.int64(number), 0])
                    store_u64(scratch, used + 8, hashes[np.int64(number), 1])
                    used += 16
                    references += 1
                if references % 2:
                    return BAD_REFERENCE
            elif tag == np.uint64(18):
                p, last = span(buf, p, end)
                if p < 0:
                    return p
                status, value, time, start = _point(buf, p, last, np.uint64(9), np.uint64(16), np.uint64(24))
                if status < 0:
                    return status
                p = last
                owner[m] = s
                times[m] = time
                starts[m] = start
                values[m] = value
                m += 1
            elif tag == np.uint64(34):
                p, last = span(buf, p, end)
                if p < 0:
                    return p
                status, value, time, _ = _point(buf, p, last, np.uint64(17), np.uint64(24), np.uint64(0))
                if status < 0:
                    return status
                exemplars[x, EXEMPLAR_SERIES] = s
                exemplars[x, EXEMPLAR_FIRST] = p
                exemplars[x, EXEMPLAR_SIZE] = last - p
                exemplar_times[x] = time
                exemplar_values[x] = value
                x += 1
                p = last
            elif tag == np.uint64(42):
                p, last = span(buf, p, end)
                if p < 0:
                    return p
                status = _metadata_v2(buf, p, last, size, series[s])
                if status < 0:
                    return status
                p = last
            elif tag == np.uint64(48):
                number, p = varint(buf, p, end)
                if p < 0:
                    return p
                created = np.int64(number)
            else:
                first = p
                p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
                if p < 0:
                    return p
                if tag == np.uint64(26):
                    first = span(buf, first, end)[0]
                    histograms[h, EXEMPLAR_SERIES] = s
                    histograms[h, EXEMPLAR_FIRST] = first
                    histograms[h, EXEMPLAR_SIZE] = p - first
                    h += 1
        for i in range(first_sample, m):
            if starts[i] == 0:
                starts[i] = created
        histogram_starts[first_histogram:h] = created
        keys[s, 0], keys[s, 1] = siphash128(scratch, 0, used, k0, k1)
        s += 1
    return 0


@kernel
def labels_v1(
    buf: NDArray[np.uint8],
    firsts: NDArray[np.int32],
    sizes: NDArray[np.int32],
    spans: NDArray[np.int32],
    starts: NDArray[np.int32],
) -> int:
    """Find the labels in n regions of label fields (tag 10 each); return how many, or a negative status.

    Call it with an empty `spans` to count, then again to fill (labels, 4) `spans` and (n + 1,) `starts`.
    """
    k = 0
    fill = len(spans) > 0
    for i in range(len(firsts)):
        if fill:
            starts[i] = k
        p = np.int64(firsts[i])
        end = p + sizes[i]
        while p < end:
            tag, p = varint(buf, p, end)
            if p < 0:
                return p
            if tag != np.uint64(10):
                p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
                if p < 0:
                    return p
                continue
            p, last = span(buf, p, end)
            if p < 0:
                return p
            name = p
            name_end = p
            value = p
            value_end = p
            while p < last:
                tag, p = varint(buf, p, last)
                if p < 0:
                    return p
                if tag == np.uint64(10):
                    name, name_end = span(buf, p, last)
                    p = name_end
                elif tag == np.uint64(18):
                    value, value_end = span(buf, p, last)
                    p = value_end
                else:
                    p = skip(buf, p, last, np.int64(tag & np.uint64(7)))
                if p < 0:
                    return p
            if fill:
                spans[k, 0] = name
                spans[k, 1] = name_end - name
                spans[k, 2] = value
                spans[k, 3] = value_end - value
            k += 1
    if fill:
        starts[len(firsts)] = k
    return k


@kernel
def labels_v2(
    buf: NDArray[np.uint8],
    firsts: NDArray[np.int32],
    sizes: NDArray[np.int32],
    symbol: NDArray[np.int32],
    spans: NDArray[np.int32],
    starts: NDArray[np.int32],
) -> int:
    """Find the labels in n regions of packed references; see `labels_v1`. `symbol` is (symbols, 2)."""
    k = 0
    fill = len(spans) > 0
    for i in range(len(firsts)):
        if fill:
            starts[i] = k
        p = np.int64(firsts[i])
        end = p + sizes[i]
        while p < end:
            name, p = varint(buf, p, end)
            if p < 0:
                return p
            value, p = varint(buf, p, end)
            if p < 0:
                return p
            if name >= np.uint64(len(symbol)) or value >= np.uint64(len(symbol)):
                return BAD_REFERENCE
            if fill:
                spans[k, 0] = symbol[np.int64(name), 0]
                spans[k, 1] = symbol[np.int64(name), 1]
                spans[k, 2] = symbol[np.int64(value), 0]
                spans[k, 3] = symbol[np.int64(value), 1]
            k += 1
    if fill:
        starts[len(firsts)] = k
    return k


@kernel
def references_of_exemplars(buf: NDArray[np.uint8], exemplars: NDArray[np.int32]) -> int:
    """Narrow each row of exemplars of version 2.0 to its packed label references; 0 or a negative status."""
    for i in range(len(exemplars)):
        p = np.int64(exemplars[i, EXEMPLAR_FIRST])
        end = p + exemplars[i, EXEMPLAR_SIZE]
        exemplars[i, EXEMPLAR_SIZE] = 0
        while p < end:
            tag, p = varint(buf, p, end)
            if p < 0:
                return p
            if tag == np.uint64(10):
                first, p = span(buf, p, end)
                if p < 0:
                    return p
                exemplars[i, EXEMPLAR_FIRST] = first
                exemplars[i, EXEMPLAR_SIZE] = p - first
            else:
                p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
                if p < 0:
                    return p
    return 0
