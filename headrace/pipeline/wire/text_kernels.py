# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that take an exposition page apart, line by line: Prometheus text and OpenMetrics text.

A sample's raw key is its ``name{labels}`` as written. A page is read in one pass that finds where keys end and reads
the numbers; what is inside a key is looked at (by `text_label_kernels`) only when nobody has seen the key before.

Source:
    Prometheus, "Exposition formats", text 0.0.4; OpenMetrics 1.0, section "Overall structure" (ABNF).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels import float_parse_kernels as numbers
from headrace.kernels.bits import load_u64, trailing_zeros
from headrace.kernels.jit import kernel
from headrace.kernels.siphash_kernels import siphash128

if TYPE_CHECKING:
    from numpy.typing import NDArray

OK = 0
FULL = -1
"""A column has too few rows; `count_lines` says how many are enough."""

# Faults of a line; `headrace.pipeline.wire.text` words them.
NO_NAME = -2
UNCLOSED = -3
BAD_VALUE = -4
BAD_TIMESTAMP = -5
TRAILING = -6
BAD_TYPE = -7
BAD_META = -8
NO_EOF = -9
AFTER_EOF = -10
BLANK_LINE = -11
BAD_EXEMPLAR = -12
BAD_SPACE = -13

# Bits of a sample's flags. The first two say how a known key may still differ in meaning.
HISTOGRAM = 1
"""The last TYPE line said histogram: ``le`` is a number."""
SUMMARY = 2
"""The last TYPE line said summary: ``quantile`` is a number."""
SLOW = 4
"""The value, the timestamp or the exemplar has to be read again, by Python."""
TIMED = 8
"""The sample has a timestamp."""

# Kinds of metadata.
HELP = 1
TYPE = 2
UNIT = 3

META = 6
"""Columns of a metadata row: kind, name offset, name size, text offset, text size, type."""

# What `out` tells.
SAMPLES = 0
METADATA = 1
EXEMPLARS = 2
POSITION = 3
SLOW_ROWS = 4
OUT = 5

FAR = np.int64((1 << 63) - 1)
"""A time past the range of int64 milliseconds."""

_ONES = np.uint64(0x0101010101010101)
_TOPS = np.uint64(0x8080808080808080)
_NEWLINES = np.uint64(0x0A0A0A0A0A0A0A0A)
_QUOTES = np.uint64(0x2222222222222222)
_OPENS = np.uint64(0x7B7B7B7B7B7B7B7B)
_BRACES = np.uint64(0x7D7D7D7D7D7D7D7D)
_CONTROLS = np.uint64(0x2121212121212121)
"""One more than a space: bytes below it are blanks, line feeds and control characters."""
_BACKSLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)

_TYPES = (b"unknown", b"counter", b"gauge", b"histogram", b"gaugehistogram", b"summary", b"info", b"stateset")
_TYPE_TEXT = np.frombuffer(b"".join(_TYPES) + b"untyped", np.uint8).copy()
_TYPE_BOUNDS = np.cumsum([0, *(len(name) for name in (*_TYPES, b"untyped"))]).astype(np.int64)
_TYPE_IN_TEXT = np.array([0, 1, 1, 1, 0, 1, 0, 0, 1], np.bool_)
_UNTYPED = 8
_HISTOGRAM_TYPE = 3
_SUMMARY_TYPE = 5


@kernel
def _find(buf: NDArray[np.uint8], pos: int, end: int, a: np.uint64, b: np.uint64, c: np.uint64) -> int:
    """Return the offset of the next byte that is one of three, or `end`; 8 bytes after `end` are readable.

    Args:
        buf: Bytes.
        pos: Where to begin.
        end: Where to stop.
        a: One of the bytes, eight times over.
        b: Another.
        c: The third.
    """
    while pos < end:
        word = load_u64(buf, pos)
        x = word ^ a
        y = word ^ b
        z = word ^ c
        # The lowest bit set is exact: only bytes above a match can be mistaken for one.
        found = (((x - _ONES) & ~x) | ((y - _ONES) & ~y) | ((z - _ONES) & ~z)) & _TOPS
        if found != np.uint64(0):
            return min(end, pos + np.int64(trailing_zeros(found) >> np.uint64(3)))
        pos += 8
    return end


@kernel
def _find_name_end(buf: NDArray[np.uint8], pos: int, end: int) -> int:
    """Return the offset of the next brace, blank or line feed, or `end`; 8 bytes after `end` are readable."""
    while pos < end:
        word = load_u64(buf, pos)
        x = word ^ _OPENS
        found = (((x - _ONES) & ~x) | ((word - _CONTROLS) & ~word)) & _TOPS
        if found != np.uint64(0):
            return min(end, pos + np.int64(trailing_zeros(found) >> np.uint64(3)))
        pos += 8
    return end


@kernel
def find_newline(buf: NDArray[np.uint8], pos: int, end: int) -> int:
    """Return the offset of the next line feed, or `end`."""
    return _find(buf, pos, end, _NEWLINES, _NEWLINES, _NEWLINES)


