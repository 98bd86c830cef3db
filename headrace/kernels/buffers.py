"""Byte buffers that kernels may read and write a little past the end of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.bits import PAD

if TYPE_CHECKING:
    from numpy.typing import NDArray


def padded(data: bytes | bytearray | memoryview) -> NDArray[np.uint8]:
    """Copy `data` into a (len + PAD,) uint8 array; the spare bytes are zero."""
    size = len(data)
    buf = np.empty(size + PAD, np.uint8)
    buf[:size] = np.frombuffer(data, np.uint8)
    buf[size:] = 0
    return buf
