# mypy: disable-error-code="assignment,arg-type,return-value,no-any-return"
"""Kernels that know the lines of a page again: most lines of a page are those of the page before but for the number.

A line is known by its place, its length and a keyed checksum of what stands before the number, so that it is read
once from end to end and neither taken apart nor looked up. The checksum is weaker than the hash that tells series
apart; a target that made two of its own lines collide would mix up nobody else's series.

Source:
    The multiply-and-fold step is that of Wang Yi, "wyhash".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.kernels.bits import load_u64, mulhi
from headrace.kernels.jit import flat_kernel as kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEW = -1
"""Entry of a sample that nobody has resolved."""

METADATA_LINE = -2
"""Entry of a line with HELP or UNIT."""

COMMENT_LINE = -3
"""Entry of a comment that is no metadata."""

TYPE_LINE = -4
"""Entry of a line with TYPE: no other changes what the samples after it mean."""

KIND = 3
"""Bits of a line's kind that say what its family is."""

OPENMETRICS = 16
"""Bit of a line's kind: the page is OpenMetrics."""

_WINDOW = 4
"""How many lines are tried: so many less one may be missing in a row without a line being taken for new."""

_C0 = np.uint64(0xA0761D6478BD642F)
_C1 = np.uint64(0xE7037ED1A0B428DB)
_TAIL = np.array([(1 << 8 * n) - 1 for n in range(8)], np.uint64)


class Lines(NamedTuple):
    """The lines of a page that are not empty, in order.

    Attributes:
        sizes: (m,) int32 bytes of a comment, or of a sample's raw key.
        marks: (m,) uint64 checksums of them.
        kinds: (m,) uint8 what holds after the line: KIND of the family, and OPENMETRICS.
        entries: (m,) int32 what the caller knows a sample by, or one of the numbers above.
    """

    sizes: NDArray[np.int32]
    marks: NDArray[np.uint64]
    kinds: NDArray[np.uint8]
    entries: NDArray[np.int32]


@kernel
def _fold(a: np.uint64, b: np.uint64) -> np.uint64:
    return (a * b) ^ mulhi(a, b)


@kernel
def mark(buf: NDArray[np.uint8], pos: int, size: int, k0: np.uint64, k1: np.uint64) -> np.uint64:
    """Return a checksum of ``buf[pos:pos + size]``; 8 bytes after it must be readable.

    Args:
        buf: Bytes.
        pos: Offset of the first.
        size: How many.
        k0: Half of a secret key.
        k1: The other half.
    """
    state = k0 ^ np.uint64(size) ^ _C0
    k1 ^= _C1
    end = pos + size
    while pos + 16 <= end:
        state = _fold(load_u64(buf, pos) ^ state, load_u64(buf, pos + 8) ^ k1)
        pos += 16
    if pos + 8 <= end:
        state = _fold(load_u64(buf, pos) ^ state, k1)
        pos += 8
    return _fold((load_u64(buf, pos) & _TAIL[end - pos]) ^ state, k1 ^ _C0)


@kernel
def recognise(
    buf: NDArray[np.uint8],
    pos: int,
    size: int,
    kind: int,
    lines: Lines,
    first: int,
    k0: np.uint64,
    k1: np.uint64,
) -> int:
    """Return the number of the line that begins at `pos`, at `first` or soon after it; -1 for one that is new.

    Args:
        buf: The page.
        pos: Offset of the line.
        size: Bytes of the page.
        kind: What holds before the line: a sample is the same only where that is, a comment where the format is.
        lines: Of the page before.
        first: The line that is expected.
        k0: Half of the key of checksums.
        k1: The other half.
    """
    comment = buf[pos] == 35
    for j in range(first, min(first + _WINDOW, len(lines.sizes))):
        length = np.int64(lines.sizes[j])
        end = pos + length
        entry = lines.entries[j]
        if comment:
            if end >= size or entry >= NEW or buf[end] != 10 or (lines.kinds[j] ^ kind) & OPENMETRICS:
                continue
        elif end + 1 >= size or entry < 0 or lines.kinds[j] != kind:
            continue
        elif (buf[end] != 32 and buf[end] != 9) or buf[end + 1] <= 32 or buf[end + 1] == 123:
            # A brace after the blank would still be part of the key, so a key without labels is not this one.
            continue
        if mark(buf, pos, length, k0, k1) == lines.marks[j]:
            return j
    return -1
