# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that find the ends of what an exposition in text holds: lines, names, braces, quoted texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import load_u64, trailing_zeros
from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Faults, all negative as the others of a page; `headrace.pipeline.wire.text` words them.
NO_NAME = -2
UNCLOSED = -3

_ONES = np.uint64(0x0101010101010101)
_TOPS = np.uint64(0x8080808080808080)
_NEWLINES = np.uint64(0x0A0A0A0A0A0A0A0A)
_QUOTES = np.uint64(0x2222222222222222)
_OPENS = np.uint64(0x7B7B7B7B7B7B7B7B)
_BRACES = np.uint64(0x7D7D7D7D7D7D7D7D)
_CONTROLS = np.uint64(0x2121212121212121)
"""One more than a space: bytes below it are blanks, line feeds and control characters."""
_BACKSLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)


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
def scan_key(buf: NDArray[np.uint8], pos: int, size: int, openmetrics: bool) -> int:
    """Return the offset after ``name{labels}``, or a fault."""
    start = pos
    pos = _find_name_end(buf, pos, size)
    end = pos
    if not openmetrics:
        pos = skip_blanks(buf, pos, size)
    if pos < size and buf[pos] == 123:
        return scan_braces(buf, pos, size)
    return end if end > start else NO_NAME


@kernel
def scan_braces(buf: NDArray[np.uint8], pos: int, size: int) -> int:
    """Return the offset after the brace that closes the one at `pos`, or a fault."""
    pos += 1
    while True:
        pos = _find(buf, pos, size, _QUOTES, _BRACES, _NEWLINES)
        if pos >= size or buf[pos] == 10:
            return UNCLOSED
        if buf[pos] == 125:
            return pos + 1
        pos = scan_quoted(buf, pos + 1, size)
        if pos < 0:
            return pos


@kernel
def scan_quoted(buf: NDArray[np.uint8], pos: int, size: int) -> int:
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
def skip_blanks(buf: NDArray[np.uint8], pos: int, end: int) -> int:
    """Return the offset of the next byte that is neither a space nor a tab, or `end`."""
    while pos < end and (buf[pos] == 32 or buf[pos] == 9):
        pos += 1
    return pos
