# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that read the numbers of an exposition in text: values, timestamps, exemplars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels import float_parse_kernels as numbers
from headrace.kernels.jit import flat_kernel as kernel
from headrace.pipeline.wire.text_scan_kernels import scan_braces, skip_blanks

if TYPE_CHECKING:
    from numpy.typing import NDArray

FULL = -1
"""A column has too few rows."""

# Faults of a line.
BAD_VALUE = -4
BAD_TIMESTAMP = -5
TRAILING = -6
BAD_EXEMPLAR = -12
BAD_SPACE = -13

# Bits of a sample's flags beside those that say what its family is.
SLOW = 4
"""The value, the timestamp or the exemplar has to be read again, by Python."""
TIMED = 8
"""The sample has a timestamp."""

FAR = np.int64((1 << 63) - 1)
"""A time past the range of int64 milliseconds."""


@kernel
def parse_numbers_again(buf: NDArray[np.uint8], pos: int, size: int, tokens: NDArray[np.int32]) -> int:
    """Find the numbers of a line that was read before, for Python to read.

    Args:
        buf: The page.
        pos: Offset after the raw key.
        size: Bytes of the page.
        tokens: (2, 2) int32 out: offset and size of the value and of the timestamp, size 0 for none.

    Returns:
        Offset after the last number.
    """
    for i in range(2):
        pos = skip_blanks(buf, pos, size)
        start = pos
        while pos < size and buf[pos] != 32 and buf[pos] != 9 and buf[pos] != 10:
            pos += 1
        tokens[i, 0] = start
        tokens[i, 1] = pos - start
        if i == 1 and pos > start and buf[start] == 35:
            tokens[i, 1] = 0
    return pos


@kernel
def parse_numbers(buf: NDArray[np.uint8], pos: int, size: int, openmetrics: bool) -> tuple[float, int, int, int]:
    """Read the value and the timestamp after a raw key.

    It takes no array but `buf`: each one more would cost as much as reading a number.

    Returns:
        Value, milliseconds, flags, and the offset of what follows, or a fault: a line feed, the end, or the space
        before an exemplar.
    """
    time = np.int64(0)
    flags = 0
    if not openmetrics:
        pos = skip_blanks(buf, pos, size)
    elif pos < size and buf[pos] == 32:
        pos += 1
    else:
        return 0.0, time, flags, BAD_SPACE
    value, pos, status = numbers.parse(buf, pos, size)
    if status == numbers.SYNTAX or not _number_ends(buf, pos, size):
        return 0.0, time, flags, BAD_VALUE
    if status == numbers.SLOW:
        flags = SLOW
    if pos >= size or buf[pos] == 10:
        return value, time, flags, pos
    if not openmetrics:
        pos = skip_blanks(buf, pos, size)
        if pos < size and buf[pos] != 10:
            time, pos = _parse_milliseconds(buf, pos, size)
            if pos < 0:
                return 0.0, time, flags, BAD_TIMESTAMP
            flags |= TIMED
            pos = skip_blanks(buf, pos, size)
    elif not (pos + 1 < size and buf[pos + 1] == 35):
        seconds, pos, status = numbers.parse(buf, pos + 1, size)
        if status == numbers.SYNTAX or not np.isfinite(seconds) or not _number_ends(buf, pos, size):
            return 0.0, time, flags, BAD_TIMESTAMP
        time = _milliseconds(seconds)
        flags |= TIMED
        if status == numbers.SLOW:
            flags |= SLOW
    if pos < size and buf[pos] != 10 and not (openmetrics and buf[pos] == 32):
        return 0.0, time, flags, TRAILING
    return value, time, flags, pos


@kernel
def parse_exemplar(
    buf: NDArray[np.uint8],
    pos: int,
    size: int,
    row: int,
    exemplars: NDArray[np.int32],
    exemplar_values: NDArray[np.float64],
    exemplar_times: NDArray[np.int64],
    exemplar: int,
) -> int:
    """Read `` # {labels} value [timestamp]`` as number `exemplar`; return the offset of the line feed, or a fault."""
    if not (pos + 4 <= size and buf[pos + 1] == 35 and buf[pos + 2] == 32 and buf[pos + 3] == 123):
        return BAD_EXEMPLAR
    if exemplar == len(exemplar_values):
        return FULL
    start = pos + 3
    pos = scan_braces(buf, start, size)
    if pos < 0:
        return pos
    exemplars[exemplar, 0] = row
    exemplars[exemplar, 1] = start
    exemplars[exemplar, 2] = pos - start
    exemplars[exemplar, 3] = 0
    if pos >= size or buf[pos] != 32:
        return BAD_EXEMPLAR
    value, pos, status = numbers.parse(buf, pos + 1, size)
    if status == numbers.SYNTAX or not _number_ends(buf, pos, size):
        return BAD_EXEMPLAR
    exemplar_values[exemplar] = value
    exemplar_times[exemplar] = 0
    if pos < size and buf[pos] == 32:
        seconds, pos, status = numbers.parse(buf, pos + 1, size)
        if status == numbers.SYNTAX or not np.isfinite(seconds):
            return BAD_EXEMPLAR
        exemplar_times[exemplar] = _milliseconds(seconds)
        exemplars[exemplar, 3] = 1
    if pos < size and buf[pos] != 10:
        return BAD_EXEMPLAR
    return pos


@kernel
def _number_ends(buf: NDArray[np.uint8], pos: int, size: int) -> bool:
    return pos >= size or buf[pos] == 32 or buf[pos] == 10 or buf[pos] == 9


@kernel
def _parse_milliseconds(buf: NDArray[np.uint8], pos: int, size: int) -> tuple[int, int]:
    """Read a whole number of milliseconds; the offset after it is -1 where there is none that fits."""
    negative = buf[pos] == 45
    if negative:
        pos += 1
    start = pos
    value = np.int64(0)
    while pos < size and 48 <= buf[pos] <= 57:
        digit = np.int64(buf[pos] - 48)
        if value > (FAR - digit) // np.int64(10):
            return 0, -1
        value = value * np.int64(10) + digit
        pos += 1
    if pos == start or not _number_ends(buf, pos, size):
        return 0, -1
    return (-value if negative else value), pos


@kernel
def _milliseconds(seconds: float) -> int:
    """Return seconds as milliseconds, cut off towards zero."""
    scaled = seconds * 1000.0
    if scaled >= 9.2e18:
        return FAR
    if scaled <= -9.2e18:
        return -FAR
    return np.int64(scaled)
