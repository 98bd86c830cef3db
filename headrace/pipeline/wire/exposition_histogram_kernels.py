# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that read the histograms of a protobuf exposition: native ones, classic buckets, or both.

Source:
    Prometheus' client model, ``io/prometheus/client/metrics.proto``, message ``Histogram``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import load_f64
from headrace.kernels.jit import flat_kernel as kernel
from headrace.pipeline.wire.exposition_value_kernels import (
    BUCKET,
    COUNT,
    EXEMPLARS,
    FULL,
    NATIVE,
    NATIVES,
    OK,
    ROWS,
    SUM,
    bucket,
    place,
    row,
    timestamp,
)  # fmt: skip
from headrace.pipeline.wire.protobuf_kernels import skip, span, varint

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def histogram(
    buf: NDArray[np.uint8],
    p: int,
    end: int,
    native: bool,
    classic: bool,
    low: np.uint64,
    high: np.uint64,
    scratch: NDArray[np.uint8],
    rows: NDArray[np.int32],
    numbers: NDArray[np.float64],
    stamps: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    exemplars: NDArray[np.int32],
    natives: NDArray[np.int32],
    out: NDArray[np.int64],
) -> int:
    """Read a histogram as its native form, as its classic buckets, or as both."""
    count, total, created, is_native, own = _histogram_facts(buf, p, end)
    if own < 0:
        return own
    begin = out[ROWS]
    is_native = is_native and native
    if is_native:
        if out[NATIVES] == len(natives):
            return FULL
        place(natives, out[NATIVES], begin, p, end)
        out[NATIVES] += 1
        status = row(NATIVE, 0.0, 0.0, 0, low, high, scratch, rows, numbers, stamps, hashes, out)
        if status == OK:
            status = _native_exemplars(buf, p, end, own > 0, begin, exemplars, out)
        if status < 0:
            return status
    if not is_native or classic:
        status = row(COUNT, count, 0.0, 0, low, high, scratch, rows, numbers, stamps, hashes, out)
        if status == OK:
            status = row(SUM, total, 0.0, 0, low, high, scratch, rows, numbers, stamps, hashes, out)
        if status == OK:
            status = _buckets(
                buf, p, end, count, not is_native, low, high, scratch, rows, numbers, stamps, hashes, exemplars, out
            )
        if status < 0:
            return status
    for i in range(begin, out[ROWS]):
        stamps[i, 1] = created
    return OK


@kernel
def _histogram_facts(buf: NDArray[np.uint8], p: int, end: int) -> tuple[float, float, int, bool, int]:
    """Return count, sum, when counting began, whether it is native, and how many exemplars of its own it has."""
    count = 0.0
    fraction = 0.0
    total = 0.0
    created = np.int64(0)
    is_native = False
    own = np.int64(0)
    while p < end:
        tag, p = varint(buf, p, end)
        if p < 0:
            return count, total, created, is_native, p
        at = p
        p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
        if p < 0:
            return count, total, created, is_native, p
        if tag == np.uint64(8):
            number, _ = varint(buf, at, end)
            count = np.float64(number)
        elif tag == np.uint64(33):
            fraction = load_f64(buf, at)
        elif tag == np.uint64(17):
            total = load_f64(buf, at)
        elif tag in (np.uint64(74), np.uint64(98)):
            is_native = True
        elif tag in (np.uint64(49), np.uint64(65)):
            is_native = is_native or load_f64(buf, at) > 0.0
        elif tag == np.uint64(56):
            number, _ = varint(buf, at, end)
            is_native = is_native or number > np.uint64(0)
        elif tag == np.uint64(122):
            body, _ = span(buf, at, end)
            created = timestamp(buf, body, p)
        elif tag == np.uint64(130):
            own += 1
    return fraction if fraction > 0.0 else count, total, created, is_native, own


@kernel
def _native_exemplars(
    buf: NDArray[np.uint8],
    p: int,
    end: int,
    own: bool,
    owner: int,
    exemplars: NDArray[np.int32],
    out: NDArray[np.int64],
) -> int:
    """Take the exemplars of a native histogram: its own, or without any those of its classic buckets."""
    while p < end:
        tag, p = varint(buf, p, end)
        at = p
        p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
        exemplar = np.int64(-1)
        exemplar_end = np.int64(-1)
        if own and tag == np.uint64(130):
            exemplar, exemplar_end = span(buf, at, end)
        elif not own and tag == np.uint64(26):
            body, _ = span(buf, at, end)
            _, _, exemplar, exemplar_end, body = bucket(buf, body, p, np.uint64(17), np.uint64(8))
            if body < 0:
                return body
        if exemplar >= 0:
            status = place(exemplars, out[EXEMPLARS], owner, exemplar, exemplar_end)
            if status < 0:
                return status
            out[EXEMPLARS] += 1
    return OK


@kernel
def _buckets(
    buf: NDArray[np.uint8],
    p: int,
    end: int,
    count: float,
    with_exemplars: bool,
    low: np.uint64,
    high: np.uint64,
    scratch: NDArray[np.uint8],
    rows: NDArray[np.int32],
    numbers: NDArray[np.float64],
    stamps: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    exemplars: NDArray[np.int32],
    out: NDArray[np.int64],
) -> int:
    """Read classic buckets, and add the one of all observations where it is missing."""
    complete = False
    while p < end:
        tag, p = varint(buf, p, end)
        at = p
        p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
        if tag != np.uint64(26):
            continue
        body, _ = span(buf, at, end)
        bound, value, exemplar, exemplar_end, body = bucket(buf, body, p, np.uint64(17), np.uint64(8))
        if body < 0:
            return body
        complete = complete or bound == np.inf
        if exemplar >= 0 and with_exemplars:
            status = place(exemplars, out[EXEMPLARS], out[ROWS], exemplar, exemplar_end)
            if status < 0:
                return status
            out[EXEMPLARS] += 1
        status = row(BUCKET, value, bound, 0, low, high, scratch, rows, numbers, stamps, hashes, out)
        if status < 0:
            return status
    if complete:
        return OK
    return row(BUCKET, count, np.inf, 0, low, high, scratch, rows, numbers, stamps, hashes, out)
