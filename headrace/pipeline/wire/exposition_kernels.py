# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that take a protobuf exposition apart: delimited ``MetricFamily`` messages become rows of numbers.

One pass finds the numbers and hashes what a row is known by: the family's name, the bytes of its labels, and what a
row of a histogram or summary adds to them. The labels inside are read (by `exposition_label_kernels`) for rows that
nobody has seen before, native histograms by `remote_write_histogram_kernels`.

Source:
    Prometheus' client model, ``io/prometheus/client/metrics.proto``; what becomes of a message is as in Prometheus,
    "Exposition formats", section "Protobuf format".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel
from headrace.kernels.siphash_kernels import siphash128
from headrace.pipeline.wire.exposition_histogram_kernels import histogram
from headrace.pipeline.wire.exposition_value_kernels import (
    FAMILIES,
    FULL,
    METRICS,
    OK,
    OUT,
    POSITION,
    ROWS,
    TIMED,
    simple,
    summary,
)  # fmt: skip
from headrace.pipeline.wire.protobuf_kernels import skip, span, varint

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Faults beside those of `protobuf_kernels` and FULL.
NO_NAME = -4
BAD_TYPE = -5
NO_VALUE = -6

# Columns of a family.
NAME, NAME_SIZE, HELP, HELP_SIZE, UNIT, UNIT_SIZE, TYPE = 0, 1, 2, 3, 4, 5, 6
FAMILY = 7

# Columns of a metric: its family, where its labels lie, how many they are.
OWNER, LABELS, LABELS_SIZE, LABELS_COUNT = 0, 1, 2, 3
METRIC = 4

# Types of families.
COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM, GAUGE_HISTOGRAM = 0, 1, 2, 3, 4, 5
_VALUE_TAGS = np.array([26, 18, 34, 42, 58, 58], np.int64)


@kernel
def parse(
    buf: NDArray[np.uint8],
    size: int,
    native: bool,
    classic: bool,
    secret: NDArray[np.uint64],
    scratch: NDArray[np.uint8],
    families: NDArray[np.int32],
    metrics: NDArray[np.int32],
    rows: NDArray[np.int32],
    numbers: NDArray[np.float64],
    stamps: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    exemplars: NDArray[np.int32],
    natives: NDArray[np.int32],
    digest: NDArray[np.uint64],
    out: NDArray[np.int64],
) -> int:
    """Read a page.

    Args:
        buf: uint8 with PAD readable bytes after `size`.
        size: Bytes of the page.
        native: Take native histograms; without it a histogram is its classic buckets.
        classic: Take the classic buckets of native histograms as well.
        secret: (2,) uint64 hash key.
        scratch: (SCRATCH,) uint8.
        families: (f, FAMILY) int32 out.
        metrics: (m, METRIC) int32 out.
        rows: (n, ROW) int32 out; the next three have as many rows.
        numbers: (n, 2) float64 out: value, and ``le`` or ``quantile``.
        stamps: (n, 2) int64 out: milliseconds of the sample and of when its counting began, 0 for none.
        hashes: (n, 2) uint64 out: hash of what the row is known by.
        exemplars: (e, PLACE) int32 out.
        natives: (h, PLACE) int32 out.
        digest: (2,) uint64 out: hash of all that is said about families, in its order.
        out: (OUT,) int64 out.

    Returns:
        OK, FULL or a fault.
    """
    for i in range(OUT):
        out[i] = 0
    digest[0] = secret[0]
    digest[1] = secret[1]
    pos = np.int64(0)
    while pos < size:
        out[POSITION] = pos
        pos, end = span(buf, pos, size)
        if pos < 0:
            return pos
        family = out[FAMILIES]
        if family == len(families):
            return FULL
        status = _family(buf, pos, end, families[family])
        if status < 0:
            return status
        for column in range(0, TYPE, 2):
            digest[0], digest[1] = siphash128(
                buf, families[family, column], families[family, column + 1], digest[0], digest[1]
            )
        digest[0] ^= np.uint64(families[family, TYPE])
        out[FAMILIES] = family + 1
        status = _metrics(
            buf, pos, end, native, classic, secret, scratch, families, metrics, rows, numbers, stamps, hashes,
            exemplars, natives, out,
        )  # fmt: skip
        if status < 0:
            return status
        pos = end
    return OK


