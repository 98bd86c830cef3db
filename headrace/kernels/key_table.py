"""A map from 128-bit hash keys to int32 numbers that kernels can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headrace.kernels import key_table_kernels as kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NOTHING_DEAD = np.empty(0, np.bool_)


class KeyTable:
    """Keys are (n, 2) uint64, results of a secret keyed hash; numbers are int32 above EMPTY.

    One writer, and no reader beside it: the owner's thread does both.
    """

    __slots__ = ("_keys", "_numbers", "size")

    def __init__(self, capacity: int = 1024) -> None:
        self._allocate(capacity)
        self.size = 0
        """Number of keys held."""

    @property
    def arrays(self) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
        """Key and number columns, for kernels that probe by themselves; valid until the next insert."""
        return self._keys, self._numbers

    def lookup(self, keys: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Return the (n,) int32 numbers of `keys`, MISSING (-1) where there is none."""
        out = np.empty(len(keys), np.int32)
        kernels.lookup(self._keys, self._numbers, keys, out)
        return out

    def insert(self, keys: NDArray[np.uint64], numbers: NDArray[np.int32]) -> None:
        """Set the numbers of `keys`, replacing earlier ones."""
        self.reserve(len(keys))
        self.size += kernels.insert(self._keys, self._numbers, keys, numbers)

    def reserve(self, more: int) -> None:
        """Make room for `more` keys, so that the table stays at most half full."""
        wanted = 2 * (self.size + more)
        if wanted > len(self._numbers):
            self._rebuild(wanted, _NOTHING_DEAD)

    def discard(self, dead: NDArray[np.bool_]) -> None:
        """Remove all keys whose number is marked in `dead`, a bool array indexed by number."""
        self._rebuild(len(self._numbers), dead)

    def clear(self) -> None:
        """Remove everything."""
        self._numbers.fill(kernels.EMPTY)
        self.size = 0

    def _rebuild(self, capacity: int, dead: NDArray[np.bool_]) -> None:
        keys, numbers = self._keys, self._numbers
        self._allocate(capacity)
        self.size = kernels.copy_live(keys, numbers, dead, self._keys, self._numbers)

    def _allocate(self, capacity: int) -> None:
        capacity = 1 << max(capacity - 1, 15).bit_length()
        self._keys = np.zeros((capacity, 2), np.uint64)
        self._numbers = np.full(capacity, kernels.EMPTY, np.int32)
