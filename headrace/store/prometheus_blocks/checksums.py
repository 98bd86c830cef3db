"""CRC-32C of bytes, and the tables that kernels compute it with."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from headrace.store.prometheus_blocks import crc32c_kernels as kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

_POLYNOMIAL = np.uint32(0x82F63B78)
"""Castagnoli's, its bits in reverse."""


@functools.cache
def crc32c_tables() -> NDArray[np.uint32]:
    """Return the (8, 256) uint32 tables of CRC-32C; row k is about a byte that k others follow."""
    tables = np.empty((8, 256), np.uint32)
    row = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        row = np.where(row & 1, row >> np.uint32(1) ^ _POLYNOMIAL, row >> np.uint32(1))
    tables[0] = row
    for k in range(1, 8):
        tables[k] = tables[0, tables[k - 1] & 0xFF] ^ tables[k - 1] >> np.uint32(8)
    tables.setflags(write=False)
    return tables


def crc32c(data: bytes | bytearray | memoryview | NDArray[np.uint8]) -> int:
    """Return the CRC-32C of `data`."""
    buf = data if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)
    return int(kernels.crc32c(buf, 0, len(buf), crc32c_tables()))