@kernel
def _family(buf: NDArray[np.uint8], p: int, end: int, family: NDArray[np.int32]) -> int:
    """Read what a family says about itself."""
    for column in range(FAMILY):
        family[column] = 0
    family[TYPE] = UNTYPED
    typed = False
    while p < end:
        tag, p = varint(buf, p, end)
        if p < 0:
            return p
        first = p
        p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
        if p < 0:
            return p
        column = -1
        if tag == np.uint64(10):
            column = NAME
        elif tag == np.uint64(18):
            column = HELP
        elif tag == np.uint64(42):
            column = UNIT
        elif tag == np.uint64(24):
            number, _ = varint(buf, first, end)
            if number > np.uint64(GAUGE_HISTOGRAM):
                return BAD_TYPE
            family[TYPE] = np.int32(number)
            typed = True
        if column >= 0:
            body, _ = span(buf, first, end)
            family[column] = np.int32(body)
            family[column + 1] = np.int32(p - body)
    if not typed:
        # The first of the enumeration is what a message without the field has.
        family[TYPE] = COUNTER
    return NO_NAME if family[NAME_SIZE] == 0 else OK


@kernel
def _metrics(
    buf: NDArray[np.uint8],
    p: int,
    end: int,
    native: bool,
    classic: bool,
    secret: NDArray[np.uint64],
    scratch: NDArray[np.uint8],
    families: NDArray[np.int32],
    metrics: NDArray[np.int32],
    rows: NDArray[np.int32],
    numbers: NDArray[np.float64],
    stamps: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    exemplars: NDArray[np.int32],
    natives: NDArray[np.int32],
    out: NDArray[np.int64],
) -> int:
    """Read the metrics of the family that was read last; the arguments are those of `parse`."""
    owner = out[FAMILIES] - 1
    kind = np.int64(families[owner, TYPE])
    name_low, name_high = siphash128(buf, families[owner, NAME], families[owner, NAME_SIZE], secret[0], secret[1])
    while p < end:
        tag, p = varint(buf, p, end)
        first = p
        p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
        if tag != np.uint64(34):
            continue
        out[POSITION] = first
        if out[METRICS] == len(metrics):
            return FULL
        body, _ = span(buf, first, end)
        low, high, value, value_end, time = _metric(
            buf, body, p, _VALUE_TAGS[kind], name_low, name_high, metrics[out[METRICS]]
        )
        if value < 0:
            return value
        metrics[out[METRICS], OWNER] = np.int32(owner)
        out[METRICS] += 1
        begin = out[ROWS]
        if kind in (HISTOGRAM, GAUGE_HISTOGRAM):
            status = histogram(
                buf, value, value_end, native, classic, low, high, scratch, rows, numbers, stamps, hashes,
                exemplars, natives, out,
            )  # fmt: skip
        elif kind == SUMMARY:
            status = summary(buf, value, value_end, low, high, scratch, rows, numbers, stamps, hashes, out)
        else:
            status = simple(
                buf, value, value_end, kind == COUNTER, low, high, scratch, rows, numbers, stamps, hashes,
                exemplars, out,
            )  # fmt: skip
        if status < 0:
            return status
        for row in range(begin, out[ROWS]):
            rows[row, TIMED] = 1 if time != 0 else 0
            stamps[row, 0] = time
    return OK


@kernel
def _metric(
    buf: NDArray[np.uint8],
    p: int,
    end: int,
    wanted: int,
    low: np.uint64,
    high: np.uint64,
    metric: NDArray[np.int32],
) -> tuple[np.uint64, np.uint64, int, int, int]:
    """Read a metric.

    Args:
        buf: The page.
        p: Where it starts.
        end: Where it ends.
        wanted: Tag of the value that its type has.
        low: Hash of the family's name.
        high: Its other half.
        metric: (METRIC,) int32 out, save OWNER.

    Returns:
        Hash of name and labels, where the value lies (or a fault), and milliseconds, 0 for none.
    """
    value = np.int64(NO_VALUE)
    value_end = value
    time = np.int64(0)
    count = 0
    begin = p
    # Labels that follow each other are hashed in one go.
    run = p
    run_end = p
    last = p
    while p < end:
        first = p
        tag, p = varint(buf, p, end)
        if p < 0:
            return low, high, p, p, time
        at = p
        p = skip(buf, p, end, np.int64(tag & np.uint64(7)))
        if p < 0:
            return low, high, p, p, time
        if tag == np.uint64(10):
            if first != run_end:
                low, high = siphash128(buf, run, run_end - run, low, high)
                run = first
            run_end = p
            last = p
            count += 1
        elif tag == np.uint64(48):
            number, _ = varint(buf, at, end)
            time = np.int64(number)
        elif tag == np.uint64(wanted):
            value, value_end = span(buf, at, end)
    low, high = siphash128(buf, run, run_end - run, low, high)
    metric[LABELS] = np.int32(begin)
    metric[LABELS_SIZE] = np.int32(last - begin)
    metric[LABELS_COUNT] = np.int32(count)
    return low, high, value, value_end, time
