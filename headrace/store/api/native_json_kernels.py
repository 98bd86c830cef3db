# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return,no-untyped-call"
"""Kernel that writes native histograms as JSON.

Source:
    Prometheus, "HTTP API", section "Native histograms".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.float_print_kernels import write_api
from headrace.kernels.jit import flat_kernel as kernel
from headrace.store.promql.natives.bucket_kernels import bucket, size
from headrace.store.promql.natives.total_kernels import CUSTOM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headrace.store.promql.natives.float_histograms import Columns

BUCKET_BYTES = 120
"""Room that a bucket takes at most."""

FRAME_BYTES = 160
"""Room that a histogram takes at most beside its buckets, with what the printing of a number may touch behind it."""

OPEN_LEFT = 0
OPEN_RIGHT = 1
OPEN = 2
CLOSED = 3
"""Rules of buckets: (lower, upper], [lower, upper), (lower, upper), [lower, upper]."""

_QUOTE = np.uint8(ord('"'))
_COMMA = np.uint8(ord(","))


@kernel
def copy(text: NDArray[np.uint8], out: NDArray[np.uint8], pos: int) -> int:
    """Copy a text; return the place behind it."""
    for i in range(len(text)):
        out[pos + i] = text[i]
    return pos + len(text)


@kernel
def quoted(out: NDArray[np.uint8], pos: int, value: float) -> int:
    """Write a number in quotes; return the place behind it."""
    out[pos] = _QUOTE
    pos = write_api(out, pos + 1, value)
    out[pos] = _QUOTE
    return pos + 1


@kernel
def rule(lower: float, upper: float) -> int:
    """Return which bounds belong to an exponential bucket; the zero bucket has both, as wide as it may be."""
    if lower == -upper:
        return CLOSED
    if lower < 0:
        return OPEN_RIGHT if upper <= 0 else CLOSED
    return OPEN_LEFT if upper > 0 else OPEN


@kernel
def write(
    table: Columns,
    begin: int,
    bounds: NDArray[np.int64],
    head: NDArray[np.uint8],
    middle: NDArray[np.uint8],
    tail: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> None:
    """Write some rows, one after the other.

    Args:
        table: Histograms.
        begin: The first row.
        bounds: (k + 1,) int64 out: where each row begins in `out`.
        head: What a histogram begins with: ``{"count":``.
        middle: What is between count and sum: ``,"sum":``.
        tail: What its buckets begin with: ``,"buckets":[``.
        out: Room of FRAME_BYTES for each row and BUCKET_BYTES for each bucket, the zero bucket included.
    """
    pos = 0
    bounds[0] = 0
    for i in range(len(bounds) - 1):
        row = begin + i
        pos = quoted(out, copy(head, out, pos), table.total_count[row])
        pos = quoted(out, copy(middle, out, pos), table.total_sum[row])
        some = False
        for k in range(size(table, row)):
            lower, upper, count = bucket(table, row, k)
            if count == 0:
                continue
            if some:
                out[pos] = _COMMA
                pos += 1
            else:
                pos = copy(tail, out, pos)
                some = True
            number = rule(lower, upper)
            if table.schema[row] == CUSTOM:
                number = CLOSED if lower == -np.inf else OPEN_LEFT
            out[pos] = np.uint8(ord("["))
            out[pos + 1] = np.uint8(48 + number)
            out[pos + 2] = _COMMA
            pos = quoted(out, pos + 3, lower)
            out[pos] = _COMMA
            pos = quoted(out, pos + 1, upper)
            out[pos] = _COMMA
            pos = quoted(out, pos + 1, count)
            out[pos] = np.uint8(ord("]"))
            pos += 1
        if some:
            out[pos] = np.uint8(ord("]"))
            pos += 1
        out[pos] = np.uint8(ord("}"))
        pos += 1
        bounds[i + 1] = pos
