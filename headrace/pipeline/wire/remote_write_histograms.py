"""The native histograms of a remote write request as columns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.pipeline.errors import TooLarge
from headrace.pipeline.native_histogram_making import reduced
from headrace.pipeline.native_histograms import NativeHistograms
from headrace.pipeline.wire import remote_write_histogram_kernels as kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BYTES = 256 << 20
"""Memory that the histograms of one request may take. A histogram of two bytes makes a row of a hundred."""

_ROW_BYTES = 160
_SPAN_BYTES = 8
_BUCKET_BYTES = 8

INVALID = "native_histogram_invalid"
INVALID_SCHEMA = "native_histogram_invalid_schema"

REMOTE_WRITE = np.arange(kernels.KINDS, dtype=np.int64)
"""Tags of the message ``Histogram`` of remote write; see `remote_write_histogram_kernels`."""

_FAULTS = {
    kernels.SCHEMA: "the schema is neither -53 nor within -4 to 8",
    kernels.NEGATIVE_OFFSET: "a span has a negative offset",
    kernels.SPANS_BUCKETS: "the spans are not as long as there are buckets",
    kernels.NEGATIVE_COUNT: "a count is negative",
    kernels.COUNT_MISMATCH: "the buckets do not add up to the count",
    kernels.COUNT_TOO_SMALL: "the buckets add up to more than the count",
    kernels.CUSTOM_ZERO: "with custom buckets there is no zero bucket",
    kernels.CUSTOM_NEGATIVE: "with custom buckets there are no negative ones",
    kernels.CUSTOM_BOUNDS: "custom bounds must be finite and ascend",
    kernels.CUSTOM_SHORT: "the spans reach beyond the custom bounds",
    kernels.NOT_CUSTOM: "an exponential schema has no custom bounds",
    kernels.OUT_OF_RANGE: "a bucket's index does not fit into 32 bits",
}


class Read(NamedTuple):
    """Histograms of a request.

    Attributes:
        rows: All of them, bad ones too; their series are (h,) numbers of the request's series.
        faults: (h,) uint8: 0, or what is wrong with the row.
    """

    rows: NativeHistograms
    faults: NDArray[np.uint8]


def check_room(histograms: int) -> None:
    """Refuse what would take too much memory, before any is taken for it.

    Raises:
        TooLarge: There are so many histograms.
    """
    size = histograms * _ROW_BYTES
    if size > MAX_BYTES:
        raise TooLarge(f"memory for {histograms} native histograms", size, MAX_BYTES)


def measured(
    buf: NDArray[np.uint8], places: NDArray[np.int32], kinds: NDArray[np.int64] = REMOTE_WRITE
) -> tuple[NDArray[np.int64], int]:
    """Return (h, SIZES) what each message holds, and a negative status where one does not decode.

    Args:
        buf: The request, padded.
        places: (h, COLUMNS) int32, where the messages lie.
        kinds: What their tags mean.

    Raises:
        TooLarge: They would take too much memory.
    """
    sizes = np.zeros((len(places), kernels.SIZES), np.int64)
    status = kernels.measure(buf, kinds, places, sizes)
    spans, buckets = int(sizes[:, :2].sum()), int(sizes[:, 2:5].sum())
    size = len(places) * _ROW_BYTES + spans * _SPAN_BYTES + buckets * _BUCKET_BYTES
    if size > MAX_BYTES:
        what = f"memory for native histograms with {spans} spans and {buckets} buckets"
        raise TooLarge(what, size, MAX_BYTES)
    return sizes, status


def read(
    buf: NDArray[np.uint8],
    places: NDArray[np.int32],
    sizes: NDArray[np.int64],
    created: NDArray[np.int64],
    kinds: NDArray[np.int64] = REMOTE_WRITE,
) -> tuple[Read, int]:
    """Return the histograms, and a negative status where one does not decode.

    Args:
        buf: The request, padded.
        places: (h, COLUMNS) int32, where the messages lie.
        sizes: What `measured` returned.
        created: (h,) int64 milliseconds, the start times of the series; changed.
        kinds: As for `measured`.
    """
    n = len(places)
    flags, faults = sizes[:, kernels.FLAGS].astype(np.uint8), np.zeros(n, np.uint8)
    span_starts, bucket_starts, bound_starts = _running(sizes[:, :2]), _running(sizes[:, 2:4]), _running(sizes[:, 4:5])
    rows = NativeHistograms(
        series=np.ascontiguousarray(places[:, kernels.SERIES]),
        time_ms=np.zeros(n, np.int64),
        start_ms=created,
        flags=flags,
        hint=np.zeros(n, np.uint8),
        schema=np.zeros(n, np.int8),
        zero_threshold=np.zeros(n),
        zero_count=np.zeros(n, np.uint64),
        count=np.zeros(n, np.uint64),
        sum=np.zeros(n),
        span_starts=span_starts,
        positive_spans=sizes[:, kernels.POSITIVE_SPANS].astype(np.int32),
        spans=np.zeros((int(span_starts[-1]), 2), np.int32),
        bucket_starts=bucket_starts,
        buckets=np.zeros(int(bucket_starts[-1]), np.uint64),
        bound_starts=bound_starts,
        bounds=np.zeros(int(bound_starts[-1])),
    )
    status = kernels.read(
        buf, kinds, places, sizes, rows.time_ms, rows.start_ms, rows.hint, rows.schema, rows.zero_threshold,
        rows.zero_count, rows.count, rows.sum, span_starts, rows.spans, bucket_starts, rows.buckets, bound_starts,
        rows.bounds, faults,
    )  # fmt: skip
    return Read(rows, faults), status


def taken(rows: NativeHistograms, ids: NDArray[np.int32], kept: NDArray[np.bool_]) -> NativeHistograms | None:
    """Return the rows where `kept` is true, under the ids of the table and in resolutions that are stored."""
    columns = rows.select(kept)
    if not len(columns):
        return None
    return reduced(replace(columns, series=ids[kept]))


def reason(fault: int) -> str:
    """Return the reason of a fault as drop counters name it."""
    return INVALID_SCHEMA if fault == kernels.SCHEMA else INVALID


def text(fault: int) -> str:
    """Return a fault in words."""
    return _FAULTS[fault]


def _running(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    out = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes.sum(axis=1), out=out[1:])
    return out