@kernel
def count_lines(buf: NDArray[np.uint8], size: int, openmetrics: bool) -> tuple[int, int]:
    """Return how many lines may be samples, and how many may be metadata."""
    samples = 0
    comments = 0
    pos = 0
    while pos < size:
        if not openmetrics:
            pos = _skip_blanks(buf, pos, size)
            if pos == size:
                break
        if buf[pos] == 35:
            comments += 1
        elif buf[pos] != 10:
            samples += 1
        pos = find_newline(buf, pos, size) + 1
    return samples, comments


@kernel
def parse_page(
    buf: NDArray[np.uint8],
    size: int,
    openmetrics: bool,
    secrets: NDArray[np.uint64],
    keys: NDArray[np.int32],
    hashes: NDArray[np.uint64],
    values: NDArray[np.float64],
    times: NDArray[np.int64],
    flags: NDArray[np.uint8],
    meta: NDArray[np.int32],
    exemplars: NDArray[np.int32],
    exemplar_values: NDArray[np.float64],
    exemplar_times: NDArray[np.int64],
    digest: NDArray[np.uint64],
    out: NDArray[np.int64],
) -> int:
    """Read a page.

    Args:
        buf: uint8 with PAD readable bytes after `size`.
        size: Bytes of the page.
        openmetrics: OpenMetrics 1.0 as Prometheus reads it, else text 0.0.4.
        secrets: (3, 2) uint64 hash keys: for keys below a TYPE that is neither, a histogram, a summary.
        keys: (n, 2) int32 out: offset and size of the raw key. The n columns have one length.
        hashes: (n, 2) uint64 out: hash of the raw key.
        values: (n,) float64 out.
        times: (n,) int64 out: milliseconds, FAR or -FAR out of range, 0 where there is none.
        flags: (n,) uint8 out.
        meta: (m, META) int32 out.
        exemplars: (e, 4) int32 out: sample, offset and size of ``{labels}``, 1 with a timestamp.
        exemplar_values: (e,) float64 out.
        exemplar_times: (e,) int64 out, milliseconds.
        digest: (2,) uint64 out: hash of all metadata lines in their order.
        out: (OUT,) int64 out: numbers of rows, and the offset of a fault.

    Returns:
        OK, FULL or a fault.
    """
    kind = 0
    ended = False
    digest[0] = secrets[0, 0]
    digest[1] = secrets[0, 1]
    for i in range(OUT):
        out[i] = 0
    pos = 0
    while pos < size:
        line = pos
        out[POSITION] = line
        if ended:
            return AFTER_EOF
        if not openmetrics:
            pos = _skip_blanks(buf, pos, size)
            if pos == size:
                break
        if buf[pos] == 10:
            if openmetrics:
                return BLANK_LINE
            pos += 1
            continue
        if buf[pos] == 35:
            end = find_newline(buf, pos, size)
            if openmetrics and end - pos == 5 and _starts(buf, pos + 1, end, 32, 69, 79, 70):
                ended = True
                pos = end + 1
                continue
            code = _parse_meta(buf, pos, end, openmetrics, meta, out)
            if code < 0:
                return code
            if code > 0:
                digest[0], digest[1] = siphash128(buf, line, end - line, digest[0], digest[1])
                if code == TYPE:
                    type_ = meta[out[METADATA] - 1, 5]
                    kind = 1 if type_ == _HISTOGRAM_TYPE else (2 if type_ == _SUMMARY_TYPE else 0)
            pos = end + 1
            continue
        row = out[SAMPLES]
        if row == len(values):
            return FULL
        line = pos
        pos = _scan_key(buf, pos, size, openmetrics)
        if pos < 0:
            return pos
        keys[row, 0] = line
        keys[row, 1] = pos - line
        hashes[row, 0], hashes[row, 1] = siphash128(buf, line, pos - line, secrets[kind, 0], secrets[kind, 1])
        value, time, flag, pos = _parse_numbers(buf, pos, size, openmetrics)
        if pos < 0:
            return pos
        values[row] = value
        times[row] = time
        flags[row] = kind | flag
        if flag & SLOW:
            out[SLOW_ROWS] += 1
        if pos < size and buf[pos] == 32:
            pos = _parse_exemplar(buf, pos, size, row, exemplars, exemplar_values, exemplar_times, out)
            if pos < 0:
                return pos
        pos += 1
        out[SAMPLES] = row + 1
    out[POSITION] = size
    return NO_EOF if openmetrics and not ended else OK


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
        pos = _skip_blanks(buf, pos, size)
        start = pos
        while pos < size and buf[pos] != 32 and buf[pos] != 9 and buf[pos] != 10:
            pos += 1
        tokens[i, 0] = start
        tokens[i, 1] = pos - start
        if i == 1 and pos > start and buf[start] == 35:
            tokens[i, 1] = 0
    return pos


