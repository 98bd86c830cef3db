# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels of exemplars: labels as bytes, and which exemplars are taken.

Layout of a label set: for each label, by ascending name, u16 size and bytes of the name, then u16 size and bytes of the
value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import float_bits
from headrace.kernels.jit import kernel
from headrace.kernels.utf8_kernels import is_utf8

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_RUNES = 128
"""Most characters of all names and values together, as in OpenMetrics."""

# Codes.
OK = 0
DUPLICATE = 1
OUT_OF_ORDER = 2
TOO_LONG = 3
INVALID = 4
TOO_FAR_AHEAD = 5

_FRAME = 4


@kernel
def _compare(buf: NDArray[np.uint8], a: int, a_size: int, b: int, b_size: int) -> int:
    """Compare two byte ranges: below 0, 0 or above 0."""
    for i in range(min(a_size, b_size)):
        if buf[a + i] != buf[b + i]:
            return np.int64(buf[a + i]) - np.int64(buf[b + i])
    return a_size - b_size


@kernel
def measure(
    buf: NDArray[np.uint8],
    spans: NDArray[np.int32],
    starts: NDArray[np.int32],
    sizes: NDArray[np.int64],
    codes: NDArray[np.uint8],
) -> None:
    """Sort the labels of each set by name, and find out how many bytes it takes.

    Args:
        buf: uint8, with 8 readable bytes after the last.
        spans: (l, 4) int32 name offset, name size, value offset, value size; reordered within a set.
        starts: (n + 1,) int32; labels of set i are ``spans[starts[i]:starts[i + 1]]``.
        sizes: (n,) int64 out, 0 where the set is not taken.
        codes: (n,) uint8 out: OK, TOO_LONG, or INVALID for texts that are not UTF-8, empty and repeated names.
    """
    for i in range(len(starts) - 1):
        first = np.int64(starts[i])
        last = np.int64(starts[i + 1])
        runes = 0
        size = 0
        code = OK
        for j in range(first, last):
            if spans[j, 1] == 0:
                code = INVALID
            for k in (0, 2):
                at = np.int64(spans[j, k])
                length = np.int64(spans[j, k + 1])
                # A character has four bytes at most, so what is longer than that is too long without a look.
                if length > 4 * MAX_RUNES:
                    runes = MAX_RUNES + 1
                    continue
                size += length
                if not is_utf8(buf, at, length):
                    code = INVALID
                for p in range(at, at + length):
                    if buf[p] & 0xC0 != 0x80:
                        runes += 1
            size += _FRAME
            if runes > MAX_RUNES:
                break
        if runes > MAX_RUNES:
            code = TOO_LONG
        elif code == OK:
            for j in range(first + 1, last):
                k = j
                while k > first:
                    order = _compare(buf, spans[k - 1, 0], spans[k - 1, 1], spans[k, 0], spans[k, 1])
                    if order == 0:
                        code = INVALID
                    if order <= 0:
                        break
                    for c in range(4):
                        spans[k - 1, c], spans[k, c] = spans[k, c], spans[k - 1, c]
                    k -= 1
        codes[i] = code
        sizes[i] = size if code == OK else 0


@kernel
def _put(buf: NDArray[np.uint8], at: int, size: int, out: NDArray[np.uint8], p: int) -> int:
    out[p] = np.uint8(size & 255)
    out[p + 1] = np.uint8(size >> 8)
    for i in range(size):
        out[p + 2 + i] = buf[at + i]
    return p + 2 + size


@kernel
def encode(
    buf: NDArray[np.uint8],
    spans: NDArray[np.int32],
    starts: NDArray[np.int32],
    rows: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Write the label sets `rows`, (k,) int64, one after the other; `measure` has been through them."""
    p = 0
    for i in range(len(rows)):
        for j in range(starts[rows[i]], starts[rows[i] + 1]):
            p = _put(buf, np.int64(spans[j, 0]), np.int64(spans[j, 1]), out, p)
            p = _put(buf, np.int64(spans[j, 2]), np.int64(spans[j, 3]), out, p)


@kernel
def well_formed(labels: NDArray[np.uint8], starts: NDArray[np.int64]) -> bool:
    """Return whether label sets that were read from disk end where they say.

    Args:
        labels: uint8, with 8 readable bytes after the last.
        starts: (n + 1,) int64, ascending, within `labels`.
    """
    for i in range(len(starts) - 1):
        p = starts[i]
        end = starts[i + 1]
        parts = 0
        while p < end:
            if p + 2 > end:
                return False
            size = np.int64(labels[p]) | np.int64(labels[p + 1]) << 8
            p += 2
            if p + size > end or not is_utf8(labels, p, size):
                return False
            p += size
            parts += 1
        if parts % 2:
            return False
    return True


@kernel
def admit(
    refs: NDArray[np.int32],
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    dated: NDArray[np.bool_],
    hashes: NDArray[np.uint64],
    latest: int,
    last_times: NDArray[np.int64],
    last_values: NDArray[np.float64],
    last_hashes: NDArray[np.uint64],
    never: int,
    codes: NDArray[np.uint8],
) -> None:
    """Compare each exemplar with the newest of its series, whose place it takes where it is newer.

    Exemplars of a series ascend by time, then value, then hash of the labels.

    Args:
        refs: (n,) int32.
        times: (n,) int64 milliseconds.
        values: (n,) float64.
        dated: (n,) bool: whether the sender said when; one without is a repeat whatever its time.
        hashes: (n,) uint64 of the labels.
        latest: Newest time that is taken.
        last_times: By ref, the newest exemplar's time, `never` without one; changed.
        last_values: By ref; changed.
        last_hashes: By ref; changed.
        never: See `last_times`.
        codes: (n,) uint8; rows that are not OK are passed over; out.
    """
    for i in range(len(refs)):
        if codes[i] != OK:
            continue
        ref = refs[i]
        if times[i] > latest:
            codes[i] = TOO_FAR_AHEAD
            continue
        if last_times[ref] != never:
            same_value = float_bits(values[i]) == float_bits(last_values[ref])
            same_time = times[i] == last_times[ref]
            if same_value and hashes[i] == last_hashes[ref] and (same_time or not dated[i]):
                codes[i] = DUPLICATE
                continue
            older = times[i] < last_times[ref]
            older = older or (same_time and values[i] < last_values[ref])
            older = older or (same_time and values[i] == last_values[ref] and hashes[i] < last_hashes[ref])
            if older:
                codes[i] = OUT_OF_ORDER
                continue
        last_times[ref] = times[i]
        last_values[ref] = values[i]
        last_hashes[ref] = hashes[i]


@kernel
def gather(
    labels: NDArray[np.uint8],
    starts: NDArray[np.int64],
    rows: NDArray[np.int64],
    out_starts: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Copy the label sets `rows`, (k,) int64, one after the other, to the places that `out_starts` says."""
    for i in range(len(rows)):
        first = starts[rows[i]]
        for j in range(out_starts[i + 1] - out_starts[i]):
            out[out_starts[i] + j] = labels[first + j]
