"""Validation of UTF-8.

Source:
    The Unicode Standard, section 3.9, table 3-7 (well-formed byte sequences).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import load_u64
from headrace.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HIGH_BITS = np.uint64(0x8080808080808080)


@kernel
def is_utf8(buf: NDArray[np.uint8], pos: int, size: int) -> bool:
    """Return whether ``buf[pos:pos + size]`` is well formed; 8 bytes after it must be readable."""
    end = pos + size
    while pos < end:
        if pos + 8 <= end and load_u64(buf, pos) & _HIGH_BITS == np.uint64(0):
            pos += 8
            continue
        lead = buf[pos]
        if lead < 0x80:
            pos += 1
            continue
        low = 0x80
        high = 0xBF
        if 0xC2 <= lead <= 0xDF:
            more = 1
        elif 0xE0 <= lead <= 0xEF:
            more = 2
            if lead == 0xE0:
                low = 0xA0
            elif lead == 0xED:
                high = 0x9F
        elif 0xF0 <= lead <= 0xF4:
            more = 3
            if lead == 0xF0:
                low = 0x90
            elif lead == 0xF4:
                high = 0x8F
        else:
            return False
        if pos + more >= end:
            return False
        if buf[pos + 1] < low or buf[pos + 1] > high:
            return False
        for i in range(2, more + 1):
            if buf[pos + i] < 0x80 or buf[pos + i] > 0xBF:
                return False
        pos += more + 1
    return True