@kernel
def _parse_numbers(buf: NDArray[np.uint8], pos: int, size: int, openmetrics: bool) -> tuple[float, int, int, int]:
    """Read the value and the timestamp after a raw key.

    It takes no array but `buf`: each one more would cost as much as reading a number.

    Returns:
        Value, milliseconds, flags, and the offset of what follows, or a fault: a line feed, the end, or the space
        before an exemplar.
    """
    time = np.int64(0)
    flags = 0
    if not openmetrics:
        pos = _skip_blanks(buf, pos, size)
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
        pos = _skip_blanks(buf, pos, size)
        if pos < size and buf[pos] != 10:
            time, pos = _parse_milliseconds(buf, pos, size)
            if pos < 0:
                return 0.0, time, flags, BAD_TIMESTAMP
            flags |= TIMED
            pos = _skip_blanks(buf, pos, size)
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
def _parse_exemplar(
    buf: NDArray[np.uint8],
    pos: int,
    size: int,
    row: int,
    exemplars: NDArray[np.int32],
    exemplar_values: NDArray[np.float64],
    exemplar_times: NDArray[np.int64],
    out: NDArray[np.int64],
) -> int:
    """Read `` # {labels} value [timestamp]``; return the offset of the line feed, or a fault."""
    if not (pos + 4 <= size and buf[pos + 1] == 35 and buf[pos + 2] == 32 and buf[pos + 3] == 123):
        return BAD_EXEMPLAR
    exemplar = out[EXEMPLARS]
    if exemplar == len(exemplar_values):
        return FULL
    start = pos + 3
    pos = _scan_braces(buf, start, size)
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
    out[EXEMPLARS] = exemplar + 1
    return pos


@kernel
def _scan_key(buf: NDArray[np.uint8], pos: int, size: int, openmetrics: bool) -> int:
    """Return the offset after ``name{labels}``, or a fault."""
    start = pos
    pos = _find_name_end(buf, pos, size)
    end = pos
    if not openmetrics:
        pos = _skip_blanks(buf, pos, size)
    if pos < size and buf[pos] == 123:
        return _scan_braces(buf, pos, size)
    return end if end > start else NO_NAME


@kernel
def _scan_braces(buf: NDArray[np.uint8], pos: int, size: int) -> int:
    """Return the offset after the brace that closes the one at `pos`, or a fault."""
    pos += 1
    while True:
        pos = _find(buf, pos, size, _QUOTES, _BRACES, _NEWLINES)
        if pos >= size or buf[pos] == 10:
            return UNCLOSED
        if buf[pos] == 125:
            return pos + 1
        pos = _scan_quoted(buf, pos + 1, size)
        if pos < 0:
            return pos


@kernel
def _scan_quoted(buf: NDArray[np.uint8], pos: int, size: int) -> int:
    """Return the offset after the quote that closes the one before `pos`, or a fault.

    A line feed does not end it. In text it is part of the value: exporters that forget to escape it work with
    Prometheus. In OpenMetrics it is a fault that is found when the key is split.
    """
    while True:
        pos = _find(buf, pos, size, _QUOTES, _BACKSLASHES, _BACKSLASHES)
        if pos >= size:
            return UNCLOSED
        if buf[pos] == 34:
            return pos + 1
        pos += 1
        if pos >= size or buf[pos] == 10:
            return UNCLOSED
        pos += 1


@kernel
def _parse_meta(
    buf: NDArray[np.uint8], pos: int, end: int, openmetrics: bool, meta: NDArray[np.int32], out: NDArray[np.int64]
) -> int:
    """Read a line that begins with ``#``; return the kind of its metadata, 0 for a mere comment, or a fault."""
    pos += 1
    start = pos
    pos = _skip_blanks(buf, pos, end)
    blanks = pos - start
    kind = 0
    if _starts(buf, pos, end, 72, 69, 76, 80):
        kind = HELP
    elif _starts(buf, pos, end, 84, 89, 80, 69):
        kind = TYPE
    elif openmetrics and _starts(buf, pos, end, 85, 78, 73, 84):
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
        pos = _skip_blanks(buf, pos, end)
    row = out[METADATA]
    if row == len(meta):
        return FULL
    start = pos
    if pos < end and buf[pos] == 34:
        pos = _scan_quoted(buf, pos + 1, end)
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
        pos = _skip_blanks(buf, pos, end)
    meta[row, 3] = pos
    meta[row, 4] = end - pos
    meta[row, 5] = 0
    if kind == TYPE:
        type_ = _type_of(buf, pos, end, openmetrics)
        if type_ < 0:
            return BAD_TYPE
        meta[row, 5] = type_
    out[METADATA] = row + 1
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
def _starts(buf: NDArray[np.uint8], pos: int, end: int, a: int, b: int, c: int, d: int) -> bool:
    return pos + 4 <= end and buf[pos] == a and buf[pos + 1] == b and buf[pos + 2] == c and buf[pos + 3] == d


@kernel
def _skip_blanks(buf: NDArray[np.uint8], pos: int, end: int) -> int:
    while pos < end and (buf[pos] == 32 or buf[pos] == 9):
        pos += 1
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
