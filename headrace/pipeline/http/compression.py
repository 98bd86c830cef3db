"""Compression of request bodies.

Source:
    RFC 1950 (zlib, which HTTP calls deflate), RFC 1952 (gzip), RFC 8878 (Zstandard); snappy's and LZ4's formats. Names
    and levels are those of the Collector's ``configcompression``.
"""

from __future__ import annotations

import sys
import zlib
from typing import TYPE_CHECKING, Literal

import cramjam
from pydantic import Field

from headrace.pipeline.config import ComponentConfig

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Compression = Literal["gzip", "zstd", "snappy", "x-snappy-framed", "zlib", "deflate", "lz4", "none", ""]
"""What bodies may be compressed with; ``none`` and nothing mean that they are not."""

if TYPE_CHECKING:
    from collections.abc import Callable

_HIGHEST = {"gzip": 9, "zlib": 9, "deflate": 9, "zstd": 11}
_LOWEST = {"gzip": -2, "zlib": -2, "deflate": -2, "zstd": 1}
_HUFFMAN = -2
"""Level that leaves out the search for repetitions."""


class CompressionParams(ComponentConfig):
    """How hard to compress."""

    level: int = Field(default=0)
    """1 is fast and 9 small, for gzip, zlib and deflate; 1 to 11 for zstd. 0, and -1, leave the choice to the daemon,
    which is fast."""


def check_level(compression: str, level: int) -> None:
    """Check that a compression has a level.

    Raises:
        ValueError: It has not.
    """
    if level in {0, -1}:
        return
    low, high = _LOWEST.get(compression, 0), _HIGHEST.get(compression, 0)
    if not low <= level <= high:
        have = f"goes from {low} to {high}" if high else "cannot be chosen"
        raise ValueError(f"compression_params.level of {compression or 'none'} {have}, got {level}")


def compressor(compression: str, level: int = 0) -> Callable[[bytes | memoryview], bytes] | None:
    """Return what compresses a body; None where nothing does.

    Args:
        compression: One of `Compression`.
        level: Of `CompressionParams`.
    """
    level = 0 if level == -1 else level
    bits = {"gzip": 31, "zlib": 15, "deflate": 15}.get(compression)
    if bits is None:
        return (lambda data: zstd.compress(data, level)) if level else _PLAIN.get(compression)
    if compression == "gzip" and level in {0, 1}:
        # Three fifths of the time of zlib's level 1, for a tenth more bytes.
        return lambda data: bytes(cramjam.gzip.compress(data, level=1))
    return lambda data: _deflate(data, level or 1, bits)


_PLAIN: dict[str, Callable[[bytes | memoryview], bytes]] = {
    "zstd": lambda data: zstd.compress(data, 1),
    "snappy": lambda data: bytes(cramjam.snappy.compress_raw(data)),
    "x-snappy-framed": lambda data: bytes(cramjam.snappy.compress(data)),
    "lz4": lambda data: bytes(cramjam.lz4.compress(data)),
}
"""Compressors without a level, or at their own."""


def _deflate(data: bytes | memoryview, level: int, bits: int) -> bytes:
    strategy = zlib.Z_HUFFMAN_ONLY if level == _HUFFMAN else zlib.Z_DEFAULT_STRATEGY
    packer = zlib.compressobj(6 if level == _HUFFMAN else level, wbits=bits, strategy=strategy)
    return packer.compress(data) + packer.flush()
