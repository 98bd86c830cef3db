"""Compressed answers: which coding a client takes, and packing with it.

Source:
    RFC 9110, section 12.5.3 (Accept-Encoding); RFC 8878 (Zstandard); RFC 1952 (gzip).
"""

from __future__ import annotations

import gzip
import sys
import zlib
from typing import TYPE_CHECKING, Protocol, cast

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from headrace.store.api.json_writer import Piece

PREFERRED = ("zstd", "gzip")
"""Codings in the order in which they are chosen where a client weighs them alike."""

_SAME = {"x-gzip": "gzip"}
_ZSTD_LEVEL = 1
_GZIP_WINDOW = 31
"""zlib's largest window, in the gzip format."""


class Packer(Protocol):
    """Compresses a stream."""

    def compress(self, data: Piece, /) -> Piece:
        """Take some bytes; return packed ones that are ready."""

    def flush(self) -> bytes:
        """Return the last ones."""


class _Unpacked:
    """Leaves a stream as it is."""

    def compress(self, data: Piece, /) -> Piece:
        return data

    def flush(self) -> bytes:
        return b""


def chosen(header: str) -> str:
    """Return the coding to answer with, empty for none.

    Args:
        header: Value of Accept-Encoding.
    """
    weights: dict[str, float] = {}
    for item in header.lower().split(","):
        coding, _, parameter = item.partition(";")
        name = coding.strip()
        weights[_SAME.get(name, name)] = _weight(parameter)
    # A wildcard stands for gzip alone: what every client that sends it can undo.
    if "*" in weights:
        weights.setdefault("gzip", weights["*"])
    found = [name for name in PREFERRED if weights.get(name, 0) > 0]
    return max(found, key=lambda name: weights[name], default="")


def pack(body: bytes, coding: str, gzip_level: int) -> bytes:
    """Return `body` in a coding that `chosen` returned."""
    if coding == "zstd":
        return zstd.compress(body, _ZSTD_LEVEL)
    return gzip.compress(body, gzip_level, mtime=0)


def packer_of(coding: str, gzip_level: int) -> Packer:
    """Return what compresses a stream with a coding that `chosen` returned, or leaves it as it is without one."""
    if coding == "gzip":
        return zlib.compressobj(gzip_level, zlib.DEFLATED, _GZIP_WINDOW)
    return cast("Packer", zstd.ZstdCompressor(_ZSTD_LEVEL) if coding else _Unpacked())


def _weight(parameter: str) -> float:
    """Return the ``q`` of one coding: 1 without one, 0 for what is no number."""
    name, _, value = parameter.replace(" ", "").partition("=")
    if name != "q":
        return 1.0
    try:
        return max(0.0, min(1.0, float(value)))
    except ValueError:
        return 0.0
