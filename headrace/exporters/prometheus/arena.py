"""Texts by id, in one array of bytes.

A page that is being written holds on to the arrays as they were: bytes are added and never changed, and an arena that
is packed is another array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels.growth import grown

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNKNOWN = -1
"""Size of a text that was not written yet."""

_PACK_FROM = 1 << 20


class Arena:
    """Texts by id.

    Attributes:
        places: Offset of each text in `bytes`, by id.
        sizes: Its bytes; UNKNOWN where there is none.
        bytes: uint8.
    """

    def __init__(self) -> None:
        self.places = np.zeros(1024, np.int64)
        self.sizes = np.full(1024, UNKNOWN, np.int32)
        self.bytes = np.zeros(65_536, np.uint8)
        self._used = 0
        self._wasted = 0

    def fit(self, capacity: int) -> None:
        """Make room for all ids below `capacity`."""
        self.places = grown(self.places, capacity)
        self.sizes = grown(self.sizes, capacity, UNKNOWN)

    def put(self, ids: NDArray[np.int32], data: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        """Keep texts.

        Args:
            ids: (n,) distinct ids.
            data: The texts, one after the other.
            ends: (n,) where each ends.
        """
        size = int(ends[-1]) if len(ends) else 0
        self._drop(ids)
        self.bytes = grown(self.bytes, self._used + size)
        self.bytes[self._used : self._used + size] = data[:size]
        begins = np.concatenate([[0], ends[:-1]])
        self.places[ids] = begins + self._used
        self.sizes[ids] = ends - begins
        self._used += size

    def forget(self, ids: NDArray[np.int32]) -> None:
        """Drop texts."""
        ids = ids[ids < len(self.sizes)]
        self._drop(ids)
        self.sizes[ids] = UNKNOWN

    def _drop(self, ids: NDArray[np.int32]) -> None:
        """Count the bytes of texts that are replaced; pack where they are the most."""
        self._wasted += int(np.maximum(self.sizes[ids], 0).sum())
        if self._wasted > _PACK_FROM and 2 * self._wasted > self._used:
            self.sizes[ids] = UNKNOWN
            self._pack()

    def _pack(self) -> None:
        ids = np.flatnonzero(self.sizes > 0)
        sizes = self.sizes[ids].astype(np.int64)
        ends = np.cumsum(sizes)
        total = int(ends[-1]) if len(ends) else 0
        where = np.repeat(self.places[ids] - (ends - sizes), sizes) + np.arange(total)
        packed = np.zeros(max(total, 65_536), np.uint8)
        packed[:total] = self.bytes[where]
        self.bytes, self._used, self._wasted = packed, total, 0
        self.places = self.places.copy()
        self.places[ids] = ends - sizes
