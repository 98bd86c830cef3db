"""Snappy's block format, bounded: the size is known before memory is taken.

Source:
    Snappy, "format_description.txt": a varint with the decoded length comes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cramjam
import numpy as np

from headrace.kernels.bits import PAD
from headrace.pipeline.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_VARINT = 5
_MOST = 64
"""A byte of compressed data stands for at most so many decoded ones."""


def decompress(data: bytes, limit: int) -> tuple[NDArray[np.uint8], int]:
    """Decode a block.

    Args:
        data: The block.
        limit: Most bytes to decode to.

    Returns:
        The decoded bytes followed by PAD zeros, and their number.

    Raises:
        TooLarge: It says that it decodes to more than `limit`, or to more than its length allows.
        InvalidInput: It does not decode.
    """
    size = decoded_length(data)
    if size > limit:
        raise TooLarge("decompressed body", size, limit)
    if size > _MOST * len(data):
        raise InvalidInput("snappy: corrupt input")
    # Not zeroed as a whole: a page fault for each 4 KiB costs as much as decoding them.
    out = np.empty(size + PAD, np.uint8)
    out[size:] = 0
    try:
        written = cramjam.snappy.decompress_raw_into(data, out.data) if size else 0
    except cramjam.DecompressionError:
        raise InvalidInput("snappy: corrupt input") from None
    if written != size:
        raise InvalidInput("snappy: corrupt input")
    return out, size


def compress(data: memoryview) -> bytes:
    """Return `data` as a block."""
    # Not zeroed first, as the buffer would be that the library makes.
    out = np.empty(cramjam.snappy.compress_raw_max_len(data), np.uint8)
    size = cramjam.snappy.compress_raw_into(data, out.data)
    return out[:size].tobytes()


def decoded_length(data: bytes) -> int:
    """Return the decoded length that a block begins with.

    Raises:
        InvalidInput: It begins with none.
    """
    size = 0
    for i, byte in enumerate(data[:_MAX_VARINT]):
        size |= (byte & 127) << 7 * i
        if byte < 128:
            return size
    raise InvalidInput("snappy: corrupt input")
