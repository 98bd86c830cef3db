# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that read the comments of an exposition in text: HELP, TYPE, UNIT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import flat_kernel as kernel
from headrace.pipeline.wire.text_scan_kernels import scan_quoted, skip_blanks

if TYPE_CHECKING:
    from numpy.typing import NDArray

FULL = -1
"""There are too few rows."""

# Faults of a line.
BAD_TYPE = -7
BAD_META = -8

# Kinds of metadata.
HELP = 1
TYPE = 2
UNIT = 3

META = 6
"""Columns of a metadata row: kind, name offset, name size, text offset, text size, type."""

HISTOGRAM_TYPE = 3
SUMMARY_TYPE = 5

_TYPES = (b"unknown", b"counter", b"gauge", b"histogram", b"gaugehistogram", b"summary", b"info", b"stateset")
_TYPE_TEXT = np.frombuffer(b"".join(_TYPES) + b"untyped", np.uint8).copy()
_TYPE_BOUNDS = np.cumsum([0, *(len(name) for name in (*_TYPES, b"untyped"))]).astype(np.int64)
_TYPE_IN_TEXT = np.array([0, 1, 1, 1, 0, 1, 0, 0, 1], np.bool_)
_UNTYPED = 8


@kernel
def parse_meta(buf: NDArray[np.uint8], pos: int, end: int, openmetrics: bool, meta: NDArray[np.int32], row: int) -> int:
    """Read a line that begins with ``#`` into a row; return its kind, 0 for a mere comment, or a fault."""
    pos += 1
    start = pos
    pos = skip_blanks(buf, pos, end)
    blanks = pos - start
    kind = 0
    if starts(buf, pos, end, 72, 69, 76, 80):
        kind = HELP
    elif starts(buf, pos, end, 84, 89, 80, 69):
        kind = TYPE
    elif openmetrics and starts(buf, pos, end, 85, 78, 73, 84):
        kind = UNIT
    pos += 4
    blank = pos < end and (buf[pos] == 32 or buf[pos] == 9)
    if openmetrics:
        if kind == 0 or blanks != 1 or not blank or buf[start] != 32 or buf[pos] != 32:
            return BAD_META
        pos += 1
    else:
        if kind == 0 or blanks == 0 or not blank:
            return 0
        pos = skip_blanks(buf, pos, end)
    if row == len(meta):
        return FULL
    start = pos
    if pos < end and buf[pos] == 34:
        pos = scan_quoted(buf, pos + 1, end)
        if pos < 0:
            return BAD_META
    else:
        while pos < end and buf[pos] != 32 and buf[pos] != 9:
            pos += 1
    if pos == start:
        return BAD_META
    meta[row, 0] = kind
    meta[row, 1] = start
    meta[row, 2] = pos - start
    if openmetrics:
        if pos >= end or buf[pos] != 32:
            return BAD_META
        pos += 1
    else:
        if kind == TYPE:
            while end > pos and (buf[end - 1] == 32 or buf[end - 1] == 9):
                end -= 1
        pos = skip_blanks(buf, pos, end)
    meta[row, 3] = pos
    meta[row, 4] = end - pos
    meta[row, 5] = 0
    if kind == TYPE:
        type_ = _type_of(buf, pos, end, openmetrics)
        if type_ < 0:
            return BAD_TYPE
        meta[row, 5] = type_
    return kind


@kernel
def _type_of(buf: NDArray[np.uint8], pos: int, end: int, openmetrics: bool) -> int:
    """Return the number of a type's name, as `MetricType` has them; -1 where the format has no such type."""
    for i in range(len(_TYPE_IN_TEXT)):
        first = _TYPE_BOUNDS[i]
        if _TYPE_BOUNDS[i + 1] - first != end - pos:
            continue
        if (i == _UNTYPED) if openmetrics else not _TYPE_IN_TEXT[i]:
            continue
        same = 0
        while same < end - pos and buf[pos + same] == _TYPE_TEXT[first + same]:
            same += 1
        if same == end - pos:
            return 0 if i == _UNTYPED else i
    return -1


@kernel
def starts(buf: NDArray[np.uint8], pos: int, end: int, a: int, b: int, c: int, d: int) -> bool:
    """Return whether four bytes stand at `pos`."""
    return pos + 4 <= end and buf[pos] == a and buf[pos + 1] == b and buf[pos + 2] == c and buf[pos + 3] == d
