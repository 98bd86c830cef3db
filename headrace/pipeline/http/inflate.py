"""Decompression of gzip and zlib by ISA-L, which is two to three times as fast as zlib itself.

The classes are those of the standard library's `zlib`; only the type hints of the package are not.
"""

from __future__ import annotations

from typing import Final, Protocol, cast

from isal import isal_zlib

ZLIB_BITS: Final = 15
GZIP_BITS: Final = 31

Corrupt = cast("type[Exception]", isal_zlib.error)
"""What is raised where the input cannot be decompressed."""


class Inflater(Protocol):
    """Undoes one zlib stream or gzip member."""

    eof: bool
    """Whether its end has been seen."""

    unused_data: bytes
    """What came after its end."""

    unconsumed_tail: bytes
    """Input that there was no room for."""

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes:
        """Return at most `max_length` bytes, 0 for all.

        Raises:
            Corrupt: The input is none.
        """


def inflater(bits: int) -> Inflater:
    """Return what undoes one stream: ZLIB_BITS or GZIP_BITS."""
    return cast("Inflater", isal_zlib.decompressobj(bits))
