# mypy: disable-error-code="assignment,return-value,no-any-return"
"""CRC-32C, by which Prometheus' files are checked: eight bytes a step.

Source:
    RFC 3720, appendix B.4 (polynomial); Kounavis and Berry, "A Systematic Approach to Building High Performance
    Software-based CRC Generators", 2005 (slicing by eight).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def crc32c(buf: NDArray[np.uint8], pos: int, end: int, tables: NDArray[np.uint32]) -> np.uint32:
    """Return the checksum of bytes `pos` to `end` of `buf`; the caller has checked that they exist.

    Args:
        buf: uint8, only read.
        pos: First byte.
        end: One past the last.
        tables: (8, 256) uint32 from `checksums.crc32c_tables`.
    """
    crc = np.uint32(0xFFFFFFFF)
    low = np.uint32(0xFF)
    while pos + 8 <= end:
        first = crc & low ^ np.uint32(buf[pos])
        second = (crc >> np.uint32(8)) & low ^ np.uint32(buf[pos + 1])
        third = (crc >> np.uint32(16)) & low ^ np.uint32(buf[pos + 2])
        fourth = (crc >> np.uint32(24)) ^ np.uint32(buf[pos + 3])
        crc = (
            tables[7, first] ^ tables[6, second] ^ tables[5, third] ^ tables[4, fourth]
            ^ tables[3, buf[pos + 4]] ^ tables[2, buf[pos + 5]] ^ tables[1, buf[pos + 6]] ^ tables[0, buf[pos + 7]]
        )  # fmt: skip
        pos += 8
    while pos < end:
        crc = tables[0, (crc & low) ^ np.uint32(buf[pos])] ^ (crc >> np.uint32(8))
        pos += 1
    return crc ^ np.uint32(0xFFFFFFFF)
